package cilium

import (
	"errors"
	"net/netip"
	"testing"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

// theirConfig is a peer config of the user's own that selects advertisements by labels.
func theirConfig(selected map[string]string) *v2.CiliumBGPPeerConfig {
	o := &v2.CiliumBGPPeerConfig{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}
	s := expressions()
	s.MatchLabels = selected
	for _, afi := range bothFamilies {
		o.Spec.Families = append(o.Spec.Families, v2.CiliumBGPFamilyWithAdverts{CiliumBGPFamily: v2.CiliumBGPFamily{Afi: afi, Safi: "unicast"}, Advertisements: s})
	}
	return o
}

func TestPoolOutcome(t *testing.T) {
	unmanaged := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}}
	limited := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) { a.Peers = []string{"tor-a"} })}}
	withheld := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) {
		a.NodeSelectors = []labels.Selector{selector("rack=1")}
	})}}
	managed := unmanaged
	managed.Peers, managed.Nodes = []backends.Peer{router("tor-a", "192.0.2.1"), router("tor-b", "2001:db8::1")}, nodes("n1")
	lan := backends.Desired{L2Advertisements: []backends.L2Advertisement{l2("a")}}
	for _, tc := range []struct {
		name      string
		want      backends.Desired
		world     []object
		detection Detection
		failed    map[key]error
		works     bool
		message   string
	}{
		{
			"nobody selects it", unmanaged, nil, on, nil, false,
			`Cilium: CiliumBGPAdvertisement "fairlead-bgpadv-a", selected by 0 peer configs; a CiliumBGPPeerConfig has to select fairlead.io/advertise=true in spec.families[].advertisements`,
		},
		{
			"nobody selects one for a peer", limited, []object{theirConfig(map[string]string{labelAdvertise: yes})}, on, nil, false,
			`Cilium: CiliumBGPAdvertisement "fairlead-bgpadv-a", selected by 0 peer configs; a CiliumBGPPeerConfig has to select peer.fairlead.io/tor-a=true in spec.families[].advertisements`,
		},
		{
			"a user's peer config", unmanaged, []object{theirConfig(map[string]string{labelAdvertise: yes})}, on, nil, true,
			`Cilium: CiliumBGPAdvertisement "fairlead-bgpadv-a", selected by 1 peer config`,
		},
		{"ours", managed, nil, on, nil, true, `Cilium: CiliumBGPAdvertisement "fairlead-bgpadv-a", selected by 2 peer configs`},
		{"BGP is off", managed, nil, Detection{config: map[string]string{}}, nil, false, "Cilium: its BGP control plane is off"},
		{"unknown whether it is on", managed, nil, Detection{}, nil, true, `Cilium: CiliumBGPAdvertisement "fairlead-bgpadv-a", selected by 2 peer configs`},
		{
			"withheld", withheld, nil, on, nil, false,
			"Cilium: withheld, because it cannot express BGPAdvertisement/fairlead-system/a spec.nodeSelectors",
		},
		{"layer 2", lan, nil, on, nil, true, `Cilium: CiliumL2AnnouncementPolicy "fairlead-l2-a"`},
		{"layer 2 is off", lan, nil, Detection{config: map[string]string{}}, nil, false, "Cilium: its layer 2 announcements are off"},
		{
			"not written", managed, nil, on, map[key]error{{kind: kindAdvert, name: "fairlead-bgpadv-a"}: errors.New("create it: no")}, false,
			"Cilium: create it: no",
		},
		{
			"nothing", backends.Desired{Hold: []string{"main"}}, nil, on, nil, false,
			"Cilium: no BGPAdvertisement or L2Advertisement that it serves selects the pool",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(tc.want, given(tc.world...)).outcome(tc.detection, tc.failed)
			require.Len(t, got.Pools, 1)
			assert.Equal(t, backends.PoolOutcome{Advertised: tc.works, Message: tc.message}, got.Pools["main"])
		})
	}
}

func TestOutcome(t *testing.T) {
	lan := []backends.L2Advertisement{l2("lan")}
	got := run(backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}}).outcome(on, nil)
	assert.Equal(t, []string{classBGP}, got.Classes)
	assert.True(t, got.OnlyVIP)
	assert.Equal(t, []string{"CiliumBGPAdvertisement/fairlead-bgpadv-a"}, got.Owned)
	assert.Equal(t, []string{classL2}, run(backends.Desired{L2Advertisements: lan}).outcome(on, nil).Classes)
	assert.Equal(t, []string{classBGP, classL2}, run(backends.Desired{}).outcome(on, nil).Classes)
	failed := map[key]error{{kind: kindAdvert, name: "fairlead-bgpadv-a"}: errors.New("no")}
	assert.Empty(t, run(backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}}).outcome(on, failed).Owned)
}

