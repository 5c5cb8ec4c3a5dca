package cilium

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
)

// sessions returns who peers with whom, and what the peers hear: a line for all nodes with the same sessions, then the peers of each
// instance with the advertisements that their peer config selects.
func sessions(t *testing.T, objects []object) string {
	t.Helper()
	var order []string
	nodes := map[string][]string{} // by the rest of their line
	for _, o := range objects {
		o, ok := o.(*v2.CiliumBGPClusterConfig)
		if !ok {
			continue
		}
		e := o.Spec.NodeSelector.MatchExpressions
		require.Len(t, e, 2)
		node := strings.TrimPrefix(o.Name, "fairlead-bgp-")
		want := in(labelHostname, node)
		if node == "n0" {
			want = requirement{Key: labelHostname, Operator: "DoesNotExist"}
		}
		assert.Equal(t, []requirement{want, notExcluded}, e)
		line := ""
		for _, i := range o.Spec.BGPInstances {
			line += fmt.Sprintf("; %s=%d", i.Name, *i.LocalASN)
			for _, p := range i.Peers {
				assert.Equal(t, "fairlead-bgppeer-"+p.Name+"."+node, p.PeerConfigRef.Name)
				line += fmt.Sprintf(" [%s %s as%d: %s]", p.Name, *p.PeerAddress, *p.PeerASN, heard(t, objects, p.PeerConfigRef.Name))
			}
		}
		if nodes[line] == nil {
			order = append(order, line)
		}
		nodes[line] = append(nodes[line], node)
	}
	for i, line := range order {
		order[i] = strings.Join(nodes[line], "+") + line
	}
	return strings.Join(order, "\n")
}

// heard returns the families of a peer config with the advertisements that it selects.
func heard(t *testing.T, objects []object, config string) string {
	t.Helper()
	var out []string
	for _, o := range objects {
		c, ok := o.(*v2.CiliumBGPPeerConfig)
		if !ok || c.Name != config {
			continue
		}
		for _, f := range c.Spec.Families {
			assert.Equal(t, "unicast", f.Safi)
			var adverts []string
			for _, o := range objects {
				if a, ok := o.(*v2.CiliumBGPAdvertisement); ok && selects(f.Advertisements, a.Labels) {
					adverts = append(adverts, a.Labels[labelAdvertisement])
				}
			}
			if adverts == nil {
				adverts = []string{"nothing"}
			}
			out = append(out, f.Afi+" "+strings.Join(adverts, "+"))
		}
	}
	return strings.Join(out, ", ")
}

func on1(s string) func(*backends.Peer) {
	return func(p *backends.Peer) { p.NodeSelectors = []labels.Selector{selector(s)} }
}

