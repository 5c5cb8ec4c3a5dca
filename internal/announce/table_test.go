package announce

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// both is a cluster as Place is told of it, and the Table that is told of each change.
type both struct {
	r        *rand.Rand
	in       LocalInput
	services map[types.NamespacedName]Service
	table    *Table
	// seen are the answers of the Table as its caller has them: it asks again only for what Decide returns.
	seen     map[netip.Addr]*Placement
	refusals map[types.NamespacedName]Verdict
}

func newBoth(seed uint64, sticky, ignoreExclude bool) *both {
	b := &both{
		r: rand.New(rand.NewPCG(seed, 0)), services: map[types.NamespacedName]Service{}, table: NewTable(ignoreExclude, sticky),
		in:   LocalInput{Nodes: map[string]Node{}, Speakers: map[string]Speaker{}, Sticky: sticky, IgnoreExclude: ignoreExclude},
		seen: map[netip.Addr]*Placement{}, refusals: map[types.NamespacedName]Verdict{},
	}
	b.configure()
	return b
}

func (b *both) one(of ...string) string { return of[b.r.IntN(len(of))] }

func (b *both) rarely() bool { return b.r.IntN(4) == 0 }

var walkNodes = []string{"n1", "n2", "n3", "n4", "n5"}

// configure puts any configuration in force.
func (b *both) configure() {
	var specs []v1beta1.L2AdvertisementSpec
	for range b.r.IntN(4) {
		var s v1beta1.L2AdvertisementSpec
		if b.rarely() {
			s.NodeSelectors = append(s.NodeSelectors, hostname(b.one(walkNodes...), b.one(walkNodes...)))
		}
		if b.rarely() {
			s.ServiceSelectors = append(s.ServiceSelectors, hostname("a"))
		}
		if b.rarely() {
			s.Interfaces = []string{b.one("eth0", "eth1")}
		}
		if b.rarely() {
			s.PreferredNodeSelectors = []v1beta1.PreferredNodeSelector{{Weight: int32(1 + b.r.IntN(3)), Preference: hostname(b.one(walkNodes...))}}
		}
		specs = append(specs, s)
	}
	none := b.r.IntN(10) == 0
	b.in.Snapshot, b.in.Serves = snapshot(specs...), func(*config.L2Advertisement) bool { return !none }
	b.table.Configure(b.in.Snapshot, b.in.Serves)
}

// service changes a Service.
func (b *both) service() {
	s := Service{Namespace: "default", Name: fmt.Sprint("s", b.r.IntN(8)), Labels: labels.Set{"kubernetes.io/hostname": b.one("a", "b")}, Pools: []string{"main"}}
	id := s.ID()
	if b.rarely() {
		delete(b.services, id)
		b.table.SetService(id, nil)
		return
	}
	s.Local, s.Shares = b.rarely(), b.rarely()
	addrs := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "198.51.100.1"}
	b.r.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	for _, a := range addrs[:1+b.r.IntN(2)] {
		s.Addrs = append(s.Addrs, netip.MustParseAddr(a))
	}
	s.Endpoints.Any = !b.rarely()
	if s.Endpoints.Any {
		s.Endpoints.Nodes = map[string]bool{b.one(walkNodes...): true, b.one(walkNodes...): true}
	}
	b.services[id] = s
	own := s
	b.table.SetService(id, &own)
}

func (b *both) node() {
	name := b.one(walkNodes...)
	if b.r.IntN(8) == 0 {
		delete(b.in.Nodes, name)
		b.table.SetNode(name, nil)
		return
	}
	n := Node{Labels: labels.Set{"kubernetes.io/hostname": name}, NotReady: b.rarely(), NetworkUnavailable: b.r.IntN(8) == 0}
	if b.r.IntN(8) == 0 {
		n.Labels[excludeLabel] = ""
	}
	if b.r.IntN(8) == 0 {
		n.Labels["kubernetes.io/hostname"] = b.one(walkNodes...)
	}
	b.in.Nodes[name] = n
	b.table.SetNode(name, &n)
}

func (b *both) speaker() {
	name := b.one(walkNodes...)
	if b.rarely() {
		delete(b.in.Speakers, name)
		b.table.SetSpeaker(name, nil)
		return
	}
	s := Speaker{Leaving: b.r.IntN(8) == 0, SameSubnet: b.rarely(), Claims: map[netip.Addr]bool{}}
	for _, link := range []string{"eth0", "eth1"} {
		if !b.rarely() {
			s.Links = append(s.Links, backends.Link{Name: link, IPv4: !b.rarely(), IPv6: !b.rarely(), Prefixes: []netip.Prefix{
				netip.MustParsePrefix(b.one("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64")),
			}})
		}
	}
	for range b.r.IntN(3) {
		s.Claims[b.addr()] = true
	}
	b.in.Speakers[name] = s
	s.Claims = maps.Clone(s.Claims)
	b.table.SetSpeaker(name, &s)
}

