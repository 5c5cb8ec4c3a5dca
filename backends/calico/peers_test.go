package calico

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

// planned is what plan is asked in the tests: a new Calico, whose nodes have the AS number 64512.
func planned(want backends.Desired, change ...func(*planning)) planning {
	in := planning{
		want: want, installation: ourNamespace, namespace: "calico-system", has: allFeatures, filters: true, asNumber: defaultASNumber, recorded: map[string]bool{},
		world: world{peers: map[string]*v3.BGPPeer{}, filters: map[string]*v3.BGPFilter{}},
	}
	for _, c := range change {
		c(&in)
	}
	return in
}

func foreignPeer(name, ip string) v3.BGPPeer {
	return v3.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.BGPPeerSpec{PeerIP: ip}}
}

// after has the objects of another plan be there.
func after(s *sessions) func(*planning) {
	return func(in *planning) {
		for _, x := range s.objects {
			in.recorded[keyOf(kindName(x), x.GetNamespace(), x.GetName())] = true
			switch o := x.(type) {
			case *v3.BGPPeer:
				in.world.peers[o.Name] = o
			case *v3.BGPFilter:
				in.world.filters[o.Name] = o
			}
		}
	}
}

func rest(prefixes ...string) func(*planning) {
	return func(in *planning) {
		for _, p := range prefixes {
			in.rest = append(in.rest, netip.MustParsePrefix(p))
		}
	}
}

const torA = "BGPPeer fairlead-tor-a: 192.0.2.1 as64513 local as64512"