// TestErrors: a failure is told for each prefix that it concerns, and never swallowed.
func TestErrors(t *testing.T) {
	no := errors.New("no")
	got := run(backends.Desired{
		Announcements: []backends.Announcement{
			{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Pool: "main"}, {Prefix: netip.MustParsePrefix("2001:db8::/64"), Pool: "main"},
			{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Pool: "other"},
		},
		BGPAdvertisements: []backends.BGPAdvertisement{bgp("a"), bgp("b", func(a *backends.BGPAdvertisement) { a.Pools = pools("other") })},
	}).errors(map[key]error{{kind: kindAdvert, name: "fairlead-bgpadv-a"}: no, {kind: kindAdvert, name: "fairlead-bgpadv-gone"}: no, {kind: kindPeerConfig, name: "p"}: no})
	require.Len(t, got, 4)
	var first *backends.AnnounceError
	require.ErrorAs(t, got[0], &first)
	assert.Equal(t, "192.0.2.0/24", first.Prefix.String())
	assert.EqualError(t, got[1], "announce 2001:db8::/64: no")
	assert.Equal(t, []error{no, no}, got[2:])
}

// TestConditions: what Cilium says of our cluster configs is passed on, as long as it is of their present form.
func TestConditions(t *testing.T) {
	want := backends.Desired{Peers: []backends.Peer{router("tor-a", "192.0.2.1")}, Nodes: nodes("n1")}
	var o *v2.CiliumBGPClusterConfig
	for _, x := range run(want).objects {
		if c, ok := x.(*v2.CiliumBGPClusterConfig); ok {
			o = c.DeepCopy()
		}
	}
	o.Generation = 2
	o.Status.Conditions = []metav1.Condition{
		{Type: v2.BGPClusterConfigConditionConflictingClusterConfigs, Status: metav1.ConditionTrue, ObservedGeneration: 2, Message: "with theirs"},
		{Type: v2.BGPClusterConfigConditionNoMatchingNode, Status: metav1.ConditionTrue, ObservedGeneration: 1},
	}
	assert.Equal(t, []string{"PeerExists CiliumBGPClusterConfig/fairlead-bgp-n1 status.conditions: Cilium says cilium.io/ConflictingClusterConfig: with theirs"},
		texts(run(want, given(o)).outcome(on, nil).Findings))
}

// TestCompare: an object that says the same in other words is left alone, one of somebody else's in any case.
func TestCompare(t *testing.T) {
	want := backends.Desired{
		BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}, Peers: []backends.Peer{router("tor-a", "192.0.2.1")}, Nodes: nodes("n1"),
	}
	objects := run(want).objects
	t.Run("defaults and labels of others", func(t *testing.T) {
		f := given(objects...)
		assert.Empty(t, run(want, f, func(f *facts) {
			f.world.peerConfigs[0].Spec.SetDefaults()
			f.world.adverts[0].Labels["team"] = "net"
			f.world.adverts[0].Annotations["note"] = "hands off"
		}).compare())
	})
	t.Run("a label of ours", func(t *testing.T) {
		f := given(objects...)
		assert.Len(t, run(want, f, func(f *facts) { f.world.adverts[0].Labels["peer.fairlead.io/tor-z"] = yes }).compare(), 1)
	})
	t.Run("a setting that somebody added", func(t *testing.T) {
		f := given(objects...)
		iface := "eth0"
		assert.Len(t, run(want, f, func(f *facts) {
			f.world.peerConfigs[0].Spec.Transport = &v2.CiliumBGPTransport{SourceInterface: &iface}
		}).compare(), 1)
	})
	t.Run("somebody else's object of that name", func(t *testing.T) {
		f := given(objects...)
		got := run(want, f, func(f *facts) {
			f.world.adverts[0].Labels = map[string]string{backends.LabelManagedBy: backends.ManagedBy, backends.LabelInstallation: "another"}
		})
		assert.Empty(t, got.compare())
		require.Len(t, got.findings, 1)
		assert.Equal(t, backends.Contended, got.findings[0].Type)
		assert.Equal(t, "CiliumBGPAdvertisement/fairlead-bgpadv-a", got.findings[0].Object.String())
		assert.False(t, got.outcome(on, nil).Pools["main"].Advertised)
		assert.NotContains(t, got.outcome(on, nil).Owned, "CiliumBGPAdvertisement/fairlead-bgpadv-a")
	})
	t.Run("withheld from now on", func(t *testing.T) {
		limited := want
		limited.Peers = nil
		limited.BGPAdvertisements = []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("rack=1")} })}
		changes := run(limited, given(objects...)).compare()
		require.NotEmpty(t, changes)
		assert.Equal(t, change{have: objects[1]}.key(), changes[0].key())
		assert.Nil(t, changes[0].want, "what was advertised without the limit goes, first")
	})
	t.Run("order", func(t *testing.T) {
		var kinds []string
		for _, ch := range run(want).compare() {
			kinds = append(kinds, ch.key().kind)
		}
		assert.Equal(t, []string{kindPeerConfig, kindAdvert, kindClusterConfig}, kinds)
		kinds = nil
		for _, ch := range run(backends.Desired{}, given(objects...)).compare() {
			assert.Nil(t, ch.want)
			kinds = append(kinds, ch.key().kind)
		}
		assert.Equal(t, []string{kindAdvert, kindClusterConfig, kindPeerConfig}, kinds)
	})
}
