package announce

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/config"
)

// bothRoutes is what a node advertises, as Routes is told of it, and the RouteTable that is told of each change.
type bothRoutes struct {
	r        *rand.Rand
	in       RoutesInput
	services map[types.NamespacedName]Service
	table    *RouteTable
	// seen and refusals are the answers of the table as its caller has them: it asks again only for what Decide returns.
	seen     map[types.NamespacedName][]string
	refusals map[types.NamespacedName]Verdict
	judged   map[string]int // how often Services were refused, by reason
}

func newBothRoutes(seed uint64, ignoreExclude, drain bool) *bothRoutes {
	b := &bothRoutes{
		r: rand.New(rand.NewPCG(seed, 1)), in: RoutesInput{Self: "n1", IgnoreExclude: ignoreExclude, DrainCordoned: drain},
		services: map[types.NamespacedName]Service{}, table: NewRouteTable("n1", ignoreExclude, drain),
		seen: map[types.NamespacedName][]string{}, refusals: map[types.NamespacedName]Verdict{}, judged: map[string]int{},
	}
	b.configure()
	b.node()
	return b
}

func (b *bothRoutes) one(of ...string) string { return of[b.r.IntN(len(of))] }

func (b *bothRoutes) rarely() bool { return b.r.IntN(4) == 0 }

// configure puts any configuration in force.
func (b *bothRoutes) configure() {
	var o config.Objects
	for i, addresses := range [][]string{{"192.0.2.0/28", "2001:db8::/124"}, {"192.0.2.16-192.0.2.31", "2001:db8::10/124"}} {
		o.Pools = append(o.Pools, v1beta1.IPAddressPool{
			ObjectMeta: metav1.ObjectMeta{Name: []string{"main", "other"}[i]}, Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses},
		})
	}
	for i := range 1 + b.r.IntN(5) - b.r.IntN(2) {
		s := v1beta1.BGPAdvertisementSpec{LocalPref: uint32(b.r.IntN(3) / 2)}
		aggregates := b.rarely()
		if aggregates {
			lengths := [2]int32{int32(28 + b.r.IntN(5)), int32(124 + b.r.IntN(5))}
			s.AggregationLength, s.AggregationLengthV6 = &lengths[0], &lengths[1]
		}
		if b.r.IntN(8) == 0 {
			s.NodeSelectors = append(s.NodeSelectors, hostname(b.one("n1", "n2")))
		}
		if !aggregates && b.r.IntN(2) == 0 {
			s.ServiceSelectors = append(s.ServiceSelectors, hostname(b.one("a", "b")))
		}
		if b.rarely() {
			s.IPAddressPools = []string{b.one("main", "other")}
		}
		if b.rarely() {
			s.Peers = []string{b.one("tor-a", "tor-b", "tor-c", "gone")}
		}
		switch b.r.IntN(4) {
		case 0:
			s.Communities = numbered(0, 40)
		case 1:
			s.Communities = numbered(30, 70)
		case 2:
			s.Communities = []string{"large:1:2:3", b.one("64512:1", "64512:2", "64512:100")}
		}
		meta := metav1.ObjectMeta{Name: fmt.Sprint("adv-", i)}
		o.BGPAdvertisements = append(o.BGPAdvertisements, v1beta1.BGPAdvertisement{ObjectMeta: meta, Spec: s})
	}
	for i, name := range []string{"tor-c", "tor-b", "tor-a"} {
		if b.r.IntN(5) == 0 {
			continue
		}
		s := v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, DualStackAddressFamily: b.r.IntN(2) == 0,
			PeerAddress: fmt.Sprintf(b.one("198.51.100.%d", "198.51.100.%d", "2001:db8:1::%d"), i+1)}
		if b.rarely() {
			s.NodeSelectors = append(s.NodeSelectors, hostname(b.one("n1", "n2")))
		}
		meta := metav1.ObjectMeta{Name: name}
		if b.rarely() {
			meta.Annotations = map[string]string{"fairlead.io/peer-address-from": "example.com/router"}
		}
		o.BGPPeers = append(o.BGPPeers, v1beta2.BGPPeer{ObjectMeta: meta, Spec: s})
	}
	for i := range b.r.IntN(3) {
		var s v1beta1.L2AdvertisementSpec
		if b.rarely() {
			s.NodeSelectors = append(s.NodeSelectors, hostname(b.one("n1", "n2", "n3")))
		}
		o.L2Advertisements = append(o.L2Advertisements, v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("l2-", i)}, Spec: s})
	}
	none := b.r.IntN(10) == 0
	but := b.one("adv-0", "adv-1", "adv-9", "adv-9")
	b.in.Snapshot, b.in.Serves = config.Build(o, nil), func(a *config.BGPAdvertisement) bool { return !none && a.Ref.Name != but }
	b.table.Configure(b.in.Snapshot, b.in.Serves)
}