func TestPlan(t *testing.T) {
	three := []backends.Node{node("n1", "rack", "1"), node("n2", "rack", "2"), node("n3", "rack", "2")}
	two := []backends.Peer{router("tor-a", "192.0.2.1"), router("tor-b", "2001:db8::1")}
	long := strings.Repeat("long", 60)
	for _, tc := range []struct {
		name     string
		want     backends.Desired
		change   []func(*planning)
		objects  []string
		findings []string
	}{
		{name: "Calico's own peers", want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"))}, Announcements: announce("main", "192.0.2.0/24")}},
		{name: "a session without routes", want: backends.Desired{Peers: two[:1]}, objects: []string{torA}},
		{
			name: "both families",
			want: backends.Desired{
				Peers: two, Nodes: three, BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"))}, Announcements: announce("main", "192.0.2.0/24", "2001:db8::/64"),
			},
			objects: []string{
				"BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers] [In 2001:db8::/64 RemotePeers]",
				torA + " filters fairlead--remote", "BGPPeer fairlead-tor-b: 2001:db8::1 as64513 local as64512 filters fairlead--remote",
			},
		},
		{
			name: "ports", want: backends.Desired{Peers: []backends.Peer{
				router("a", "192.0.2.1", func(p *backends.Peer) { p.Port = 1179 }), router("b", "2001:db8::1", func(p *backends.Peer) { p.Port = 1179 }),
				router("c", "192.0.2.3", func(p *backends.Peer) { p.Port = 179 }), router("d", "::ffff:192.0.2.4"), router("e", "192.0.2.1", func(p *backends.Peer) { p.Port = 2179 }),
			}},
			objects: []string{
				"BGPPeer fairlead-a: 192.0.2.1:1179 as64513 local as64512", "BGPPeer fairlead-b: [2001:db8::1]:1179 as64513 local as64512",
				"BGPPeer fairlead-c: 192.0.2.3 as64513 local as64512", "BGPPeer fairlead-d: 192.0.2.4 as64513 local as64512",
				"BGPPeer fairlead-e: 192.0.2.1:2179 as64513 local as64512",
			},
		},
		{
			name: "AS numbers", want: backends.Desired{Peers: []backends.Peer{
				router("a", "192.0.2.1", func(p *backends.Peer) { p.MyASN, p.PeerASN = 4200000000, 4294967295 }), router("b", "192.0.2.2", func(p *backends.Peer) { p.LocalASN = 64999 }),
			}},
			objects: []string{"BGPPeer fairlead-a: 192.0.2.1 as4294967295 local as4200000000", "BGPPeer fairlead-b: 192.0.2.2 as64513 local as64999"},
		},
		{
			name: "AS numbers, on an old Calico", change: []func(*planning){func(in *planning) { in.has.localAS, in.asNumber = false, 64600 }},
			want: backends.Desired{Peers: []backends.Peer{
				router("a", "192.0.2.1", func(p *backends.Peer) { p.MyASN = 64600 }), router("b", "192.0.2.2"), router("c", "192.0.2.3", func(p *backends.Peer) { p.LocalASN = 64999 }),
			}},
			objects:  []string{"BGPPeer fairlead-a: 192.0.2.1 as64513", "BGPPeer fairlead-b: 192.0.2.2 as64513", "BGPPeer fairlead-c: 192.0.2.3 as64513"},
			findings: []string{"UnsupportedField BGPPeer/b spec.myASN", "UnsupportedField BGPPeer/c spec.localASN"},
		},
		{
			name: "nodes", want: backends.Desired{Nodes: three, Peers: []backends.Peer{
				router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.NodeSelectors = []labels.Selector{selector("rack=1"), selector("!rack")} }),
			}},
			objects: []string{torA + " on (rack == '1') || (!has(rack))"},
		},
		{
			name: "nodes that cannot be selected", want: backends.Desired{Nodes: three, Peers: []backends.Peer{
				router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.NodeSelectors = []labels.Selector{selector("rack>1")} }),
			}},
			findings: []string{"UnsupportedField BGPPeer/tor-a spec.nodeSelectors"},
		},
		{
			name: "an advertisement names its peers", want: backends.Desired{
				Peers: two, Nodes: three, Announcements: append(announce("main", "192.0.2.0/24", "2001:db8::/64"), announce("other", "198.51.100.0/24")...),
				BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-b")), adv("b", pools("other"))},
			},
			objects: []string{
				"BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers] [In 198.51.100.0/24 RemotePeers] [In 2001:db8::/64 RemotePeers]",
				"BGPFilter fairlead-tor-a: [In 192.0.2.0/24 all] [In 2001:db8::/64 all]",
				torA + " filters fairlead-tor-a+fairlead--remote", "BGPPeer fairlead-tor-b: 2001:db8::1 as64513 local as64512 filters fairlead--remote",
			},
		},
		{
			name: "a route that is wider than the pool", want: backends.Desired{
				Peers: two[:1], Announcements: announce("main", "192.0.2.64/26"), BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-b"), lengths(24, 64))},
			},
			objects: []string{
				"BGPFilter fairlead--remote: [In 192.0.2.64/26 RemotePeers]", "BGPFilter fairlead-tor-a: [Equal 192.0.2.0/24 all] [In 192.0.2.64/26 all]",
				torA + " filters fairlead-tor-a+fairlead--remote",
			},
		},
		{
			name: "an advertisement selects nodes", want: backends.Desired{
				Peers: two[:1], Nodes: three, Announcements: announce("main", "192.0.2.0/24"), BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack=1"))},
			},
			objects: []string{
				"BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers]", "BGPFilter fairlead-tor-a-" + backends.Hash("main") + ": [In 192.0.2.0/24 all]",
				"BGPPeer fairlead-tor-a-" + backends.Hash("") + ": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n1' } filters fairlead--remote",
				"BGPPeer fairlead-tor-a-" + backends.Hash("main") + ": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n2', 'n3' } filters fairlead-tor-a-" + backends.Hash("main") + "+fairlead--remote",
			},
		},
		{
			name: "an advertisement selects all nodes of today", want: backends.Desired{
				Peers: two[:1], Nodes: three, Announcements: announce("main", "192.0.2.0/24"), BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack"))},
			},
			objects: []string{
				"BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers]", torA + " on kubernetes.io/hostname in { 'n1', 'n2', 'n3' } filters fairlead--remote",
			},
		},
		{
			name: "without nodes of its own", want: backends.Desired{
				Peers: []backends.Peer{router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.NodeSelectors = []labels.Selector{selector("rack=9")} })}, Nodes: three,
				Announcements: announce("main", "192.0.2.0/24"), BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack"))},
			},
			objects: []string{"BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers]"},
		},
		{
			name: "an old Calico without a filter's source", change: []func(*planning){func(in *planning) { in.has.filterSource = false }}, want: backends.Desired{
				Peers: two[:1], Announcements: announce("main", "192.0.2.0/24"), BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-b"))},
			},
			objects: []string{"BGPFilter fairlead-tor-a: [In 192.0.2.0/24 all]", torA + " filters fairlead-tor-a"},
		},
		{
			name: "an old Calico without filters", change: []func(*planning){func(in *planning) { in.filters = false }}, want: backends.Desired{
				Peers: two[:1], Announcements: announce("main", "192.0.2.0/24"), BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"))},
			},
			objects: []string{torA},
		},
		{
			name: "a password", want: backends.Desired{Peers: []backends.Peer{router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.Password = "s3cret" })}},
			objects: []string{
				torA + " password fairlead-bgppeer-tor-a", "Role fairlead-bgppeer-tor-a", "RoleBinding fairlead-bgppeer-tor-a", "Secret fairlead-bgppeer-tor-a: calico-system s3cret",
			},
		},
		{
			name: "long names", want: backends.Desired{
				Nodes: three, Peers: []backends.Peer{router(long, "192.0.2.1", func(p *backends.Peer) { p.Password = "x" })}, Announcements: announce("main", "192.0.2.0/24"),
				BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), from("rack=1"))},
			},
			objects: []string{
				"BGPFilter " + groupName(long, "main", 2) + ": [In 192.0.2.0/24 all]", "BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers]",
				"BGPPeer " + groupName(long, "main", 2) + ": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n2', 'n3' } filters " + groupName(long, "main", 2) +
					"+fairlead--remote password " + objectName("bgppeer", long),
				"BGPPeer " + groupName(long, "", 2) + ": 192.0.2.1 as64513 local as64512 on kubernetes.io/hostname in { 'n1' } filters fairlead--remote password " + objectName("bgppeer", long),
				"Role " + objectName("bgppeer", long), "RoleBinding " + objectName("bgppeer", long), "Secret " + objectName("bgppeer", long) + ": calico-system x",
			},
		},
		{
			name: "somebody else's session", change: []func(*planning){func(in *planning) {
				in.world.foreign = []v3.BGPPeer{foreignPeer("theirs", "192.0.2.1:179"), foreignPeer("six", "[2001:db8::1]:1179"), foreignPeer("mesh", ""), foreignPeer("nonsense", "x")}
			}},
			want: backends.Desired{Peers: append([]backends.Peer{router("port", "192.0.2.1", func(p *backends.Peer) { p.Port = 1179 })}, two...)},
			objects: []string{
				"BGPPeer fairlead-port: 192.0.2.1:1179 as64513 local as64512", "BGPPeer fairlead-tor-b: 2001:db8::1 as64513 local as64512",
			},
			findings: []string{"PeerExists BGPPeer/tor-a spec.peerAddress"},
		},
		{
			name: "the same session twice", want: backends.Desired{Nodes: three, Peers: []backends.Peer{
				router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.NodeSelectors = []labels.Selector{selector("rack=1")} }),
				router("b", "192.0.2.1", func(p *backends.Peer) { p.NodeSelectors, p.Port = []labels.Selector{selector("rack=2")}, 179 }),
				router("c", "192.0.2.1"),
			}},
			objects: []string{"BGPPeer fairlead-b: 192.0.2.1 as64513 local as64512 on rack == '2'", torA + " on rack == '1'"}, findings: []string{"PeerExists BGPPeer/c spec.peerAddress"},
		},
		{
			name: "what Calico cannot set up", want: backends.Desired{Peers: []backends.Peer{
				router("unnumbered", "192.0.2.1", func(p *backends.Peer) { p.Address, p.Interface = netip.Addr{}, "eth0" }),
				router("vrf", "192.0.2.2", func(p *backends.Peer) { p.VRF = "red" }), router("dynamic", "192.0.2.3", func(p *backends.Peer) { p.PeerASN, p.DynamicASN = 0, "external" }),
				router("racks", "192.0.2.4", func(p *backends.Peer) { p.FromNode = []string{"fairlead.io/peer-address-from"} }),
			}},
			findings: []string{
				"UnsupportedField BGPPeer/unnumbered spec.interface", "UnsupportedField BGPPeer/vrf spec.vrf", "UnsupportedField BGPPeer/dynamic spec.dynamicASN",
				"UnsupportedField BGPPeer/racks metadata.annotations[fairlead.io/peer-address-from]",
			},
		},
		{
			name: "what is not used", want: backends.Desired{Peers: []backends.Peer{router("tor-a", "192.0.2.1", func(p *backends.Peer) {
				second := time.Second
				p.HoldTime, p.KeepaliveTime, p.ConnectTime, p.RouterID, p.SourceAddress = &second, &second, second, netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("1.1.1.1")
				p.BFDProfile, p.DualStack, p.DisableMP, p.GracefulRestart, p.MultiHop = "fast", true, true, true, true
			})}},
			objects: []string{torA},
			findings: []string{
				"UnsupportedField BGPPeer/tor-a spec.holdTime", "UnsupportedField BGPPeer/tor-a spec.keepaliveTime", "UnsupportedField BGPPeer/tor-a spec.connectTime",
				"UnsupportedField BGPPeer/tor-a spec.routerID", "UnsupportedField BGPPeer/tor-a spec.sourceAddress", "UnsupportedField BGPPeer/tor-a spec.bfdProfile",
				"UnsupportedField BGPPeer/tor-a spec.dualStackAddressFamily", "UnsupportedField BGPPeer/tor-a spec.disableMP",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := plan(planned(tc.want, tc.change...))
			assert.ElementsMatch(t, tc.objects, lines(rendered(got.objects)))
			assert.Equal(t, tc.findings, about(got.findings))
			for _, x := range got.objects {
				assert.LessOrEqual(t, len(x.GetName()), maxName)
				assert.Equal(t, map[string]string{backends.LabelManagedBy: "fairlead", backends.LabelInstallation: ourNamespace}, x.GetLabels())
			}
		})
	}
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// TestRest: who hears a prefix that no announcement covers stays as it is, and new sessions do not hear it.
func TestRest(t *testing.T) {
	nodes := []backends.Node{node("n1", "rack", "1"), node("n2")}
	peers := []backends.Peer{router("tor-a", "192.0.2.1"), router("tor-b", "192.0.2.2")}
	before := backends.Desired{
		Peers: peers, Nodes: nodes, Announcements: append(announce("main", "192.0.2.0/24"), announce("other", "198.51.100.0/24")...),
		BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-b")), adv("b", pools("other"))},
	}
	gone := before
	gone.Announcements, gone.BGPAdvertisements = before.Announcements[1:], before.BGPAdvertisements[1:]
	first := plan(planned(before))
	t.Run("a pool goes", func(t *testing.T) {
		now := plan(planned(gone, after(first), rest("192.0.2.0/24")))
		assert.Equal(t, rendered(first.objects), rendered(now.objects), "until it is gone, it stays hidden where it is hidden")
		last := plan(planned(gone, after(first)))
		assert.Equal(t, "BGPFilter fairlead--remote: [In 198.51.100.0/24 RemotePeers]\n"+torA+" filters fairlead--remote\n"+
			"BGPPeer fairlead-tor-b: 192.0.2.2 as64513 local as64512 filters fairlead--remote", rendered(last.objects))
	})
	t.Run("the last pool goes", func(t *testing.T) {
		now := plan(planned(backends.Desired{Peers: peers, Nodes: nodes}, after(first), rest("192.0.2.0/24", "198.51.100.0/24")))
		assert.Equal(t, rendered(first.objects), rendered(now.objects))
	})
	t.Run("entries of single addresses", func(t *testing.T) {
		now := plan(planned(gone, after(first), rest("192.0.2.7/32")))
		assert.Equal(t, rendered(first.objects), rendered(now.objects))
	})
	t.Run("and again", func(t *testing.T) {
		now := plan(planned(gone, after(first), rest("192.0.2.0/24")))
		assert.Equal(t, rendered(now.objects), rendered(plan(planned(gone, after(now), rest("192.0.2.0/24"))).objects), "a held pool costs no write")
	})
	t.Run("a new session", func(t *testing.T) {
		more := gone
		more.Peers = append(more.Peers, router("tor-c", "192.0.2.3"))
		assert.Contains(t, rendered(plan(planned(more, after(first), rest("192.0.2.0/24"))).objects), "BGPFilter fairlead-tor-c: [In 192.0.2.0/24 all]")
	})
	t.Run("a group of nodes that hid it", func(t *testing.T) {
		limited := before
		limited.BGPAdvertisements = []backends.BGPAdvertisement{adv("a", pools("main"), from("rack=1")), adv("b", pools("other"), from("rack"))}
		limited.Announcements = before.Announcements
		first := plan(planned(limited))
		left := limited
		left.Announcements, left.BGPAdvertisements = limited.Announcements[1:], limited.BGPAdvertisements[1:]
		now := plan(planned(left, after(first), rest("192.0.2.0/24")))
		assert.Contains(t, rendered(now.objects), "BGPFilter fairlead-tor-a-"+backends.Hash("other")+": [In 192.0.2.0/24 all] [In 198.51.100.0/24 all]",
			"the group has another name now that main is not hidden by name")
	})
}

