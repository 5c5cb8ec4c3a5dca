package calico

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/backends"
)

// TestNarrowing: while things are narrowed, a filter keeps every rule that it has; what is shown comes later.
func TestNarrowing(t *testing.T) {
	peers := []backends.Peer{router("tor-a", "192.0.2.1"), router("tor-b", "192.0.2.2")}
	of := func(a ...backends.BGPAdvertisement) backends.Desired {
		return backends.Desired{
			Peers: peers, Nodes: []backends.Node{node("n1", "rack", "1"), node("n2")}, BGPAdvertisements: a,
			Announcements: append(announce("main", "192.0.2.0/24"), announce("other", "198.51.100.0/24")...),
		}
	}
	narrowing := func(in *planning) { in.narrowing = true }
	first := plan(planned(of(adv("a", pools("main"), to("tor-b")), adv("b", pools("other")))))
	changed := of(adv("a", pools("main")), adv("b", pools("other"), to("tor-b")))
	now := plan(planned(changed, after(first), narrowing))
	assert.Contains(t, rendered(now.objects), "BGPFilter fairlead-tor-a: [In 192.0.2.0/24 all] [In 198.51.100.0/24 all]")
	last := plan(planned(changed, after(now)))
	assert.Contains(t, rendered(last.objects), "BGPFilter fairlead-tor-a: [In 198.51.100.0/24 all]")
	open := of(adv("a", pools("main")), adv("b", pools("other")))
	assert.Contains(t, rendered(plan(planned(open, after(last), narrowing)).objects), "filters fairlead-tor-a+fairlead--remote")
	assert.NotContains(t, rendered(plan(planned(open, after(last))).objects), "fairlead-tor-a+")
}

// TestSessionsChangeOver: a node that gets another BGPPeer has one of the two at every moment.
func TestSessionsChangeOver(t *testing.T) {
	want := backends.Desired{
		Peers: []backends.Peer{router("tor-a", "192.0.2.1")}, Announcements: announce("main", "192.0.2.0/24"),
		Nodes:             []backends.Node{node("n1", "rack", "1"), node("n2", "rack", "2"), node("n3", "rack", "2")},
		BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack=1"))},
	}
	shows, hides := groupName("tor-a", "", 2), groupName("tor-a", "main", 2)
	first := plan(planned(want))
	want.Nodes[1] = node("n2", "rack", "1")
	second := plan(planned(want, after(first)))
	gaining := rendered(second.emptied(first.keys()).gaining().objects)
	assert.Contains(t, gaining, "BGPPeer "+shows+": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n1', 'n2' }")
	assert.Contains(t, gaining, "BGPPeer "+hides+": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n2', 'n3' }")
	assert.Contains(t, rendered(second.objects), "BGPPeer "+hides+": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n3' }")

	want.BGPAdvertisements[0].NodeSelectors = nil
	one := plan(planned(want, after(second)))
	assert.Contains(t, rendered(one.emptied(second.keys()).gaining().objects), "BGPPeer "+hides+": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n3' }",
		"what goes is emptied when the others have what it had")
	assert.Contains(t, rendered(one.emptied(second.keys()).objects), "BGPPeer "+hides+": 192.0.2.1 as64513 local as64512 on !all()")
	assert.NotContains(t, rendered(one.objects), hides)
}

// TestNewcomersWait: while the communities of a pool change, nodes that did not tell a peer of it do not begin to, and those that are not to
// any more cease to.
func TestNewcomersWait(t *testing.T) {
	tor, edge := router("tor", "192.0.2.1"), router("edge", "192.0.2.2")
	before := backends.Desired{
		Nodes:             []backends.Node{node("n1", "rack", "1"), node("n2", "rack", "2"), node("n3", "rack", "3")},
		BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor"), from("rack in (1,2)")), adv("b", pools("other"))},
	}
	late := newcomers{pools: map[string]bool{"main": true}, before: before}
	want := before
	want.Nodes = append(want.Nodes[:3:3], node("n4", "rack", "3"))
	want.BGPAdvertisements = []backends.BGPAdvertisement{adv("a", pools("main"), from("rack in (2,3)")), adv("b", pools("other"))}
	groups, byName := groupNodes(&tor, want, late)
	assert.True(t, byName)
	assert.Equal(t, map[string][]string{"": {"n2"}, "main": {"n1", "n3", "n4"}}, groups)
	groups, _ = groupNodes(&edge, want, late)
	assert.Equal(t, map[string][]string{"main": {"n1", "n2", "n3", "n4"}}, groups, "nobody told it before")
	groups, _ = groupNodes(&tor, want, newcomers{})
	assert.Equal(t, map[string][]string{"": {"n2", "n3", "n4"}, "main": {"n1"}}, groups, "when they are in force")

	want.BGPAdvertisements = []backends.BGPAdvertisement{adv("a", pools("main")), adv("b", pools("other"))} // from all
	groups, byName = groupNodes(&tor, want, late)
	assert.True(t, byName)
	assert.Equal(t, map[string][]string{"": {"n1", "n2"}, "main": {"n3", "n4"}}, groups)
	_, byName = groupNodes(&tor, want, newcomers{})
	assert.False(t, byName)
}