func TestSessions(t *testing.T) {
	a, b := router("tor-a", "192.0.2.1"), router("tor-b", "2001:db8::1")
	three := []backends.Node{node("n1", "rack", "1"), node("n2", "rack", "2"), node("n3", "rack", "2")}
	limited := bgp("limited", func(a *backends.BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("rack=1")} })
	foreign := func(name string, nodes ...string) *v2.CiliumBGPClusterConfig {
		o := &v2.CiliumBGPClusterConfig{ObjectMeta: metav1.ObjectMeta{Name: name}}
		o.Spec.NodeSelector = expressions(in(labelHostname, nodes...))
		return o
	}
	for _, tc := range []struct {
		name     string
		adverts  []backends.BGPAdvertisement
		peers    []backends.Peer
		nodes    []backends.Node
		change   []func(*facts)
		want     string
		findings []string
	}{
		{
			name: "all alike", adverts: []backends.BGPAdvertisement{bgp("a"), bgp("b")}, peers: []backends.Peer{a, b}, nodes: three,
			want: "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a+b] [tor-b 2001:db8::1 as64513: ipv6 a+b]",
		},
		{name: "no peers", adverts: []backends.BGPAdvertisement{bgp("a")}, peers: []backends.Peer{}, nodes: three},
		{
			name: "a session without routes", peers: []backends.Peer{a}, nodes: three,
			want: "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 nothing]",
		},
		{
			name: "an advertisement names its peers", peers: []backends.Peer{a, b}, nodes: three,
			adverts: []backends.BGPAdvertisement{bgp("a"), bgp("b", func(a *backends.BGPAdvertisement) { a.Peers = []string{"tor-b"} })},
			want:    "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a] [tor-b 2001:db8::1 as64513: ipv6 a+b]",
		},
		{
			name: "peers select nodes", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three,
			peers: []backends.Peer{router("tor-a", "192.0.2.1", on1("rack=1")), router("tor-b", "192.0.2.2", on1("rack=2"))},
			want: "n1; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]\n" +
				"n2+n3; as64512=64512 [tor-b 192.0.2.2 as64513: ipv4 a]",
		},
		{
			name: "a peer selects all nodes of today", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three,
			peers: []backends.Peer{router("tor-a", "192.0.2.1", on1("rack"))},
			want:  "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
		},
		{
			name: "an advertisement selects nodes", adverts: []backends.BGPAdvertisement{bgp("a"), limited}, peers: []backends.Peer{a}, nodes: three,
			want: "n1; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a+limited]\n" +
				"n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
		},
		{
			name: "a node without peers", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three,
			peers: []backends.Peer{router("tor-a", "192.0.2.1", on1("rack=2"))},
			want:  "n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
		},
		{
			name: "AS numbers", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three,
			peers: []backends.Peer{
				a, router("tor-b", "192.0.2.2", func(p *backends.Peer) { p.MyASN, p.PeerASN, p.DynamicASN = 64600, 0, "internal" }),
				router("tor-c", "192.0.2.3", func(p *backends.Peer) { p.LocalASN, p.PeerASN, p.DynamicASN = 4200000000, 0, "external" }),
			},
			want: "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]; as64600=64600 [tor-b 192.0.2.2 as64600: ipv4 a]; " +
				"as4200000000=4200000000 [tor-c 192.0.2.3 as0: ipv4 a]",
			findings: []string{"UnsupportedField BGPPeer/fairlead-system/tor-c spec.dynamicASN: Cilium takes a peer of any AS number, also of this side's own"},
		},
		{
			name: "both families", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three,
			peers: []backends.Peer{
				router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.DualStack = true }), router("tor-b", "2001:db8::1", func(p *backends.Peer) { p.DualStack = true }),
			},
			want: "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a, ipv6 a] [tor-b 2001:db8::1 as64513: ipv4 a, ipv6 a]",
			findings: []string{"UnsupportedField BGPPeer/fairlead-system/tor-a spec.dualStackAddressFamily: Cilium gives IPv6 routes on an IPv4 session a next hop of the form " +
				"::ffff:192.0.2.1, which routers seldom accept; use a session for each family"},
		},
		{
			name: "one address twice", adverts: []backends.BGPAdvertisement{bgp("a")}, peers: []backends.Peer{a, router("tor-z", "192.0.2.1")}, nodes: three,
			want: "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
			findings: []string{"PeerExists BGPPeer/fairlead-system/tor-z spec.peerAddress: another BGPPeer has a session with 192.0.2.1 from AS 64512 on the same nodes: " +
				"this one is not set up there"},
		},
		{
			name: "settings from Nodes", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three,
			peers: []backends.Peer{a, router("tor-z", "192.0.2.9", func(p *backends.Peer) { p.FromNode = []string{"fairlead.io/peer-asn-from"} })},
			want:  "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
			findings: []string{"UnsupportedField BGPPeer/fairlead-system/tor-z metadata.annotations[fairlead.io/peer-asn-from]: a peer of a CiliumBGPClusterConfig " +
				"is the same on all its nodes: the peer is not set up; make one for each rack, with nodeSelectors, or have the speakers advertise"},
		},
		{
			name: "a VRF", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three,
			peers: []backends.Peer{a, router("tor-z", "192.0.2.1", func(p *backends.Peer) { p.VRF = "red" })},
			want:  "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
			findings: []string{"withheld: UnsupportedField BGPPeer/fairlead-system/tor-z spec.vrf: Cilium has sessions in the main routing table only, " +
				`where 192.0.2.1 may be another router than in VRF "red": the peer is not set up`},
		},
		{
			name: "a VRF, wider allowed", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three, change: []func(*facts){wider},
			peers: []backends.Peer{router("tor-z", "192.0.2.1", func(p *backends.Peer) { p.VRF = "red" })},
			want:  "n1+n2+n3; as64512=64512 [tor-z 192.0.2.1 as64513: ipv4 a]",
			findings: []string{"UnsupportedField BGPPeer/fairlead-system/tor-z spec.vrf: Cilium has sessions in the main routing table only, " +
				`where 192.0.2.1 may be another router than in VRF "red": it is set up there`},
		},
		{
			name: "no place for passwords", adverts: []backends.BGPAdvertisement{bgp("a")}, nodes: three, change: []func(*facts){func(f *facts) { f.secretsNamespace = "" }},
			peers: []backends.Peer{a, router("tor-z", "192.0.2.9", func(p *backends.Peer) { p.Password = "s3cret" })},
			want:  "n1+n2+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
			findings: []string{"UnsupportedField BGPPeer/fairlead-system/tor-z spec.password: Cilium has no namespace for passwords (bgp-secrets-namespace in its ConfigMap): " +
				"the peer is not set up; set bgpControlPlane.secretsNamespace.name in Cilium's Helm values"},
		},
		{
			name: "somebody else's cluster config", adverts: []backends.BGPAdvertisement{bgp("a")}, peers: []backends.Peer{a}, nodes: three,
			change: []func(*facts){given(foreign("theirs", "n1", "n2"))},
			want:   "n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]",
			findings: []string{"PeerExists CiliumBGPClusterConfig/theirs spec.nodeSelector: holds the BGP sessions of n1, n2, and a node can have one " +
				"CiliumBGPClusterConfig only: BGPPeers are not set up there. Delete it, or narrow its selector, to have them set up"},
		},
		{
			name: "somebody else's peer config", adverts: []backends.BGPAdvertisement{bgp("a")}, peers: []backends.Peer{a, b}, nodes: three,
			change: []func(*facts){given(&v2.CiliumBGPPeerConfig{ObjectMeta: metav1.ObjectMeta{Name: "fairlead-bgppeer-tor-a.n2"}})},
			want: "n1+n3; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a] [tor-b 2001:db8::1 as64513: ipv6 a]\n" +
				"n2; as64512=64512 [tor-b 2001:db8::1 as64513: ipv6 a]",
			findings: []string{"Contended CiliumBGPPeerConfig/fairlead-bgppeer-tor-a.n2 metadata.labels: somebody else's object has the name that is needed (it lacks " +
				"app.kubernetes.io/managed-by=fairlead and fairlead.io/installation=fairlead-system): it is left alone, and what it should say is not advertised. Rename or delete it"},
		},
		{
			name: "nodes without a host name", adverts: []backends.BGPAdvertisement{bgp("a")},
			nodes: []backends.Node{{Name: "n0"}, {Name: "n00"}, node("n1", "rack", "1"), node("n2", labelHostname, "n1")},
			peers: []backends.Peer{a, router("tor-b", "192.0.2.2", on1("rack=1"))},
			want: "n0; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a]\n" +
				"n1; as64512=64512 [tor-a 192.0.2.1 as64513: ipv4 a] [tor-b 192.0.2.2 as64513: ipv4 a]",
			findings: []string{
				`UnsupportedField Node/n00 metadata.labels: the label kubernetes.io/hostname is missing, by which a CiliumBGPClusterConfig selects the node, as on Node "n0": ` +
					"it has the BGP sessions of that one",
				`UnsupportedField Node/n2 metadata.labels: the label kubernetes.io/hostname is that of Node "n1", too, by which a CiliumBGPClusterConfig selects the node: ` +
					"it has the BGP sessions of that one",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := backends.Desired{BGPAdvertisements: tc.adverts, Peers: tc.peers, Nodes: tc.nodes}
			got := run(want, tc.change...)
			assert.Equal(t, tc.want, sessions(t, got.objects))
			assert.Equal(t, tc.findings, texts(got.findings))

			// Order in is no order out, but for peers, which are sorted by contract.
			slices.Reverse(want.Nodes)
			assert.Equal(t, render(t, got.objects), render(t, run(want, tc.change...).objects))
		})
	}
}

