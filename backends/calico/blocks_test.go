package calico

import (
	"fmt"
	"slices"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// dual is a cluster with two pools of both families and Services in them.
func dual(adverts ...backends.BGPAdvertisement) backends.Desired {
	return backends.Desired{
		Announcements:     slices.Concat(announce("main", "192.0.2.0/24", "2001:db8::/64"), announce("other", "198.51.100.0/24")),
		BGPAdvertisements: adverts,
		Services: []backends.Service{
			service("web", "main", "192.0.2.7", "2001:db8::7"), service("db", "main", "192.0.2.8"), service("mapped", "main", "::ffff:192.0.2.9"),
			service("two", "other,main", "198.51.100.1", "2001:db8::8"),
		},
	}
}

// newest is what surrounds a new Calico that nobody else has configured.
var newest = surroundings{mode: Auto, filters: true, perIP: true, canDisable: true}

func with1(change func(*surroundings)) surroundings {
	s := newest
	change(&s)
	return s
}

func TestRoute(t *testing.T) {
	const blocks = "192.0.2.0/24@main 198.51.100.0/24@other 2001:db8::/64@main"
	const each = "192.0.2.7/32@main 192.0.2.8/32@main 192.0.2.9/32@main 198.51.100.1/32@other 2001:db8::7/128@main 2001:db8::8/128@main"
	all := adv("all", pools("main", "other"))
	for _, tc := range []struct {
		name        string
		want        backends.Desired
		in          surroundings
		entries     string
		tags        string
		aggregation v3.ServiceLoadBalancerAggregation
		findings    []string
		pools       map[string]string
	}{
		{name: "nothing", in: newest},
		{
			name: "a pool without advertisement", want: dual(), in: newest,
		},
		{
			name: "auto, alone", want: dual(all), in: newest, entries: blocks, aggregation: "Disabled",
			pools: map[string]string{"main": "+Calico: every address on its own", "other": "+Calico: every address on its own"},
		},
		{
			name: "auto, among entries of others", want: dual(all), in: with1(func(s *surroundings) { s.others = "spec.serviceClusterIPs" }),
			entries: each, pools: map[string]string{"main": "+Calico: an entry for each route, whether or not an endpoint is ready", "other": "+Calico: an entry for each route, whether or not an endpoint is ready"},
		},
		{
			name: "auto, among entries of others, on an old Calico", want: dual(all),
			in: with1(func(s *surroundings) { s.others, s.perIP = "spec.serviceClusterIPs", false }), entries: blocks,
			pools: map[string]string{"main": "+Calico: aggregated in 192.0.2.0/24, 2001:db8::/64", "other": "+Calico: aggregated in 198.51.100.0/24"},
		},
		{
			name: "auto, others have it disabled", want: dual(all), entries: blocks,
			in: with1(func(s *surroundings) { s.others, s.perIP, s.current = "spec.serviceClusterIPs", false, "Disabled" }),
		},
		{
			name: "auto, without the field", want: dual(all), in: with1(func(s *surroundings) { s.canDisable = false }), entries: each,
		},
		{
			name: "auto, somebody else applies the list", want: dual(all), entries: blocks,
			in: with1(func(s *surroundings) { s.others, s.applied = "spec.serviceLoadBalancerIPs[10.0.0.0/8]", true }),
		},
		{
			name: "auto, a length", want: dual(adv("all", pools("main", "other"), lengths(28, 64))), in: newest,
			entries: "192.0.2.0/28@main 198.51.100.0/28@other 2001:db8::/64@main",
		},
		{
			name: "auto, a selector", want: dual(adv("all", pools("main", "other"), only("app=web"))), in: newest, entries: "192.0.2.7/32@main 2001:db8::7/128@main",
			pools: map[string]string{"main": "+Calico: an entry for each route, whether or not an endpoint is ready", "other": "-no Service that a BGPAdvertisement selects has an address from it"},
		},
		{
			name: "preserve, without a length", want: dual(all), in: with1(func(s *surroundings) { s.mode = Preserve }), entries: blocks,
		},
		{
			name: "preserve", want: dual(adv("all", pools("main", "other"), lengths(28, 80))), in: with1(func(s *surroundings) { s.mode = Preserve }), entries: blocks,
			findings: []string{"UnsupportedField BGPAdvertisement/all spec.aggregationLength", "UnsupportedField BGPAdvertisement/all spec.aggregationLengthV6"},
		},
		{
			name: "preserve, with the pools' own lengths", want: dual(adv("all", pools("main", "other"), lengths(24, 64))),
			in: with1(func(s *surroundings) { s.mode = Preserve }), entries: blocks,
		},
		{
			name: "preserve what is disabled", want: dual(all), in: with1(func(s *surroundings) { s.mode, s.current = Preserve, "Disabled" }), entries: blocks,
			pools: map[string]string{"main": "+Calico: every address on its own", "other": "+Calico: every address on its own"},
		},
		{
			name: "preserve what is disabled, a length", want: dual(adv("all", pools("main"), lengths(28, 128))),
			in: with1(func(s *surroundings) { s.mode, s.current = Preserve, "Disabled" }), entries: "192.0.2.0/24@main 2001:db8::/64@main",
			findings: []string{"UnsupportedField BGPAdvertisement/all spec.aggregationLength"},
		},
		{
			name: "disabled, whatever others have", want: dual(all), entries: blocks, aggregation: "Disabled",
			in: with1(func(s *surroundings) { s.mode, s.others = Disabled, "spec.serviceClusterIPs" }),
		},
		{
			name: "disabled, without the field", want: dual(adv("all", pools("other"))), entries: "198.51.100.0/24@other",
			in: with1(func(s *surroundings) { s.mode, s.canDisable = Disabled, false }),
			findings: []string{
				"UnsupportedField BGPConfiguration/default spec.serviceLoadBalancerAggregation",
			},
		},
		{
			name: "enabled", want: dual(adv("all", pools("other"))), in: with1(func(s *surroundings) { s.mode, s.current = Enabled, "Disabled" }),
			entries: "198.51.100.0/24@other", aggregation: "Enabled",
			pools: map[string]string{"other": "+Calico: aggregated in 198.51.100.0/24"},
		},
		{name: "per IP", want: dual(all), in: with1(func(s *surroundings) { s.mode = PerIP }), entries: each},
		{
			name: "per IP, on an old Calico", want: dual(adv("all", pools("other"))), in: with1(func(s *surroundings) { s.mode, s.perIP, s.never = PerIP, false, true }),
			entries: "198.51.100.1/32@other", findings: []string{"UnsupportedField BGPConfiguration/default spec.serviceLoadBalancerIPs"},
		},
		{
			name: "per IP, where it is disabled", want: dual(adv("all", pools("other"), lengths(28, 128))), entries: "198.51.100.0/28@other",
			in:       with1(func(s *surroundings) { s.mode, s.current = PerIP, "Disabled" }),
			findings: []string{"UnsupportedField BGPAdvertisement/all spec.aggregationLength"},
		},
		{
			name: "two lengths for one pool", entries: "192.0.2.0/24@main 192.0.2.7/32@main 2001:db8::/64@main 2001:db8::7/128@main",
			want: backends.Desired{
				Announcements: announce("main", "192.0.2.0/24", "2001:db8::/64"), Services: []backends.Service{service("web", "main", "192.0.2.7", "2001:db8::7")},
				BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), tagged(2, 1)), adv("b", pools("main"), lengths(24, 64), tagged(3))},
			},
			in:   newest,
			tags: "192.0.2.0/24 64512:3; 192.0.2.7/32 64512:1,64512:2; 2001:db8::/64 64512:3; 2001:db8::7/128 64512:1,64512:2",
		},
		{
			name: "communities", want: dual(adv("a", pools("main"), tagged(2, 1, 2)), adv("b", pools("main", "other"), tagged(3))), in: newest,
			entries: blocks, aggregation: "Disabled",
			tags: "192.0.2.0/24 64512:1,64512:2,64512:3; 198.51.100.0/24 64512:3; 2001:db8::/64 64512:1,64512:2,64512:3",
		},
		{
			name: "communities of single addresses are those of their pool", want: dual(adv("a", pools("other"), tagged(1))),
			in: with1(func(s *surroundings) { s.mode = PerIP }), entries: "198.51.100.1/32@other", tags: "198.51.100.0/24 64512:1",
		},
		{
			name: "communities of some addresses", want: dual(adv("a", pools("other"), tagged(1), only("app=two"))),
			in: newest, entries: "198.51.100.1/32@other", tags: "198.51.100.1/32 64512:1",
		},
		{
			name: "a local preference", want: dual(adv("a", pools("other"), func(a *backends.BGPAdvertisement) { a.LocalPref = 50 })), in: newest,
			entries: "198.51.100.0/24@other", aggregation: "Disabled", findings: []string{"UnsupportedField BGPAdvertisement/a spec.localPref"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := route(tc.want, tc.in)
			assert.Equal(t, tc.entries, entries(got.entries))
			assert.Equal(t, tc.tags, tags(got.tags))
			assert.Equal(t, tc.aggregation, got.aggregation)
			assert.Equal(t, tc.findings, about(got.findings))
			for pool, message := range tc.pools {
				assert.Equal(t, message, map[bool]string{true: "+", false: "-"}[got.pools[pool].Advertised]+got.pools[pool].Message, pool)
			}
		})
	}
}

