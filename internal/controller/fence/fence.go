// Package fence keeps a leader that has lost its Lease without knowing it yet, because it was frozen or cut off, from writing.
//
// Leader election alone does not: a process that wakes up after its Lease has gone to another goes on for up to the renew
// deadline before it gives up. A Fence watches the renewals of the Lease and lets writes pass only for as long after the last
// one as nobody else can have acquired it.
package fence

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// errLost: the Lease was not renewed for so long that another replica may hold it.
var errLost = errors.New("the leader's Lease was not renewed in time; another replica may hold it")

// Fence knows when the Lease was last renewed. The zero value is not usable; see New.
type Fence struct {
	valid time.Duration

	mu      sync.Mutex // protects renewed
	renewed time.Time  // when the last renewal that succeeded was sent; zero: never held
}

// New returns a Fence that lets writes pass for valid after each renewal. valid must be less than the duration of the Lease, by
// more than a request may take. Until the Lease is held for the first time, everything passes: what a replica writes that does not
// lead is not the leader's.
func New(valid time.Duration) *Fence { return &Fence{valid: valid} }

// Check returns errLost if nothing may be written.
func (f *Fence) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.renewed.IsZero() || time.Since(f.renewed) < f.valid {
		return nil
	}
	return errLost
}

// Lock returns a lock that does what l does and tells the fence of renewals.
func (f *Fence) Lock(l resourcelock.Interface) resourcelock.Interface { return &lock{l, f} }

type lock struct {
	resourcelock.Interface
	fence *Fence
}

func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.renew(r, func() error { return l.Interface.Create(ctx, r) })
}

func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.renew(r, func() error { return l.Interface.Update(ctx, r) })
}

// renew counts from before the request: the Lease of others begins when they see the old one, not when we learn of the answer.
func (l *lock) renew(r resourcelock.LeaderElectionRecord, write func() error) error {
	sent := time.Now()
	err := write()
	if err == nil && r.HolderIdentity == l.Identity() {
		l.fence.mu.Lock()
		l.fence.renewed = sent
		l.fence.mu.Unlock()
	}
	return err
}

// Transport lets only reads pass while Check fails. Leases and Events always pass: they are how a process stays or stops being the
// leader, and how it tells of it.
func (f *Fence) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if err := f.Check(); err != nil && !reads && !exempt(r.URL.Path) {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
		}
		return next.RoundTrip(r)
	})
}

// exempt reports whether a path of the API is one of Leases or of Events. Only group and resource count: a namespace or an object may
// have any name. The path may have a prefix, that of a proxy in front of the API server.
func exempt(path string) bool {
	group, resource := resourceOf(strings.Split(strings.Trim(path, "/"), "/"))
	switch resource {
	case "leases":
		return group == "coordination.k8s.io"
	case "events":
		return group == "" || group == "events.k8s.io"
	}
	return false
}

// resourceOf returns the group, empty for the core's, and the resource that a path names: [prefix/](api/VERSION|apis/GROUP/VERSION)/
// [namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]. A subresource, like the events of something, is not the resource.
func resourceOf(parts []string) (group, resource string) {
	for i, p := range parts {
		switch {
		case p == "api" && len(parts) > i+2:
			return "", resourceIn(parts[i+2:])
		case p == "apis" && len(parts) > i+3:
			return parts[i+1], resourceIn(parts[i+3:])
		}
	}
	return "", ""
}

// resourceIn returns the resource of what follows the version.
func resourceIn(rest []string) string {
	if rest[0] == "namespaces" && len(rest) > 2 {
		return rest[2]
	}
	return rest[0]
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