// TestRetagged: the communities of prefixes of ours that stay are replaced; what goes, comes, or is somebody else's is left.
func TestRetagged(t *testing.T) {
	x := apply{
		record: Record{
			Owned: owned("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/25"),
			Tags:  []Tag{tag("192.0.2.0/24", "64512:1"), tag("198.51.100.0/24", "64512:1"), tag("203.0.113.0/25", "64512:1")},
		},
		routes: routes{
			entries: owned("192.0.2.0/24", "198.51.100.0/24", "203.0.113.128/25"),
			tags:    []Tag{tag("192.0.2.0/24", "64512:2"), tag("203.0.113.128/25", "64512:2")},
		},
	}
	current := conf("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/25").with(append(x.record.Tags, tag("10.0.0.0/8", "64512:9"), tag("192.0.2.0/24", "64512:9"))...)
	list, changed := x.retagged(current)
	assert.Equal(t, map[netip.Prefix]bool{netip.MustParsePrefix("192.0.2.0/24"): true, netip.MustParsePrefix("198.51.100.0/24"): true}, changed)
	assert.Equal(t, "prefixAdvertisements: 203.0.113.0/25 64512:1; 10.0.0.0/8 64512:9; 192.0.2.0/24 64512:9; 192.0.2.0/24 64512:2",
		patched(map[string]any{fieldTags: list}))

	x.record.Tags, current = x.routes.tags, conf("192.0.2.0/24").with(x.routes.tags...)
	_, changed = x.retagged(current)
	assert.Empty(t, changed)
}

// TestGoingStaysHidden: nodes that come to a session keep hidden what was hidden from the peer on them, until it is gone.
func TestGoingStaysHidden(t *testing.T) {
	want := backends.Desired{
		Peers: []backends.Peer{router("tor-a", "192.0.2.1"), router("tor-b", "192.0.2.2")}, Nodes: []backends.Node{node("n1", "rack", "1"), node("n2")},
		Announcements:     append(announce("main", "192.0.2.0/24"), announce("other", "198.51.100.0/24")...),
		BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-b")), adv("b", pools("other"), from("rack=1"))},
	}
	first := plan(planned(want))
	hides := groupName("tor-a", "main", 2)
	assert.Contains(t, rendered(first.objects), "BGPFilter "+hides+": [In 192.0.2.0/24 all]")
	want.Announcements = announce("main", "192.0.2.0/24")
	want.BGPAdvertisements[1] = adv("b", pools("main"), from("rack=1"))
	rest := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	going := func(in *planning) { in.narrowing, in.rest, in.going = true, rest, rest }
	now := plan(planned(want, after(first), going))
	assert.Contains(t, rendered(now.objects), "BGPFilter "+hides+": [In 192.0.2.0/24 all] [In 198.51.100.0/24 all]")
	assert.NotContains(t, rendered(plan(planned(want, after(now))).objects), "198.51.100.0/24")
}

// TestHandingOver: an entry that others take over, and the communities of one that goes, stay for a step.
func TestHandingOver(t *testing.T) {
	in := merging{
		current: conf("192.0.2.0/24", "198.51.100.0/24").with(tag("192.0.2.0/24", "64512:1"), tag("198.51.100.0/24", "64512:2")),
		record:  Record{Owned: owned("192.0.2.0/24", "198.51.100.0/24"), Tags: []Tag{tag("192.0.2.0/24", "64512:1"), tag("198.51.100.0/24", "64512:2")}},
		want:    routes{entries: owned("192.0.2.0/25"), tags: []Tag{tag("192.0.2.0/25", "64512:1")}}, lingering: true,
	}
	m := merge(in)
	assert.True(t, m.leaving)
	assert.Equal(t, "serviceLoadBalancerIPs: 192.0.2.0/24 192.0.2.0/25\n"+
		"prefixAdvertisements: 192.0.2.0/24 64512:1; 192.0.2.0/25 64512:1; 198.51.100.0/24 64512:2", patched(m.spec))
	assert.Equal(t, "192.0.2.0/24@main 192.0.2.0/25@main", entries(m.ours.Owned))

	in.current = conf("192.0.2.0/24", "192.0.2.0/25").with(m.ours.Tags...)
	in.record = m.ours
	m = merge(in)
	assert.True(t, m.leaving, "its communities are there")
	assert.Equal(t, "serviceLoadBalancerIPs: 192.0.2.0/25\nprefixAdvertisements: 192.0.2.0/24 64512:1; 192.0.2.0/25 64512:1", patched(m.spec))

	in.current, in.record = conf("192.0.2.0/25").with(m.ours.Tags...), m.ours
	m = merge(in)
	assert.False(t, m.leaving)
	assert.Equal(t, "prefixAdvertisements: 192.0.2.0/25 64512:1", patched(m.spec))
}
