package assign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config"
)

const lbPool = "GlobalInClusterIPPool.ipam.cluster.x-k8s.io/lb"

func externalPool(name string, addresses ...string) v1beta1.IPAddressPool {
	p := ipPool(name, addresses...)
	p.Annotations = map[string]string{config.AnnotationAllocator: config.AllocatorClusterAPI, config.AnnotationAllocatorPool: lbPool}
	return p
}

// outsider is the Provider of a world, and what goes wrong with it.
type outsider struct {
	*allocator.Builtin
	rng    *rand.Rand
	faulty bool
}

func newOutsider(t require.TestingT, seed uint64, ranges ...string) *outsider {
	p := allocator.Pool{Name: lbPool}
	for _, s := range ranges {
		p.Ranges = append(p.Ranges, netipx.MustParseIPRange(s))
	}
	b, err := allocator.NewBuiltin(p)
	require.NoError(t, err)
	return &outsider{Builtin: b, rng: rand.New(rand.NewPCG(seed, 3))}
}

// Ask is slow, refuses, or gives something else, as long as the outsider is faulty.
func (o *outsider) Ask(ctx context.Context, c allocator.Claim) (allocator.Answer, error) {
	answer, err := o.Builtin.Ask(ctx, c)
	if o.faulty && answer.Addr.IsValid() {
		switch o.rng.IntN(8) {
		case 0:
			return allocator.Answer{}, nil
		case 1:
			return allocator.Answer{Refusal: allocator.RefusedOther, Why: "not today"}, nil
		case 2:
			return allocator.Answer{Addr: netip.MustParseAddr("203.0.113.1")}, nil
		case 3:
			return allocator.Answer{Addr: netip.MustParseAddr("10.0.0.3")}, nil // again and again
		}
	}
	return answer, err
}

// look serves one claim that is to be looked at, as a provider does.
func (w *world) look(o *outsider) {
	id := w.looks[0]
	w.looks = w.looks[1:]
	c, wanted := w.assigner.Claim(id)
	if !wanted {
		require.NoError(w.t, o.Release(context.Background(), id))
		w.assigner.ReleasedClaim(id)
		return
	}
	answer, err := o.Ask(context.Background(), c)
	require.NoError(w.t, err)
	w.assigner.Answered(id, answer)
}

// list tells the controller what the outsider has.
func (w *world) list(o *outsider) {
	all, err := o.List(context.Background())
	require.NoError(w.t, err)
	w.assigner.Listed(config.AllocatorClusterAPI, all)
}

// settleAll works until neither the controller nor the outsider has anything to do. Who was refused is told when there is something again.
func (w *world) settleAll(o *outsider) {
	for i := 0; len(w.queue)+len(w.looks) > 0; i++ {
		require.Less(w.t, i, 100_000, "controller and allocator do not come to rest")
		w.settle()
		if len(w.looks) > 0 {
			w.look(o)
		}
	}
}

// news has the controller look at every claim, as when the outsider tells of changes.
func (w *world) news(o *outsider) {
	all, err := o.List(context.Background())
	require.NoError(w.t, err)
	for _, x := range all {
		w.looks = append(w.looks, x.ID)
	}
}