// TestFailClosed: a pool is not advertised if ignoring a field would have more peers or nodes hear it, unless that is accepted.
func TestFailClosed(t *testing.T) {
	managed := with1(func(s *surroundings) { s.managesPeers = true })
	preserve := func(s surroundings) surroundings {
		s.mode = Preserve
		return s
	}
	for _, tc := range []struct {
		name     string
		adverts  []backends.BGPAdvertisement
		in       surroundings
		findings []string
		served   []string // advertisements, with what they are served for
		wider    []string // the same if wider advertisement is accepted
		pool     string   // what main's outcome says
	}{
		{
			name: "peers, not managed", in: newest, adverts: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-a"))},
			findings: []string{"!UnsupportedField BGPAdvertisement/a spec.peers"}, wider: []string{"a:main"},
			pool: "BGPAdvertisement/fairlead-system/a asks for spec.peers, which Calico cannot do",
		},
		{
			name: "nodes, not managed", in: newest, adverts: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack=1"))},
			findings: []string{"!UnsupportedField BGPAdvertisement/a spec.nodeSelectors"}, wider: []string{"a:main"},
		},
		{
			name: "both", in: newest, adverts: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack=1"), to("tor-a"))},
			findings: []string{"!UnsupportedField BGPAdvertisement/a spec.peers", "!UnsupportedField BGPAdvertisement/a spec.nodeSelectors"}, wider: []string{"a:main"},
		},
		{
			name: "peers and nodes, managed", in: managed, adverts: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack=1"), to("tor-a"))},
			served: []string{"a:main"}, wider: []string{"a:main"},
		},
		{
			name: "beside a foreign peer", adverts: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-a"))},
			in:       with1(func(s *surroundings) { s.managesPeers, s.foreignPeers = true, []string{"theirs"} }),
			findings: []string{"!UnsupportedField BGPAdvertisement/a spec.peers"}, wider: []string{"a:main"},
		},
		{
			name: "without BGPFilters", adverts: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-a"))},
			in:       with1(func(s *surroundings) { s.managesPeers, s.filters = true, false }),
			findings: []string{"!UnsupportedField BGPAdvertisement/a spec.peers"}, wider: []string{"a:main"},
		},
		{
			name: "the good are not affected", in: newest,
			adverts:  []backends.BGPAdvertisement{adv("a", pools("main", "other"), to("tor-a")), adv("b", pools("other"))},
			findings: []string{"!UnsupportedField BGPAdvertisement/a spec.peers"}, served: []string{"b:other"}, wider: []string{"a:main+other", "b:other"},
		},
		{
			name: "Services, aggregated", in: preserve(managed), adverts: []backends.BGPAdvertisement{adv("a", pools("main"), only("app=web"), lengths(24, 64)), adv("b", pools("other"), lengths(24, 64))},
			findings: []string{"!UnsupportedField BGPAdvertisement/a spec.serviceSelectors"}, served: []string{"b:other"}, wider: []string{"a:main", "b:other"},
			pool: "BGPAdvertisement/fairlead-system/a asks for spec.serviceSelectors, which Calico cannot do",
		},
		{
			name: "other Services to other peers", in: managed,
			adverts: []backends.BGPAdvertisement{adv("a", pools("main", "other"), only("app=web"), to("tor-a")), adv("b", pools("main"), only("app=db"), to("tor-b"))},
			findings: []string{
				"!UnsupportedField BGPAdvertisement/a spec.serviceSelectors", "!UnsupportedField BGPAdvertisement/b spec.serviceSelectors",
			},
			served: []string{"a:other"}, wider: []string{"a:main+other", "b:main"},
		},
		{
			name: "some Services to all peers, all to some", in: managed,
			adverts: []backends.BGPAdvertisement{adv("a", pools("main"), only("app=web")), adv("b", pools("main"), to("tor-b")), adv("c", pools("main"), from("rack=1"))},
			findings: []string{
				"!UnsupportedField BGPAdvertisement/a spec.serviceSelectors", "!UnsupportedField BGPAdvertisement/b spec.peers", "!UnsupportedField BGPAdvertisement/c spec.nodeSelectors",
			},
			wider: []string{"a:main", "b:main", "c:main"},
		},
		{
			name: "other Services to the same peers", in: managed, served: []string{"a:main", "b:main"}, wider: []string{"a:main", "b:main"},
			adverts: []backends.BGPAdvertisement{
				adv("a", pools("main"), only("app=web"), to("tor-a", "tor-b"), from("rack=1")), adv("b", pools("main"), only("app=db"), to("tor-b", "tor-a"), from("rack=1")),
			},
		},
		{
			name: "one that shows everything to everybody", in: managed, served: []string{"a:main", "b:main"}, wider: []string{"a:main", "b:main"},
			adverts: []backends.BGPAdvertisement{adv("a", pools("main")), adv("b", pools("main"), only("app=db"), to("tor-b"), tagged(1))},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			served := func(list []backends.BGPAdvertisement) []string {
				var out []string
				for _, a := range list {
					text := a.Source.Name + ":"
					for i, p := range a.Pools {
						if i > 0 {
							text += "+"
						}
						text += p.Name
					}
					out = append(out, text)
				}
				return out
			}
			got := route(dual(tc.adverts...), tc.in)
			assert.Equal(t, tc.findings, about(got.findings))
			assert.Equal(t, tc.served, served(got.served))
			for _, e := range got.entries {
				assert.True(t, slices.ContainsFunc(got.served, func(a backends.BGPAdvertisement) bool {
					return slices.Contains(a.Pools, backends.Pool{Name: e.Pool, Label: e.Pool})
				}), "%s is advertised by nobody", e.Prefix)
			}
			if tc.pool != "" {
				assert.Equal(t, backends.PoolOutcome{Message: tc.pool}, got.pools["main"])
			}
			tc.in.allowWider = true
			got = route(dual(tc.adverts...), tc.in)
			assert.Equal(t, tc.wider, served(got.served))
			assert.Len(t, got.findings, len(tc.findings), "it is still told")
			for _, f := range got.findings {
				assert.False(t, f.Withheld, f.String())
			}
		})
	}
}

