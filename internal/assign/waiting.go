package assign

import (
	"cmp"
	"container/list"
	"errors"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
)

// waiter is a Service that does not have all it asks for.
type waiter struct {
	owner     allocator.Owner
	service   *corev1.Service
	namespace labels.Set // labels of its namespace
	since     uint64     // order of arrival
	reason    string     // of its condition; empty if it has an address
	blame     string     // reason, and who is in the way
	causes    causes
	spots     []*list.Element
	queues    []*list.List // of spots, same order
}

// waiting are the Services that wait, findable by what they wait for. Each is in the queue of every pool it was refused by and
// of every address it asked for; one that only a change of configuration can help is in none.
type waiting struct {
	clock   uint64
	byOwner map[allocator.Owner]*waiter
	byPool  map[string]*list.List
	byAddr  map[netip.Addr]*list.List
}

func newWaiting() *waiting {
	return &waiting{
		byOwner: map[allocator.Owner]*waiter{}, byPool: map[string]*list.List{}, byAddr: map[netip.Addr]*list.List{},
	}
}

// put records that svc waits, and for what. A Service that waits already keeps its turn.
func (w *waiting) put(svc *corev1.Service, namespace labels.Set, reason string, err error, causes causes) {
	owner := ownerOf(svc)
	x := &waiter{owner: owner, service: svc, namespace: namespace, since: w.clock, reason: reason, blame: blame(err), causes: causes}
	old := w.byOwner[owner]
	switch {
	case old == nil:
		w.clock++
	case old.causes.equal(causes) && dying(old.service) == dying(svc):
		x.since, x.spots, x.queues = old.since, old.spots, old.queues
		for _, spot := range x.spots {
			spot.Value = x
		}
		w.byOwner[owner] = x
		return
	default:
		x.since = old.since
		w.drop(owner)
	}
	w.byOwner[owner] = x
	for _, p := range causes.pools {
		x.join(queue(w.byPool, p))
	}
	for _, a := range causes.addrs {
		x.join(queue(w.byAddr, a))
	}
}

// blame returns the reason of a refusal, and who is in the way: what a user should not be told wrongly.
func blame(err error) string {
	if err == nil {
		return ""
	}
	if c, ok := errors.AsType[*allocator.ConflictError](err); ok {
		return reasonOf(err) + " " + c.Holder.String()
	}
	return reasonOf(err)
}

func queue[K comparable](m map[K]*list.List, k K) *list.List {
	if m[k] == nil {
		m[k] = list.New()
	}
	return m[k]
}

// join puts x into q behind all who came before it. It looks from the back, where newcomers belong.
func (x *waiter) join(q *list.List) {
	at := q.Back()
	for at != nil && bySince(at.Value.(*waiter), x) > 0 {
		at = at.Prev()
	}
	var spot *list.Element
	if at == nil {
		spot = q.PushFront(x)
	} else {
		spot = q.InsertAfter(x, at)
	}
	x.spots, x.queues = append(x.spots, spot), append(x.queues, q)
}

func (w *waiting) drop(owner allocator.Owner) {
	x := w.byOwner[owner]
	if x == nil {
		return
	}
	for i, spot := range x.spots {
		x.queues[i].Remove(spot)
	}
	delete(w.byOwner, owner)
}

// all returns every waiter, the longest-waiting first.
func (w *waiting) all() []*waiter {
	out := make([]*waiter, 0, len(w.byOwner))
	for _, x := range w.byOwner {
		out = append(out, x)
	}
	slices.SortFunc(out, bySince)
	return out
}

// on returns those who wait for g or for its pool, the longest-waiting first.
func (w *waiting) on(g allocator.Grant) []*waiter {
	var out []*waiter
	for _, q := range []*list.List{w.byAddr[g.Addr], w.byPool[g.Pool]} {
		for e := first(q); e != nil; e = e.Next() {
			out = append(out, e.Value.(*waiter))
		}
	}
	slices.SortFunc(out, bySince)
	return slices.Compact(out)
}

func first(q *list.List) *list.Element {
	if q == nil {
		return nil
	}
	return q.Front()
}

// bySince orders by arrival; those that are being deleted come last.
func bySince(a, b *waiter) int {
	return cmp.Or(compareBool(dying(a.service), dying(b.service)), cmp.Compare(a.since, b.since))
}

// causes are the things whose release could help a waiter.
type causes struct {
	pools []string
	addrs []netip.Addr
}

func (c causes) equal(d causes) bool {
	return slices.Equal(c.pools, d.pools) && slices.Equal(c.addrs, d.addrs)
}

// causesOf finds them in an error of the engine, which may join several.
func causesOf(err error) causes {
	var c causes
	if exhausted, ok := errors.AsType[*allocator.ExhaustedError](err); ok {
		for _, t := range exhausted.Tried {
			c.pools = append(c.pools, t.Pool)
		}
		slices.Sort(c.pools)
		c.pools = slices.Compact(c.pools)
	}
	if conflict, ok := errors.AsType[*allocator.ConflictError](err); ok {
		c.addrs = append(c.addrs, conflict.Addr)
	}
	if used, ok := errors.AsType[*allocator.UsedError](err); ok {
		c.addrs = append(c.addrs, used.Addr)
	}
	return c
}
