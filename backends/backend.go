// Package backends is the contract of everything that can make an address reachable. There is one folder below it for each way:
// a backend imports this package and its own client library, never a sibling, and nothing else of this project.
package backends

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Backend makes addresses reachable: for a cluster, by writing objects that a CNI acts on, or for one node, by speaking to the network
// itself. W is what it is asked for. The loop around it owns retry, backoff, status and metrics; a backend knows nothing of them. The loop
// never calls Apply before the caches it reads from are complete: an empty cache must not look like "withdraw everything". Calls of Apply
// do not overlap.
type Backend[W Desired | NodeDesired] interface {
	// Apply makes reachable exactly want, the complete set for this scope. It is idempotent: an equal set costs no write and no
	// packet. It adds before it withdraws, touches only what it owns, goes on after a failure and joins one *AnnounceError for
	// each prefix that could not be served. The empty set withdraws everything the backend owns.
	Apply(ctx context.Context, want W) error

	// Run serves responders or sessions until ctx ends, then releases sockets without withdrawing anything: ending a process is
	// not the same as ending an announcement. Whoever means to withdraw calls Apply. It returns nil when ctx is cancelled.
	Run(ctx context.Context) error
}

// ClusterBackend hands a cluster's advertisements to a CNI; the controller that leads runs it. How things are it reports as an Outcome.
type ClusterBackend = Backend[Desired]

// NodeBackend announces from one node; its speaker runs it. Before Run has begun, Apply only stores the set.
type NodeBackend = Backend[NodeDesired]

// LinkBackend is the NodeBackend that answers on the local network (RFC 826, RFC 4861).
type LinkBackend interface {
	NodeBackend
	// Links returns the interfaces that can announce at present, by name; none before Run has listed them.
	Links() []Link
	// Repeat tells the neighbours again of addrs, or of everything if none is given.
	Repeat(addrs ...netip.Addr)
	// Probe asks whether somebody else has addresses, given with the names of the interfaces on which they would be announced, none for all,
	// and returns those that somebody answered for. nodes are hosts whose answers do not count.
	Probe(ctx context.Context, addrs map[netip.Addr][]string, nodes []netip.Addr) map[netip.Addr]Taken
}

// RoutingBackend is the NodeBackend that holds sessions with routers (RFC 4271), of which S tells.
type RoutingBackend[S any] interface {
	NodeBackend
	// Sessions returns how each session is, by the names of the peers; none unless Run runs.
	Sessions() []S
	// Down ends the session with a peer at once, because the router cannot be reached (RFC 5882, 4.2). It comes back by itself.
	Down(peer string)
	// Shutdown goes away without losing a packet. There are no sessions afterwards, whatever is applied, until Run is called anew. If ctx
	// ends it goes on at once with what comes next.
	Shutdown(ctx context.Context, how Leave)
}

// Leave is how a node goes away.
type Leave struct {
	// Wait is how long routers get to prefer other nodes.
	Wait time.Duration
	// Back is set if this node will soon be back and forwards meanwhile: routers that do graceful restart (RFC 4724) keep its routes.
	Back bool
}

// ErrNotInstalled says that the API server does not serve the CNI's objects.
var ErrNotInstalled = errors.New("the CNI is not installed")

// ErrInProgress says that an Apply went as far as it may in one go: what it has written has to take effect before it writes more.
// It is no failure; the loop calls Apply again with the newest set, soon and without backing off.
var ErrInProgress = errors.New("in progress")

// AnnounceError says that one prefix could not be made reachable, or be withdrawn.
type AnnounceError struct {
	Prefix netip.Prefix
	Err    error
}

// Error names the prefix and the reason.
func (e *AnnounceError) Error() string { return fmt.Sprintf("announce %s: %v", e.Prefix, e.Err) }

// Unwrap returns the reason.
func (e *AnnounceError) Unwrap() error { return e.Err }

// AnnounceErrors says of each prefix of want that it failed for the same reason; without any, it is err itself.
func AnnounceErrors(want Desired, err error) error {
	if len(want.Announcements) == 0 {
		return err
	}
	all := make([]error, len(want.Announcements))
	for i, a := range want.Announcements {
		all[i] = &AnnounceError{Prefix: a.Prefix, Err: err}
	}
	return errors.Join(all...)
}

// Flatten returns the errors that were joined, in their order.
func Flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, Flatten(e)...)
	}
	return out
}