// TestNothingMovesWithAProvider plays random histories with a provider that is slow, refuses, and gives what it may not, with kills of the
// controller before and after writes, and pools that go over to the provider and back. Whatever happens, no address moves and none has two
// holders; when all is well again, everybody is served as far as there are addresses, and the provider's claims are those that are held.
func TestNothingMovesWithAProvider(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			const size = 20
			o := newOutsider(t, seed, "10.0.0.0-10.0.0.19")
			o.faulty = true
			inside, outside := ipPool("a", "10.0.0.0-10.0.0.19"), externalPool("a", "10.0.0.0-10.0.0.19")
			w := newWorld(t, outside)
			w.list(o)
			held := map[types.UID][]netip.Addr{}
			for range 200 {
				switch op := rng.IntN(20); {
				case op < 7:
					w.put(loadBalancer(fmt.Sprint(rng.IntN(size + 6))))
				case op < 11:
					w.delete(named(fmt.Sprint(rng.IntN(size + 6))))
				case op == 11 && seed%2 == 0:
					w.setPools(inside)
				case op == 12:
					w.setPools(outside)
				case op < 15 && len(w.queue) > 0:
					w.reconcile(rng.IntN(2) == 0)
					w.start()
					w.list(o)
				case op < 18:
					for range rng.IntN(5) {
						if len(w.looks) > 0 {
							w.look(o)
						}
						if len(w.queue) > 0 {
							w.reconcile(false)
						}
					}
				default:
					w.settle()
					w.unmoved(held)
				}
			}
			w.setPools(outside)
			o.faulty = false
			w.news(o)
			w.settleAll(o)
			w.news(o)
			w.settleAll(o)
			w.unmoved(held)
			w.agrees(o)
			served := 0
			for owner := range w.services {
				if len(w.addrs(owner)) > 0 {
					served++
				}
			}
			assert.Equal(t, min(size, len(w.services)), served, "Services wait although their allocator has addresses")

			disagreed := w.anyDisagrees()
			writes := w.writes
			w.start()
			w.list(o)
			w.settleAll(o)
			if !disagreed { // after a lie, a claim may be found that serves better
				require.Equal(t, writes, w.writes, "a restart wrote something though nothing had changed")
			}
			w.agrees(o)
		})
	}
}

// anyDisagrees reports whether a Service says that its allocator has given it another address.
func (w *world) anyDisagrees() bool {
	for owner := range w.services {
		if strings.Contains(w.condition(owner), "True AllocatorDisagrees") {
			return true
		}
	}
	return false
}

// unmoved makes sure that nobody's address has moved, and that none has two holders.
func (w *world) unmoved(held map[types.UID][]netip.Addr) {
	holders := map[netip.Addr]allocator.Owner{}
	for owner, s := range w.services {
		got := w.addrs(owner)
		if was, ok := held[s.UID]; ok {
			require.Equal(w.t, was, got, "%s moved", owner)
		}
		if len(got) > 0 {
			held[s.UID] = got
		}
		for _, a := range got {
			require.NotContains(w.t, holders, a, "held by %s and %s", holders[a], owner)
			holders[a] = owner
		}
	}
}