// service changes a Service.
func (b *bothRoutes) service() {
	s := Service{
		Namespace: b.one("default", "other"), Name: fmt.Sprint("s", b.r.IntN(6)), Pools: []string{"main", "other"},
		Labels: labels.Set{"kubernetes.io/hostname": b.one("a", "b")},
	}
	id := s.ID()
	if b.rarely() {
		delete(b.services, id)
		b.table.SetService(id, nil)
		return
	}
	s.Local = b.r.IntN(8) == 0
	for range 1 + b.r.IntN(3) {
		number := []int{1, 2, 3, 4, 17, 18, 40}[b.r.IntN(7)] // of the pool main, of the other, and of none
		s.Addrs = append(s.Addrs, netip.MustParseAddr(fmt.Sprintf(b.one("192.0.2.%d", "2001:db8::%x"), number)))
	}
	s.Endpoints = b.endpoints()
	b.services[id] = s
	b.table.SetService(id, &s)
}

func (b *bothRoutes) endpoints() Endpoints {
	if b.r.IntN(8) == 0 {
		return Endpoints{}
	}
	return Endpoints{Any: true, Nodes: map[string]bool{b.one("n1", "n2", "n3"): true}}
}

// little changes the endpoints or the labels of a Service, and nothing else.
func (b *bothRoutes) little() {
	if len(b.services) == 0 {
		return
	}
	ids := slices.SortedFunc(maps.Keys(b.services), func(x, y types.NamespacedName) int { return cmp.Compare(x.String(), y.String()) })
	s := b.services[ids[b.r.IntN(len(ids))]]
	if s.Endpoints = b.endpoints(); b.rarely() {
		s.Labels = labels.Set{"kubernetes.io/hostname": b.one("a", "b")}
	}
	b.services[s.ID()] = s
	b.table.SetService(s.ID(), &s)
}

func (b *bothRoutes) node() {
	if b.r.IntN(12) == 0 {
		b.in.Node = nil
		b.table.SetNode(nil)
		return
	}
	n := Node{
		Labels: labels.Set{"kubernetes.io/hostname": "n1"}, NotReady: b.rarely(), NetworkUnavailable: b.r.IntN(12) == 0,
		Cordoned: b.rarely(),
	}
	if b.r.IntN(8) == 0 {
		n.Labels[excludeLabel] = ""
	}
	if b.r.IntN(8) == 0 {
		n.Labels["kubernetes.io/hostname"] = "n2"
	}
	if b.r.IntN(2) == 0 {
		n.Annotations = map[string]string{"example.com/router": b.one("198.51.100.9", "2001:db8:1::9")}
	}
	b.in.Node = &n
	b.table.SetNode(&n)
}

