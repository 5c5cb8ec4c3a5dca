package allocator

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
)

// Builtin is a Provider that needs nothing outside the process: the engine with pools of its own. It keeps its claims in memory. It shows
// what a Provider does at the least, and stands in for one in tests.
type Builtin struct {
	mu       sync.Mutex // protects all the following
	engine   Allocator
	claims   map[string]*builtinClaim
	clock    uint64
	watchers map[*func(string)]bool
}

type builtinClaim struct {
	Claimed
	since uint64
}

// NewBuiltin returns a Builtin that gives out the addresses of pools. The error is an [ErrInvalidPools].
func NewBuiltin(pools ...Pool) (*Builtin, error) {
	b := &Builtin{claims: map[string]*builtinClaim{}, watchers: map[*func(string)]bool{}}
	if _, err := b.engine.SetPools(pools); err != nil {
		return nil, err
	}
	return b, nil
}

// Ask implements Provider. An answer is there at once.
func (b *Builtin) Ask(_ context.Context, c Claim) (Answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.claims[c.ID]
	if x == nil {
		b.clock++
		x = &builtinClaim{Claimed: Claimed{Claim: c}, since: b.clock}
		b.claims[c.ID] = x
		b.tell(c.ID)
	}
	b.serve(x)
	return x.Answer, nil
}

// serve has x answered, if it has no address.
func (b *Builtin) serve(x *builtinClaim) {
	if x.Answer.Addr.IsValid() {
		return
	}
	was := x.Answer
	x.Answer = b.answer(x.Claim)
	if x.Answer != was {
		b.tell(x.ID)
	}
}

func (b *Builtin) answer(c Claim) Answer {
	if b.engine.byName[c.Pool] == nil {
		return Answer{Refusal: RefusedPool, Why: (&PoolError{Pool: c.Pool, Why: ErrUnknownPool}).Error()}
	}
	req := Request{Owner: Owner{Name: c.ID}, Families: Families{Primary: c.Family}, Pool: c.Pool}
	if pool, in := b.engine.PoolOf(c.Has); in && pool == c.Pool && len(b.engine.Holders(c.Has)) == 0 {
		if has := req; FamilyOf(c.Has) == c.Family {
			*has.at(c.Family) = c.Has
			req = has
		}
	}
	got, err := b.engine.Allocate(req)
	if err != nil {
		return Answer{Refusal: RefusedExhausted, Why: err.Error()}
	}
	return Answer{Addr: got.Addrs()[0]}
}

// at returns where an address of family f is asked for.
func (r *Request) at(f Family) *netip.Addr {
	if f == IPv4 {
		return &r.IPv4
	}
	return &r.IPv6
}

// Release implements Provider. What becomes free goes to those who were refused, the longest-waiting first.
func (b *Builtin) Release(_ context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.claims[id] == nil {
		return nil
	}
	delete(b.claims, id)
	b.engine.Release(Owner{Name: id})
	b.tell(id)
	for _, x := range b.inOrder() {
		b.serve(x)
	}
	return nil
}

// inOrder returns the claims, the oldest first.
func (b *Builtin) inOrder() []*builtinClaim {
	out := make([]*builtinClaim, 0, len(b.claims))
	for _, x := range b.claims {
		out = append(out, x)
	}
	slices.SortFunc(out, func(x, y *builtinClaim) int { return cmp.Compare(x.since, y.since) })
	return out
}

// List implements Provider: the oldest claim comes first.
func (b *Builtin) List(context.Context) ([]Claimed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Claimed
	for _, x := range b.inOrder() {
		out = append(out, x.Claimed)
	}
	return out, nil
}

// Watch implements Provider.
func (b *Builtin) Watch(ctx context.Context, changed func(id string)) error {
	b.mu.Lock()
	b.watchers[&changed] = true
	for _, x := range b.inOrder() {
		changed(x.ID)
	}
	b.mu.Unlock()
	<-ctx.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watchers, &changed)
	return nil
}

// Pool implements Provider.
func (b *Builtin) Pool(_ context.Context, name string) (PoolState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.engine.Stats(name)
	if !ok {
		return PoolState{Refusal: RefusedPool, Why: (&PoolError{Pool: name, Why: ErrUnknownPool}).Error()}, nil
	}
	total := saturate(addSaturated(uint64(s.TotalIPv4), uint64(s.TotalIPv6)))
	free := saturate(addSaturated(uint64(s.AvailableIPv4), uint64(s.AvailableIPv6)))
	return PoolState{Counted: true, Free: free, Total: total}, nil
}

func (b *Builtin) tell(id string) {
	for changed := range b.watchers {
		(*changed)(id)
	}
}