// TestUnready: a peer whose password is not known keeps the one it has, and still hears only what it may.
func TestUnready(t *testing.T) {
	secret := func(p *backends.Peer) { p.Password = "s3cret" }
	lost := func(p *backends.Peer) { p.Unready = "there is no Secret" }
	base := backends.Desired{Announcements: announce("main", "192.0.2.0/24"), BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"))}}
	with := func(p backends.Peer) backends.Desired {
		d := base
		d.Peers = []backends.Peer{p}
		return d
	}
	first := plan(planned(with(router("tor-a", "192.0.2.1", secret))))
	hidden := with(router("tor-a", "192.0.2.1", lost))
	hidden.BGPAdvertisements = []backends.BGPAdvertisement{adv("a", pools("main"), to("tor-b"))}
	now := plan(planned(hidden, after(first)))
	assert.Equal(t, "BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers]\nBGPFilter fairlead-tor-a: [In 192.0.2.0/24 all]\n"+
		torA+" filters fairlead-tor-a+fairlead--remote password fairlead-bgppeer-tor-a", rendered(now.objects))
	assert.Equal(t, map[string]bool{
		"Secret/calico-system/fairlead-bgppeer-tor-a": true, "Role/calico-system/fairlead-bgppeer-tor-a": true, "RoleBinding/calico-system/fairlead-bgppeer-tor-a": true,
	}, now.keep)

	never := plan(planned(with(router("tor-a", "192.0.2.1", lost))))
	assert.Equal(t, "BGPFilter fairlead--remote: [In 192.0.2.0/24 RemotePeers]", rendered(never.objects), "one that was never set up waits")

	open := plan(planned(with(router("tor-a", "192.0.2.1"))))
	now = plan(planned(with(router("tor-a", "192.0.2.1", lost)), after(open)))
	assert.Equal(t, rendered(open.objects), rendered(now.objects), "one without a password stays without")

	groups := backends.Desired{Peers: []backends.Peer{router("tor-a", "192.0.2.1", lost)}}
	assert.Len(t, plan(planned(groups, func(in *planning) { in.recorded["BGPPeer/fairlead-tor-a-0123456789abcdef"] = true })).objects, 1)
	assert.Empty(t, plan(planned(groups, func(in *planning) { in.recorded["BGPPeer/fairlead-tor-a-two"] = true })).objects, "another peer's")
}

// TestQuotedPassword: BIRD ends a string at a quote; one such password in its configuration, and no node reads any change.
func TestQuotedPassword(t *testing.T) {
	quoted := func(p *backends.Peer) { p.Password = `s3"cret` }
	with := func(p backends.Peer) backends.Desired { return backends.Desired{Peers: []backends.Peer{p}} }
	first := plan(planned(with(router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.Password = `back\slash` }))))
	assert.Empty(t, first.findings, "BIRD reads a backslash as it is")

	now := plan(planned(with(router("tor-a", "192.0.2.1", quoted)), after(first)))
	assert.Equal(t, torA+" password fairlead-bgppeer-tor-a", rendered(now.objects), "it keeps the Secret that is there")
	assert.True(t, now.keep["Secret/calico-system/fairlead-bgppeer-tor-a"])
	never := plan(planned(with(router("tor-a", "2001:db8::1", quoted))))
	assert.Empty(t, never.objects)
	for s, then := range map[*sessions]string{now: "keeps the password that it has", never: "is not set up"} {
		require.Len(t, s.findings, 1)
		f := s.findings[0]
		assert.Equal(t, []any{backends.PeerNotReady, "BGPPeer", "tor-a", "spec.password", true}, []any{f.Type, f.Object.Kind, f.Object.Name, f.Field, f.Missing})
		assert.Contains(t, f.Message, then)
		assert.NotContains(t, f.Message, "cret")
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a.", 130)
	for _, name := range []string{"tor-a", long[:200], long[:226], long[:227], long[:253]} {
		one, many := groupName(name, "", 1), groupName(name, "main", 2)
		assert.LessOrEqual(t, len(one), maxName)
		assert.LessOrEqual(t, len(many), maxName)
		assert.True(t, strings.HasPrefix(many, one+"-"), "%s is not known by its first part", many)
	}
	assert.NotEqual(t, objectName(long[:252]+"x"), objectName(long[:252]+"y"))
	for _, key := range []string{"BGPPeer/fairlead-a", "Secret/calico-system/fairlead-a"} {
		assert.Equal(t, key, keyOf(splitKey(key)))
	}
}

func TestGroupsOfNodesWithoutHostname(t *testing.T) {
	n := backends.Node{Name: "n1", Labels: labels.Set{}}
	groups, byName := groupNodes(&backends.Peer{}, backends.Desired{Nodes: []backends.Node{n}, BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"), from("!rack"))}}, newcomers{})
	assert.Equal(t, map[string][]string{"": {"n1"}}, groups)
	assert.True(t, byName)
}

func TestLocalASIsAPointer(t *testing.T) {
	got := plan(planned(backends.Desired{Peers: []backends.Peer{router("a", "192.0.2.1"), router("b", "192.0.2.2", func(p *backends.Peer) { p.MyASN = 1 })}}))
	assert.Equal(t, numorstring.ASNumber(64512), *got.objects[0].(*v3.BGPPeer).Spec.LocalASNumber)
	assert.Equal(t, numorstring.ASNumber(1), *got.objects[1].(*v3.BGPPeer).Spec.LocalASNumber)
}