// TestOwnerOfANode: the first cluster config that has a node keeps it.
func TestOwnerOfANode(t *testing.T) {
	want := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}, Peers: []backends.Peer{router("tor-a", "192.0.2.1")}, Nodes: nodes("n1", "n2")}
	theirs := &v2.CiliumBGPClusterConfig{ObjectMeta: metav1.ObjectMeta{Name: "theirs", UID: "1"}} // without a selector: all nodes
	var ours *v2.CiliumBGPClusterConfig
	for _, o := range run(want).objects {
		if c, ok := o.(*v2.CiliumBGPClusterConfig); ok {
			ours = c.DeepCopy()
		}
	}
	ours.UID = "2"
	has := func(node, owner string, uid types.UID) *v2.CiliumBGPNodeConfig {
		return &v2.CiliumBGPNodeConfig{ObjectMeta: metav1.ObjectMeta{
			Name: node, OwnerReferences: []metav1.OwnerReference{{Kind: kindClusterConfig, Name: owner, UID: uid}},
		}}
	}
	for _, tc := range []struct {
		name  string
		world []object
		want  string
	}{
		{"theirs selects all", []object{theirs}, ""},
		{"theirs came later to one", []object{theirs, ours, has("n1", ours.Name, "2")}, "n1"},
		{"theirs has one", []object{ours, has("n1", "theirs", "1"), theirs, has("n2", ours.Name, "2")}, "n2"},
		{"theirs had one and is deleted", []object{ours, has("n1", "theirs", "1")}, "n1+n2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := sessions(t, run(want, given(tc.world...)).objects)
			if tc.want == "" {
				assert.Empty(t, got)
				return
			}
			assert.True(t, strings.HasPrefix(got, tc.want+";"), got)
		})
	}
}