// agrees makes sure that the outsider has a claim with an address for each that is held, and no other. Who says that the allocator has given
// it something else, after a lie, is passed over.
func (w *world) agrees(o *outsider) {
	var want, got []string
	disagreed := map[netip.Addr]bool{} // addresses for which something else was given
	for owner := range w.services {
		if strings.Contains(w.condition(owner), "True AllocatorDisagrees") {
			require.Contains(w.t, w.condition(owner), " instead")
			for _, a := range w.addrs(owner) {
				disagreed[a] = true
			}
			continue
		}
		for _, a := range w.addrs(owner) {
			want = append(want, a.String())
		}
	}
	all, err := o.List(context.Background())
	require.NoError(w.t, err)
	for _, x := range all {
		instead := disagreed[w.assigner.claims.by[x.ID].Has]
		if x.Answer.Addr.IsValid() && (!instead || slices.Contains(want, x.Answer.Addr.String())) {
			got = append(got, x.Answer.Addr.String())
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(w.t, want, got, "what is held, and what the allocator has given")
}

// TestAllocatorIsAway: who waits is told so, and served when it is back; who has an address keeps it.
func TestAllocatorIsAway(t *testing.T) {
	o := newOutsider(t, 1, "10.0.0.0-10.0.0.9")
	w := newWorld(t, externalPool("a", "10.0.0.0/24"))
	w.assigner.Unreachable(config.AllocatorClusterAPI, "it cannot be asked: connection refused")
	w.put(loadBalancer("web"))
	w.settle()
	assert.Equal(t, `False WaitingForAllocator: waiting for an allocator: pool "a": its allocator has given no IPv4 address yet: `+
		"it cannot be asked: connection refused", w.condition(named("web")))
	w.list(o)
	w.settleAll(o)
	assert.Equal(t, `True Allocated: 10.0.0.0 from pool "a"`, w.condition(named("web")))

	writes := w.writes
	w.start() // and the allocator is away
	w.put(loadBalancer("next"))
	w.settle()
	assert.Equal(t, "10.0.0.0", w.shown("web"))
	assert.Equal(t, writes+1, w.writes, "nothing is said of who has an address before the allocator has been asked")
	assert.Contains(t, w.condition(named("next")), "False WaitingForAllocator")
	w.delete(named("web")) // its claim is released when the allocator is back
	w.settle()
	w.list(o)
	w.settleAll(o)
	w.agrees(o)
}

// TestAllocatorDisagrees: whatever becomes of what an allocator has given, the Service keeps its address and says so.
func TestAllocatorDisagrees(t *testing.T) {
	o := newOutsider(t, 1, "10.0.0.0-10.0.0.9")
	w := newWorld(t, externalPool("a", "10.0.0.0/24"))
	w.list(o)
	w.put(loadBalancer("web"))
	w.settleAll(o)
	all, err := o.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	for _, tt := range []struct {
		answer allocator.Answer
		want   string
	}{
		{allocator.Answer{Addr: netip.MustParseAddr("10.0.0.9")}, "has given 10.0.0.9 instead"},
		{allocator.Answer{Addr: netip.MustParseAddr("203.0.113.9")}, "has given 203.0.113.9 instead"},
		{allocator.Answer{Refusal: allocator.RefusedOther, Why: "AllocationFailed: broken"}, "does not give it: AllocationFailed: broken"},
		{allocator.Answer{Why: `IPAddress "x", which the claim names, is gone`}, `has not given it yet: IPAddress "x", which the claim names, is gone`},
	} {
		w.assigner.Answered(all[0].ID, tt.answer)
		w.settle()
		assert.Equal(t, `True AllocatorDisagrees: 10.0.0.0 from pool "a" is kept; its allocator, cluster-api, `+tt.want, w.condition(named("web")))
		assert.Equal(t, "10.0.0.0", w.shown("web"))
		assert.Contains(t, strings.Join(w.takeEvents(), "\n"), "default/web Warning AllocatorDisagrees: 10.0.0.0")
		_, wanted := w.assigner.Claim(all[0].ID)
		assert.True(t, wanted, "the claim stays")

		writes := w.writes
		w.start()
		w.settle()
		assert.Equal(t, writes, w.writes, "a restart says nothing else before the allocator is asked")
		w.assigner.Listed(config.AllocatorClusterAPI, []allocator.Claimed{{Claim: all[0].Claim, Answer: tt.answer}})
		w.settle()
		assert.Equal(t, writes, w.writes, "nor afterwards")
	}
	w.assigner.Answered(all[0].ID, all[0].Answer)
	w.settle()
	assert.Equal(t, `True Allocated: 10.0.0.0 from pool "a"`, w.condition(named("web")))
}

// TestAnswersThatCannotBeUsed: they are told to who waits, and nobody else is affected; a later pool serves.
func TestAnswersThatCannotBeUsed(t *testing.T) {
	for answer, why := range map[string]string{
		"203.0.113.1": `it is outside spec.addresses of pool "a"`,
		"10.0.1.1":    `it is in pool "b"`,
		"10.0.0.0":    "address 10.0.0.0 is in use by default/first, and not both allow sharing",
		"2001:db8::1": "it is no IPv4 address",
	} {
		o := newOutsider(t, 1, "10.0.0.0-10.0.0.9")
		w := newWorld(t, externalPool("a", "10.0.0.0/24"), ipPool("b", "10.0.1.0/24"))
		w.list(o)
		w.put(loadBalancer("first"))
		w.settleAll(o)
		w.put(loadBalancer("web", annotated("metallb.io/address-pool", "a")))
		w.put(loadBalancer("free"))
		w.settle()
		for _, id := range slices.Clone(w.looks) {
			c, _ := w.assigner.Claim(id)
			if c.Owner != named("first") {
				w.assigner.Answered(id, allocator.Answer{Addr: netip.MustParseAddr(answer)})
			}
		}
		w.settle()
		assert.Equal(t, `False AllocatorDisagrees: an allocator has given an address that cannot be used: pool "a": its allocator has given `+
			answer+", which cannot be used: "+why, w.condition(named("web")))
		assert.Contains(t, strings.Join(w.takeEvents(), "\n"), "default/web Warning AllocationFailed")
		assert.Equal(t, "10.0.0.0", w.shown("first"))
		assert.True(t, strings.HasPrefix(w.shown("free"), "10.0.1."), "the next pool serves")
	}
}

// TestOneClaimForWhoShares: those of one key ask once, and who comes later takes what is there.
func TestOneClaimForWhoShares(t *testing.T) {
	o := newOutsider(t, 1, "10.0.0.0-10.0.0.9")
	w := newWorld(t, externalPool("a", "10.0.0.0/24"))
	w.list(o)
	shares := annotated("metallb.io/allow-shared-ip", "k")
	names := []string{"one", "two", "three"}
	for i, name := range names {
		w.put(loadBalancer(name, shares, port(int32(80+i))))
	}
	w.settle()
	assert.Len(t, w.assigner.claims.by, 1)
	w.settleAll(o)
	for _, name := range names {
		assert.Equal(t, "10.0.0.0", w.shown(name))
	}
	w.agreesShared(o, 1)
	w.delete(named("one")) // whose claim it was
	w.settleAll(o)
	w.agreesShared(o, 1)
	w.delete(named("two"))
	w.delete(named("three"))
	w.settleAll(o)
	w.agreesShared(o, 0)

	// Who asks for all goes before it is answered: somebody else asks.
	w.put(loadBalancer("one", shares))
	w.put(loadBalancer("two", shares, port(81)))
	w.settle()
	w.delete(named("one"))
	w.settleAll(o)
	assert.Equal(t, "10.0.0.0", w.shown("two"))
	w.agreesShared(o, 1)
}

func (w *world) agreesShared(o *outsider, want int) {
	all, err := o.List(context.Background())
	require.NoError(w.t, err)
	require.Len(w.t, all, want)
}

// TestReservedClaim: a claim whose address a user has reserved outlives its Service, and serves the one that comes after it.
func TestReservedClaim(t *testing.T) {
	o := newOutsider(t, 1, "10.0.0.0-10.0.0.9")
	w := newWorld(t, externalPool("a", "10.0.0.0/24"))
	w.list(o)
	w.put(loadBalancer("web"))
	w.settleAll(o)
	w.reserve("r", "10.0.0.0", named("web"))
	w.delete(named("web"))
	w.put(loadBalancer("other"))
	w.settleAll(o)
	assert.Equal(t, "10.0.0.1", w.shown("other"))
	w.agreesShared(o, 2)
	w.put(loadBalancer("web", func(s *corev1.Service) { s.Labels["made"] = "anew" }))
	w.settleAll(o)
	assert.Equal(t, "10.0.0.0", w.shown("web"))
	w.agreesShared(o, 2)
}

// reserve has a user reserve an address for a Service.
func (w *world) reserve(name, addr string, owner allocator.Owner) {
	r := v1alpha1.AddressReservation{}
	r.Namespace, r.Name, r.UID = "metallb-system", name, types.UID(name)
	r.Spec.Addresses = []string{addr}
	r.Spec.Service = &v1alpha1.ServiceReference{Namespace: owner.Namespace, Name: owner.Name}
	w.snapshot = config.Build(config.Objects{Pools: w.pools, Reservations: []v1alpha1.AddressReservation{r}}, w.snapshot)
	require.NoError(w.t, w.assigner.SetSnapshot(w.snapshot, w.namespace))
}
