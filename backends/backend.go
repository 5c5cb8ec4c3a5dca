// Package backends is the contract of everything that can make an address reachable. There is one folder below it for each way:
// a backend imports this package and its own client library, never a sibling, and nothing else of this project.
package backends

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Backend makes addresses reachable. The loop around it owns retry, backoff, status and metrics; a backend knows nothing of
// them. The loop never calls Apply before the caches it reads from are complete: an empty cache must not look like "withdraw
// everything". Calls of Apply do not overlap.
type Backend interface {
	// Apply makes reachable exactly want, the complete set for this scope. It is idempotent: an equal set costs no write and no
	// packet. It adds before it withdraws, touches only what it owns, goes on after a failure and joins one *AnnounceError for
	// each prefix that could not be served. The empty set withdraws everything the backend owns.
	Apply(ctx context.Context, want Desired) error

	// Run serves responders or sessions until ctx ends, then releases sockets without withdrawing anything: ending a process is
	// not the same as ending an announcement. Whoever means to withdraw calls Apply. It returns nil when ctx is cancelled.
	Run(ctx context.Context) error
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