func TestPeerConfig(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*backends.Peer)
		want   string // the settings apart from families
		found  string
	}{
		{"nothing", func(*backends.Peer) {}, `{}`, ""},
		{"port", func(p *backends.Peer) { p.Port = 1179 }, `{"transport":{"peerPort":1179}}`, ""},
		{
			"timers", func(p *backends.Peer) {
				p.HoldTime, p.KeepaliveTime, p.ConnectTime = new(9*time.Second), new(3500*time.Millisecond), 7*time.Second
			},
			`{"timers":{"connectRetryTimeSeconds":7,"holdTimeSeconds":9,"keepAliveTimeSeconds":3}}`, "",
		},
		{"hold time alone", func(p *backends.Peer) { p.HoldTime = new(3 * time.Second) }, `{"timers":{"holdTimeSeconds":3,"keepAliveTimeSeconds":1}}`, ""},
		{"keepalive alone", func(p *backends.Peer) { p.KeepaliveTime = new(10 * time.Second) }, `{"timers":{"holdTimeSeconds":30,"keepAliveTimeSeconds":10}}`, ""},
		{"no hold time", func(p *backends.Peer) { p.HoldTime = new(time.Duration(0)) }, `{}`, "spec.holdTime: Cilium cannot do without: it is 90 s"},
		{"multihop", func(p *backends.Peer) { p.MultiHop = true }, `{"ebgpMultihop":255}`, ""},
		{"graceful restart", func(p *backends.Peer) { p.GracefulRestart = true }, `{"gracefulRestart":{"enabled":true}}`, ""},
		{"password", func(p *backends.Peer) { p.Password = "s3cret" }, `{"authSecretRef":"fairlead-bgppeer-tor-a"}`, ""},
		{"BFD", func(p *backends.Peer) { p.BFDProfile = "fast" }, `{}`, "spec.bfdProfile: Cilium has no BFD: the session ends with its hold time, not with BFD"},
		{
			"source address", func(p *backends.Peer) { p.SourceAddress = netip.MustParseAddr("192.0.2.7") }, `{}`,
			"spec.sourceAddress: not used: in Cilium it is a setting of each node (CiliumBGPNodeConfigOverride), which is yours",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(backends.Desired{Peers: []backends.Peer{router("tor-a", "192.0.2.1", tc.change)}, Nodes: nodes("n1")})
			var config *v2.CiliumBGPPeerConfig
			for _, o := range got.objects {
				switch o := o.(type) {
				case *v2.CiliumBGPPeerConfig:
					config = o.DeepCopy()
				case *corev1.Secret:
					assert.Equal(t, "bgp-secrets", o.Namespace)
					assert.Equal(t, map[string][]byte{"password": []byte("s3cret")}, o.Data)
				}
			}
			require.NotNil(t, config)
			config.Spec.Families = nil
			u, err := encode(config, v2.SchemeGroupVersion.WithKind(kindPeerConfig))
			require.NoError(t, err)
			delete(u.Object["spec"].(map[string]any), "families")
			b, err := u.MarshalJSON()
			require.NoError(t, err)
			assert.Contains(t, string(b), `"spec":`+tc.want)
			if tc.found == "" {
				assert.Empty(t, got.findings)
			} else {
				assert.Equal(t, []string{"UnsupportedField BGPPeer/fairlead-system/tor-a " + tc.found}, texts(got.findings))
			}
		})
	}
}