func TestCommunityLimit(t *testing.T) {
	var numbers []uint32
	for i := range uint32(60) {
		numbers = append(numbers, i)
	}
	got := route(dual(adv("a", pools("other"), tagged(numbers...))), newest)
	require.Len(t, got.tags, 1)
	assert.Len(t, got.tags[0].Communities, maxCommunities)
	assert.Equal(t, []string{
		"UnsupportedField BGPConfiguration/default spec.prefixAdvertisements[198.51.100.0/24].communities: holds at most 50, and 60 are wanted; the last 10 are left out",
	}, found(got.findings))
}

// TestTwoPoolsOfAnAddress: a Service with addresses from two pools names both.
func TestTwoPoolsOfAnAddress(t *testing.T) {
	got := index([]backends.Service{service("two", "four,six", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2")})
	assert.Len(t, got["four"], 2, "an IPv4 address in the form of IPv6 is one of IPv4")
	assert.Len(t, got["six"], 1)
}

func TestOutcomeNamesSomePrefixes(t *testing.T) {
	want := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), lengths(24, 64))}}
	for i := range 5 {
		want.Announcements = append(want.Announcements, announce("main", fmt.Sprintf("192.0.%d.0/24", i))...)
	}
	got := route(want, with1(func(s *surroundings) { s.mode = Preserve }))
	assert.Equal(t, "Calico: aggregated in 192.0.0.0/24, 192.0.1.0/24, 192.0.2.0/24, 2 more", got.pools["main"].Message)
}

