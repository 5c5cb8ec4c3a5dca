package allocatortest_test

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/allocator"
)

// table gives out the addresses of a list. A real Provider would ask a server, and remember there what it has given.
type table struct {
	pool string

	mu      sync.Mutex // protects all the following
	free    []netip.Addr
	claims  []allocator.Claimed // in the order in which they were made
	changed []func(id string)
}

func newTable(pool string, free ...netip.Addr) *table { return &table{pool: pool, free: free} }

// Ask gives an ID the address that it has had, or the first that is free.
func (t *table) Ask(_ context.Context, c allocator.Claim) (allocator.Answer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.claims, func(x allocator.Claimed) bool { return x.ID == c.ID })
	if i < 0 {
		i = len(t.claims)
		t.claims = append(t.claims, allocator.Claimed{Claim: c})
	}
	t.serve(i)
	return t.claims[i].Answer, nil
}

func (t *table) serve(i int) {
	x := &t.claims[i]
	switch {
	case x.Answer.Addr.IsValid():
		return
	case x.Pool != t.pool:
		x.Answer = allocator.Answer{Refusal: allocator.RefusedPool, Why: "there is no pool " + x.Pool}
		return
	case len(t.free) == 0:
		x.Answer = allocator.Answer{Refusal: allocator.RefusedExhausted, Why: "all addresses of " + t.pool + " are given out"}
		return
	}
	x.Answer, t.free = allocator.Answer{Addr: t.free[0]}, t.free[1:]
	for _, changed := range t.changed {
		changed(x.ID)
	}
}

// Release gives what becomes free to who has waited longest.
func (t *table) Release(_ context.Context, id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims = slices.DeleteFunc(t.claims, func(x allocator.Claimed) bool {
		if x.ID == id && x.Answer.Addr.IsValid() {
			t.free = append(t.free, x.Answer.Addr)
		}
		return x.ID == id
	})
	for i := range t.claims {
		t.serve(i)
	}
	return nil
}

// List returns every claim.
func (t *table) List(context.Context) ([]allocator.Claimed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.claims), nil
}

// Watch tells of what is there, then of what changes.
func (t *table) Watch(ctx context.Context, changed func(id string)) error {
	t.mu.Lock()
	t.changed = append(t.changed, changed)
	for _, x := range t.claims {
		changed(x.ID)
	}
	t.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Pool counts.
func (t *table) Pool(_ context.Context, name string) (allocator.PoolState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if name != t.pool {
		return allocator.PoolState{Refusal: allocator.RefusedPool, Why: "there is no pool " + name}, nil
	}
	given := 0
	for _, x := range t.claims {
		if x.Answer.Addr.IsValid() {
			given++
		}
	}
	return allocator.PoolState{Counted: true, Free: int64(len(t.free)), Total: int64(len(t.free) + given)}, nil
}