// TestUnreadyPeer: what exists for a peer that cannot be set up at present stays, apart from what it hears, and nothing is made.
func TestUnreadyPeer(t *testing.T) {
	want := backends.Desired{
		BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}, Nodes: nodes("n1"),
		Peers: []backends.Peer{router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.Password, p.Port = "s3cret", 1179 }), router("tor-b", "192.0.2.2")},
	}
	before := run(want)
	unready := want
	unready.Peers = slices.Clone(want.Peers)
	unready.Peers[0].Password, unready.Peers[0].Port, unready.Peers[0].Unready = "", 0, "the Secret is missing"

	assert.NotContains(t, render(t, run(unready).objects), "bgppeer-tor-a", "it is made")
	got := run(unready, given(before.objects...))
	assert.Empty(t, got.compare())
	assert.Contains(t, got.outcome(on, nil).Owned, "Secret/bgp-secrets/fairlead-bgppeer-tor-a")

	unready.BGPAdvertisements = append(unready.BGPAdvertisements, bgp("b"))
	changes := run(unready, given(before.objects...)).compare()
	require.Len(t, changes, 1, "the new advertisement, and nothing else")

	unready.Nodes = nodes("n1", "n2")
	kept := run(unready, given(before.objects...)).compare()[0].want.(*v2.CiliumBGPPeerConfig)
	assert.Equal(t, "fairlead-bgppeer-tor-a.n2", kept.Name)
	assert.Equal(t, int32(1179), *kept.Spec.Transport.PeerPort)
	assert.Equal(t, "fairlead-bgppeer-tor-a", *kept.Spec.AuthSecretRef)
}

func TestTooManyASNumbers(t *testing.T) {
	want := backends.Desired{Nodes: nodes("n1")}
	for i := range 17 {
		want.Peers = append(want.Peers, router(fmt.Sprintf("tor-%02d", i), fmt.Sprintf("192.0.2.%d", i+1), func(p *backends.Peer) { p.MyASN = uint32(65000 + i) }))
	}
	assert.Equal(t, []string{"UnsupportedField BGPPeer/fairlead-system/tor-16 spec.myASN: 65016 would be AS number 17 of a node, and Cilium takes 16: " +
		"the peer is not set up there"}, texts(run(want).findings))
}