func TestOutcomeByFamily(t *testing.T) {
	want := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), lengths(24, 64))}, Announcements: announce("main", "192.0.2.0/24", "2001:db8::/64")}
	got := route(want, with1(func(s *surroundings) { s.mode = Preserve })).pools["main"]
	assert.Equal(t, "Calico: aggregated in 192.0.2.0/24", got.Of(false))
	assert.Equal(t, "Calico: aggregated in 2001:db8::/64", got.Of(true))
	assert.Equal(t, "Calico: aggregated in 192.0.2.0/24, 2001:db8::/64", got.Message)
}

// TestLocal: what Calico makes of Services with externalTrafficPolicy Local is told where it is not what is asked for.
func TestLocal(t *testing.T) {
	want := backends.Desired{
		BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), lengths(24, 64))}, Announcements: announce("main", "192.0.2.0/24", "2001:db8::/64"),
		Services: []backends.Service{service("web", "main", "192.0.2.1", "2001:db8::1")},
	}
	for _, tc := range []struct {
		name              string
		local, each, mesh bool
		says              []string
	}{
		{name: "Cluster", mesh: true},
		{name: "the prefix and the address", local: true, says: []string{"routes of their own, beside the prefix"}},
		{name: "passed on", local: true, each: true, mesh: true, says: []string{"not only those with an endpoint"}},
		{name: "both", local: true, mesh: true, says: []string{"routes of their own, beside the prefix", "not only those with an endpoint"}},
		{name: "as meant", local: true, each: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want.Services[0].Local = tc.local
			got := route(want, with1(func(s *surroundings) {
				s.mode, s.mesh = Preserve, tc.mesh
				if tc.each {
					s.mode = Disabled
				}
			}))
			said := slices.DeleteFunc(got.findings, func(f backends.Finding) bool { return f.Field != "" })
			if len(tc.says) == 0 {
				assert.Empty(t, said)
				return
			}
			require.Len(t, said, 1)
			assert.Equal(t, "a", said[0].Object.Name)
			for _, s := range tc.says {
				assert.Contains(t, said[0].Message, s)
			}
		})
	}
}