// compare has both decide.
func (b *bothRoutes) compare(t *testing.T, after string) {
	b.in.Services = slices.SortedFunc(maps.Values(b.services), func(x, y Service) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	want := Routes(b.in)
	for _, id := range b.table.Decide() {
		delete(b.seen, id)
		delete(b.refusals, id)
		if peers := b.table.Peers(id); peers != nil {
			b.seen[id] = peers
		}
		if v, refused := b.table.Refusal(id); refused {
			b.refusals[id] = v
		}
	}
	require.Equal(t, want.Peers, b.seen, after)
	require.Equal(t, want.Refusals, b.refusals, after)
	if len(want.Routes)+len(b.table.Routes()) > 0 {
		require.Equal(t, want.Routes, b.table.Routes(), after)
	}
	for _, s := range b.in.Services {
		assert.Equal(t, s, *b.table.Service(s.ID()), after)
	}
	for _, v := range want.Refusals {
		b.judged[v.Reason]++
	}
	b.judged["routes"] += len(want.Routes)
}

// walk does so many steps, of one change or several at a time by their names, each twelfth of the seldom ones, and compares after each.
func (b *bothRoutes) walk(t *testing.T, seed uint64, n int, steps map[string]func(), names, seldom []string, compare func(after string)) {
	for i := range n {
		after := fmt.Sprintf("seed %d, step %d:", seed, i)
		for range 1 + b.r.IntN(3)*b.r.IntN(4) {
			name := b.one(names...)
			if i%12 == 0 {
				name = b.one(seldom...)
			}
			after += " " + name
			if do := steps[name]; do != nil {
				do()
			}
		}
		compare(after)
		if t.Failed() {
			return
		}
	}
}

// TestRouteTable walks at random through what a node is told of, one change or several at a time: at each step the RouteTable says what
// Routes says, and names what is new.
func TestRouteTable(t *testing.T) {
	judged := map[string]int{}
	for seed := range uint64(20) {
		b := newBothRoutes(seed, seed%2 == 0, seed%3 == 0)
		steps := map[string]func(){"configure": b.configure, "service": b.service, "little": b.little, "node": b.node}
		names := []string{"service", "service", "service", "service", "little", "little", "little", "nothing"}
		b.walk(t, seed, 300, steps, names, []string{"configure", "configure", "node"}, func(after string) { b.compare(t, after) })
		if t.Failed() {
			return
		}
		for reason, n := range b.judged {
			judged[reason] += n
		}
	}
	for _, what := range []string{"routes", ReasonConflictingAdvertisements, ReasonNoPeer, ReasonNoAdvertisement, ReasonServiceNotSelected,
		ReasonNodeNotSelected, ReasonNoLocalEndpoints, ReasonNoEndpoints, ReasonNodeUnknown, ReasonNoBackend} {
		assert.Greater(t, judged[what], 100, "the walk comes by %s", what)
	}
}

// TestNoRouteToDecide: a RouteTable looks at nothing but what has changed, however many Services share a prefix with it.
func TestNoRouteToDecide(t *testing.T) {
	length := int32(24)
	table := NewRouteTable("n1", false, false)
	table.Configure(bgp(v1beta1.BGPAdvertisementSpec{AggregationLength: &length}), func(*config.BGPAdvertisement) bool { return true })
	table.SetNode(&Node{})
	for i := range 10 {
		s := service(i)
		s.Addrs = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
		table.SetService(s.ID(), s)
	}
	assert.Len(t, table.Decide(), 10)
	assert.Len(t, table.Routes(), 1)
	assert.Empty(t, table.Decide())
	table.SetNode(&Node{NotReady: true})
	assert.Empty(t, table.Decide(), "whether the node is ready does not matter")
	s := service(3)
	s.Endpoints.Any = false
	table.SetService(s.ID(), s)
	was := table.Routes()
	assert.Equal(t, []types.NamespacedName{s.ID()}, table.Decide())
	assert.Same(t, &was[0], &table.Routes()[0])
}

// BenchmarkRouteTable is 10,000 Services: the whole from nothing, and one change of each kind. Their routes are one for each, a few for all
// of them together, and such that of two Services with one address each speaks against the other.
func BenchmarkRouteTable(b *testing.B) {
	const services = 10_000
	length := int32(116)
	labelled := func(value string, pref uint32) v1beta1.BGPAdvertisementSpec {
		return v1beta1.BGPAdvertisementSpec{LocalPref: pref, ServiceSelectors: []metav1.LabelSelector{hostname(value)}}
	}
	for _, tc := range []struct {
		name     string
		snapshot *config.Snapshot
		share    int
	}{
		{"single", sessions("2001:db8:1::1"), 1},
		{"aggregated", bgp(v1beta1.BGPAdvertisementSpec{AggregationLengthV6: &length}), 1},
		{"contested", bgp(labelled("0", 1), labelled("1", 2)), 2},
	} {
		serves := func(*config.BGPAdvertisement) bool { return true }
		node := &Node{Labels: labels.Set{"kubernetes.io/hostname": "n1"}}
		make := func(i int) *Service {
			s := service(i)
			s.Labels, s.Addrs = labels.Set{"kubernetes.io/hostname": fmt.Sprint(i % tc.share)}, service(i/tc.share).Addrs
			return s
		}
		fill := func() *RouteTable {
			t := NewRouteTable("n1", false, false)
			t.Configure(tc.snapshot, serves)
			t.SetNode(node)
			for i := range services {
				s := make(i)
				t.SetService(s.ID(), s)
			}
			return t
		}
		in := RoutesInput{Snapshot: tc.snapshot, Serves: serves, Self: "n1", Node: node}
		for i := range services {
			in.Services = append(in.Services, *make(i))
		}
		b.Run(tc.name+"/oracle", func(b *testing.B) {
			for b.Loop() {
				Routes(in)
			}
		})
		b.Run(tc.name+"/all", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				t := fill()
				b.StartTimer()
				t.Decide()
			}
		})
		t := fill()
		t.Decide()
		b.Run(tc.name+"/endpoints", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				s := make(i / 2 % services)
				s.Endpoints.Any = i%2 == 1
				t.SetService(s.ID(), s)
				t.Decide()
			}
		})
		b.Run(tc.name+"/endpoints-that-cannot-matter", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				s := make(i % services)
				s.Endpoints.Nodes = map[string]bool{fmt.Sprint("n", i%5): true}
				t.SetService(s.ID(), s)
				t.Decide()
			}
		})
	}
}
