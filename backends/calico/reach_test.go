package calico

import (
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/backends"
)

// reached returns what Calico's sessions cannot tell of the advertisement "a", IPv4 and IPv6, once the plan is carried out.
func reached(want backends.Desired, foreign ...v3.BGPPeer) (v4, v6 string) {
	in := planned(want, func(in *planning) { in.world.foreign = foreign })
	x := &apply{want: want, last: plan(in), world: in.world}
	for _, o := range x.last.objects {
		if p, ok := o.(*v3.BGPPeer); ok {
			x.world.peers[p.Name] = p
		}
	}
	got := x.unheard()
	of := func(is6 bool) string {
		return got[backends.Audience{Advertisement: source("BGPAdvertisement", "a"), IPv6: is6}]
	}
	return of(false), of(true)
}

func TestUnheard(t *testing.T) {
	want := func(a backends.BGPAdvertisement, peers ...backends.Peer) backends.Desired {
		return backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{a}, Peers: peers, Nodes: []backends.Node{node("n1", "rack", "1"), node("n2", "rack", "2", backends.LabelExclude, "true")}}
	}
	rack := func(s string) func(*backends.Peer) {
		return func(p *backends.Peer) { p.NodeSelectors = append(p.NodeSelectors, selector("rack="+s)) }
	}
	four, six := router("four", "192.0.2.1"), router("six", "2001:db8::1")
	both := router("both", "192.0.2.1", func(p *backends.Peer) { p.DualStack = true })
	all := adv("a", pools("main"))
	const no4, no6 = `no session can tell the IPv4 routes of BGPAdvertisement "a": `, `no session can tell the IPv6 routes of BGPAdvertisement "a": `
	for _, tc := range []struct {
		name    string
		want    backends.Desired
		foreign []v3.BGPPeer
		v4, v6  string
	}{
		{name: "a peer for each family", want: want(all, four, six)},
		{name: "IPv4 only", want: want(all, four), v6: no6 + `BGPPeer "four" carries IPv4 only`},
		{name: "IPv6 only", want: want(all, six), v4: no4 + `BGPPeer "six" carries IPv6 only`},
		{name: "Calico does not know dual stack", want: want(all, both), v6: no6 + `BGPPeer "both" carries IPv4 only`},
		{name: "no node", want: want(all, router("tor", "192.0.2.1", rack("9")), six), v4: no4 + `the nodeSelectors of BGPPeer "tor" match no node, BGPPeer "six" carries IPv6 only`},
		{name: "excluded nodes only", want: want(all, router("tor", "192.0.2.1", rack("2")), six),
			v4: no4 + `no node that has a session with BGPPeer "tor" may advertise, BGPPeer "six" carries IPv6 only`},
		{name: "another node advertises", want: want(adv("a", pools("main"), from("rack=1")), router("tor", "192.0.2.1", rack("2")), six),
			v4: no4 + `no node that has a session with BGPPeer "tor" may advertise, BGPPeer "six" carries IPv6 only`},
		{name: "another peer", want: want(adv("a", pools("main"), to("gone")), four, six), v4: no4 + "there is none of the BGPPeers that it is for",
			v6: no6 + "there is none of the BGPPeers that it is for"},
		{name: "not set up", want: want(all, router("tor", "192.0.2.1", func(p *backends.Peer) { p.Unready = "there is no Secret" }), six),
			v4: no4 + `BGPPeer "tor" is not set up; its events say why, BGPPeer "six" carries IPv6 only`},
		{name: "a session of somebody else", want: want(all, four), foreign: []v3.BGPPeer{foreignPeer("theirs", "2001:db8::9")}},
		{name: "a session of somebody else, not asked for", want: want(adv("a", pools("main"), to("four")), four), foreign: []v3.BGPPeer{foreignPeer("theirs", "2001:db8::9")},
			v6: no6 + `BGPPeer "four" carries IPv4 only`},
		{name: "held by somebody else", want: want(adv("a", pools("main"), to("four", "six")), four, six), foreign: []v3.BGPPeer{foreignPeer("theirs", "192.0.2.1")}},
		{name: "no managed peers", want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{all}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v4, v6 := reached(tc.want, tc.foreign...)
			assert.Equal(t, tc.v4, v4)
			assert.Equal(t, tc.v6, v6)
		})
	}
}

// TestHalfExcluded: Calico takes a node for excluded by one value of the label only.
func TestHalfExcluded(t *testing.T) {
	x := &apply{want: backends.Desired{Nodes: []backends.Node{
		node("n3", backends.LabelExclude, "false"), node("n1"), node("n2", backends.LabelExclude, ""), node("n4", backends.LabelExclude, "true"),
	}}}
	var names []string
	for _, f := range x.halfExcluded() {
		names = append(names, f.Object.Name)
		assert.Contains(t, f.Message, `only if it is "true"`)
	}
	assert.Equal(t, []string{"n2", "n3"}, names)
}