// many are n prefixes of a pool of their own.
func many(pool string, n, octet int) []backends.Announcement {
	var text []string
	for i := range n {
		text = append(text, fmt.Sprintf("10.%d.%d.%d/31", octet, i/64, i%64*4))
	}
	return announce(pool, text...)
}

// TestTooManyPrefixes: the pool that goes beyond what BIRD reads is kept out, and no other; one that is there comes first.
func TestTooManyPrefixes(t *testing.T) {
	want := backends.Desired{
		Announcements:     slices.Concat(many("a", 60, 1), many("b", maxPrefixes-60, 2), many("c", 1, 3), announce("d", "2001:db8::/64")),
		BGPAdvertisements: []backends.BGPAdvertisement{adv("all", pools("a", "b", "c", "d"))},
	}
	old := surroundings{mode: Auto, filters: true}
	r := route(want, old)
	assert.Len(t, r.entries, maxPrefixes+1)
	assert.Equal(t, map[string]bool{"c": true}, r.crowded)
	assert.False(t, r.pools["c"].Advertised)
	assert.True(t, r.pools["a"].Advertised && r.pools["b"].Advertised && r.pools["d"].Advertised)
	assert.Equal(t, []string{"UnsupportedField IPAddressPool/c spec.addresses: its prefixes, 1, make 101 entries of spec.serviceLoadBalancerIPs in one family, and BIRD reads no more than 100 " +
		"reliably: the pool is not advertised; use addresses that are fewer prefixes, such as a whole CIDR in place of many ranges"}, found(r.findings))

	old.live = map[string]bool{"c": true, "b": true}
	r = route(want, old)
	assert.Equal(t, map[string]bool{"a": true}, r.crowded)

	grown := surroundings{mode: Auto, filters: true, live: map[string]bool{"a": true, "b": true, "c": true}}
	g := route(want, grown)
	assert.Empty(t, g.crowded, "what is live stays")
	assert.Len(t, g.entries, maxPrefixes+2)
	assert.Contains(t, found(g.findings)[0], "a node may go on with an earlier list until the next change")

	x := &apply{want: want, routes: r}
	assert.Len(t, x.announced(), maxPrefixes-60+2, "filters have nothing of it")

	r = route(want, newest)
	assert.Equal(t, map[string]bool{"c": true}, r.crowded, "the same with single addresses, where the list has the prefixes")
	old.mode = PerIP
	assert.Empty(t, route(want, old).crowded, "the list has what is in use")
}