func (b *both) addr() netip.Addr {
	return netip.MustParseAddr(b.one("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "198.51.100.1"))
}

func (b *both) claim() {
	name, addr, yes := b.one(walkNodes...), b.addr(), b.r.IntN(2) == 0
	if s, alive := b.in.Speakers[name]; alive {
		s.Claims = maps.Clone(s.Claims)
		s.Claims[addr] = yes
		b.in.Speakers[name] = s
	}
	b.table.SetClaim(name, addr, yes)
}

// compare has both decide.
func (b *both) compare(t *testing.T, after string) {
	b.in.Services = slices.SortedFunc(maps.Values(b.services), func(x, y Service) int { return slices.Compare([]string{x.Name}, []string{y.Name}) })
	want := Place(b.in)
	addrs, services := b.table.Decide()
	for _, addr := range addrs {
		delete(b.seen, addr)
		if p := b.table.Placement(addr); p != nil {
			b.seen[addr] = p
		}
	}
	for _, id := range services {
		delete(b.refusals, id)
		if v, refused := b.table.Refusal(id); refused {
			b.refusals[id] = v
		}
	}
	require.Equal(t, want.Placements, b.seen, after)
	require.Equal(t, want.Refusals, b.refusals, after)
	held := map[netip.Addr]bool{}
	for _, s := range b.in.Services {
		for _, addr := range s.Addrs {
			held[addr] = true
		}
		assert.Equal(t, s, *b.table.Service(s.ID()), after)
	}
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "198.51.100.1", "192.0.2.99"} {
		addr := netip.MustParseAddr(addr)
		assert.Equal(t, held[addr], b.table.Held(addr), after)
		var claimants []string
		for _, node := range slices.Sorted(maps.Keys(b.in.Speakers)) {
			if b.in.Speakers[node].Claims[addr] {
				claimants = append(claimants, node)
			}
			assert.Equal(t, b.in.Speakers[node].Claims[addr], b.table.Claims(node, addr), after)
		}
		assert.Equal(t, claimants, b.table.Claimants(addr), after)
	}
}

// TestTable walks at random through clusters, one change or several at a time: at each step the Table says what Place says, and names what is
// new.
func TestTable(t *testing.T) {
	for seed := range uint64(60) {
		b := newBoth(seed, seed%2 == 0, seed%3 == 0)
		steps := map[string]func(){"configure": b.configure, "service": b.service, "node": b.node, "speaker": b.speaker, "claim": b.claim}
		names := []string{"configure", "service", "service", "service", "node", "node", "speaker", "speaker", "claim", "claim", "claim", "nothing"}
		for i := range 400 {
			after := fmt.Sprintf("seed %d, step %d:", seed, i)
			for range 1 + b.r.IntN(3)*b.r.IntN(4) {
				name := b.one(names...)
				if name == "configure" && i%8 > 0 {
					continue
				}
				after += " " + name
				if do := steps[name]; do != nil {
					do()
				}
			}
			b.compare(t, after)
			if t.Failed() {
				return
			}
		}
	}
}

// TestNothingToDo: a Table that nothing has happened to looks at nothing.
func TestNothingToDo(t *testing.T) {
	b := newBoth(1, true, false)
	for range 20 {
		b.service()
		b.node()
		b.speaker()
	}
	b.compare(t, "")
	addrs, services := b.table.Decide()
	assert.Empty(t, addrs)
	assert.Empty(t, services)
}

// BenchmarkTable is 10,000 Services and 500 nodes: the whole from nothing, and one change of each kind.
func BenchmarkTable(b *testing.B) {
	const services, nodes = 10_000, 500
	fill := func() *Table {
		t := NewTable(false, true)
		s := snapshot(v1beta1.L2AdvertisementSpec{})
		t.Configure(s, func(*config.L2Advertisement) bool { return true })
		for i := range nodes {
			name := fmt.Sprintf("node-%03d", i)
			t.SetNode(name, &Node{Labels: labels.Set{"kubernetes.io/hostname": name}})
			t.SetSpeaker(name, &Speaker{Links: []backends.Link{{Name: "eth0", IPv4: true, IPv6: true}}})
		}
		for i := range services {
			s := service(i)
			t.SetService(s.ID(), s)
		}
		return t
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			t := fill()
			b.StartTimer()
			t.Decide()
		}
	})
	t := fill()
	t.Decide()
	run := func(name string, change func(i int)) {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				change(i)
				t.Decide()
			}
		})
	}
	run("endpoints", func(i int) {
		s := service(i % services)
		s.Endpoints.Any = i%2 == 0
		t.SetService(s.ID(), s)
	})
	run("claim", func(i int) {
		t.SetClaim(fmt.Sprintf("node-%03d", i%nodes), netip.AddrFrom4([4]byte{192, 0, 2, 1}), i%2 == 0)
	})
	run("node-dies-and-returns", func(i int) {
		name := fmt.Sprintf("node-%03d", i/2%nodes)
		if i%2 == 0 {
			t.SetSpeaker(name, nil)
		} else {
			t.SetSpeaker(name, &Speaker{Links: []backends.Link{{Name: "eth0", IPv4: true, IPv6: true}}})
		}
	})
}

func service(i int) *Service {
	return &Service{
		Namespace: "default", Name: fmt.Sprintf("web-%05d", i), Pools: []string{"main"}, Endpoints: Endpoints{Any: true},
		Addrs: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))},
	}
}
