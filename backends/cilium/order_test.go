package cilium

import (
	"fmt"
	"testing"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
)

// TestOrder: what depends on something else waits for it.
func TestOrder(t *testing.T) {
	in := func(zone string) func(*backends.BGPAdvertisement) {
		return func(a *backends.BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("zone=" + zone)} }
	}
	community := func(n uint32) func(*backends.BGPAdvertisement) {
		return func(a *backends.BGPAdvertisement) {
			a.Communities = []backends.Community{{Parts: [3]uint32{64512, n, 0}}}
		}
	}
	peers := []backends.Peer{router("tor", "192.0.2.1")}
	want := func(nodes []backends.Node, adverts ...backends.BGPAdvertisement) backends.Desired {
		return backends.Desired{BGPAdvertisements: adverts, Peers: peers, Nodes: nodes}
	}
	one, two := []backends.Node{node("n1", "zone", "a")}, []backends.Node{node("n1", "zone", "a"), node("n2", "zone", "b")}
	moved := []backends.Node{node("n1", "zone", "b"), node("n2", "zone", "b")}
	for _, tc := range []struct {
		name         string
		before, then backends.Desired
		rounds       []string // what is written in each
	}{
		{
			name:   "a node comes beside an advertisement that is not for it",
			before: want(one, bgp("a", in("a"))), then: want(two, bgp("a", in("a"))),
			rounds: []string{"CiliumBGPPeerConfig/fairlead-bgppeer-tor.n2 CiliumBGPAdvertisement/fairlead-bgpadv-a ", "CiliumBGPClusterConfig/fairlead-bgp-n2 "},
		},
		{
			name:   "a node comes that everything is for",
			before: want(one, bgp("a")), then: want(two, bgp("a")),
			rounds: []string{"CiliumBGPPeerConfig/fairlead-bgppeer-tor.n2 CiliumBGPClusterConfig/fairlead-bgp-n2 "},
		},
		{
			name:   "a node goes: it is left out until it has no sessions",
			before: want(two, bgp("a", in("a"))), then: want(one, bgp("a", in("a"))),
			rounds: []string{"-CiliumBGPClusterConfig/fairlead-bgp-n2 -CiliumBGPPeerConfig/fairlead-bgppeer-tor.n2 ", "CiliumBGPAdvertisement/fairlead-bgpadv-a "},
		},
		{
			name:   "a node moves",
			before: want(two, bgp("a", in("a"))), then: want(moved, bgp("a", in("a"))),
			rounds: []string{"CiliumBGPAdvertisement/fairlead-bgpadv-a "},
		},
		{
			name:   "a node moves between two that say the same: the one that takes over comes first",
			before: want(two, bgp("a", in("a")), bgp("b", in("b"))), then: want(moved, bgp("a", in("a")), bgp("b", in("b"))),
			rounds: []string{"CiliumBGPAdvertisement/fairlead-bgpadv-b ", "CiliumBGPAdvertisement/fairlead-bgpadv-a "},
		},
		{
			name:   "a node moves between two that differ: the one that lets go comes first",
			before: want(two, bgp("z", in("a"), community(1)), bgp("b", in("b"), community(2))),
			then:   want(moved, bgp("z", in("a"), community(1)), bgp("b", in("b"), community(2))),
			rounds: []string{"CiliumBGPAdvertisement/fairlead-bgpadv-z CiliumBGPAdvertisement/fairlead-bgpadv-b "},
		},
		{
			name:   "another name for the same",
			before: want(one, bgp("a")), then: want(one, bgp("renamed")),
			rounds: []string{"CiliumBGPAdvertisement/fairlead-bgpadv-renamed ", "-CiliumBGPAdvertisement/fairlead-bgpadv-a "},
		},
		{
			name:   "one for something else comes",
			before: want(one, bgp("a")), then: want(one, bgp("other", func(a *backends.BGPAdvertisement) { a.Pools = pools("other") })),
			rounds: []string{"CiliumBGPAdvertisement/fairlead-bgpadv-other -CiliumBGPAdvertisement/fairlead-bgpadv-a "},
		},
		{
			name:   "one to another peer instead",
			before: want(one, bgp("a", func(a *backends.BGPAdvertisement) { a.Peers = []string{"tor"} })),
			then:   want(one, bgp("b", func(a *backends.BGPAdvertisement) { a.Peers = []string{"tor-z"} })),
			rounds: []string{"CiliumBGPAdvertisement/fairlead-bgpadv-b -CiliumBGPAdvertisement/fairlead-bgpadv-a "},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			world := objectsByKey(run(tc.before).objects)
			var rounds []string
			for len(rounds) < 5 {
				var all []object
				for _, o := range world {
					all = append(all, o)
				}
				x := run(tc.then, given(all...))
				now, waiting := x.order(x.compare())
				if len(now) == 0 {
					assert.Empty(t, waiting)
					break
				}
				round := ""
				for _, ch := range now {
					if ch.want == nil {
						round += "-" + ch.key().String() + " "
						delete(world, ch.key())
					} else {
						round += ch.key().String() + " "
						world[ch.key()] = ch.want
					}
				}
				rounds = append(rounds, round)
			}
			assert.Equal(t, tc.rounds, rounds)
		})
	}
}

func objectsByKey(objects []object) map[key]object {
	out := map[key]object{}
	for _, o := range objects {
		out[keyOf(o)] = o
	}
	return out
}

// TestTouch: of two policies on one pool, the one that stays is written anew when the other one has gone, and only then.
func TestTouch(t *testing.T) {
	on := func(name, iface string) backends.L2Advertisement {
		return l2(name, func(a *backends.L2Advertisement) { a.Interfaces = []string{iface} })
	}
	both := backends.Desired{L2Advertisements: []backends.L2Advertisement{on("a", "eth0"), on("b", "eth1")}}
	one := backends.Desired{L2Advertisements: both.L2Advertisements[:1]}
	world := run(both).objects
	require.Len(t, world, 2)
	assert.NotEmpty(t, world[0].GetAnnotations()[annotationBeside])
	assert.Empty(t, run(one).objects[0].GetAnnotations()[annotationBeside])

	x := run(one, given(world...))
	now, waiting := x.order(x.compare())
	require.Len(t, now, 1)
	assert.Nil(t, now[0].want, "the one goes")
	assert.Equal(t, []string{`agents hear of CiliumL2AnnouncementPolicy "fairlead-l2-a" again when CiliumL2AnnouncementPolicy "fairlead-l2-b" is as it shall be`}, waiting)
	x = run(one, given(world[0]))
	now, waiting = x.order(x.compare())
	require.Len(t, now, 1)
	assert.True(t, touches(now[0]))
	assert.Empty(t, waiting)

	changed := backends.Desired{L2Advertisements: []backends.L2Advertisement{both.L2Advertisements[0], on("b", "eth2")}}
	x = run(changed, given(world...))
	now, waiting = x.order(x.compare())
	require.Len(t, now, 1)
	assert.Equal(t, "fairlead-l2-b", now[0].key().name)
	assert.Len(t, waiting, 1)

	assert.Empty(t, run(both, given(world...)).compare())
}

// TestUpgrade: the objects of versions that had one cluster config for several nodes stay until each node has its own.
func TestUpgrade(t *testing.T) {
	want := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}, Peers: []backends.Peer{router("tor", "192.0.2.1")}, Nodes: nodes("n1", "n2")}
	meta := func(name string, uid types.UID) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, UID: uid, Labels: backends.OwnLabels(installation), Annotations: map[string]string{backends.AnnotationSource: want.Peers[0].Source.String()}}
	}
	cluster := &v2.CiliumBGPClusterConfig{ObjectMeta: meta("fairlead-bgp", "old")}
	cluster.Spec.NodeSelector = expressions(notExcluded)
	config := &v2.CiliumBGPPeerConfig{ObjectMeta: meta("fairlead-bgppeer-tor", "p")}
	objects := []object{cluster, config}
	has := func(node, owner string, uid types.UID, config string) object {
		n := &v2.CiliumBGPNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, OwnerReferences: []metav1.OwnerReference{{Kind: kindClusterConfig, Name: owner, UID: uid}}}}
		n.Spec.BGPInstances = []v2.CiliumBGPNodeInstance{{Peers: []v2.CiliumBGPNodePeer{{Name: "tor", PeerConfigRef: &v2.PeerConfigReference{Name: config}}}}}
		return n
	}
	kept := func(objects ...object) []string {
		x := run(want, given(objects...))
		now, _ := x.order(x.compare())
		gone := map[key]bool{}
		for _, ch := range now {
			gone[ch.key()] = ch.want == nil
		}
		var out []string
		for _, o := range []object{cluster, config} {
			if !gone[keyOf(o)] {
				out = append(out, o.GetName())
			}
		}
		return out
	}
	both := []object{has("n1", "fairlead-bgp", "old", "fairlead-bgppeer-tor"), has("n2", "fairlead-bgp", "old", "fairlead-bgppeer-tor")}
	assert.Equal(t, []string{"fairlead-bgp", "fairlead-bgppeer-tor"}, kept(append(objects, both...)...), "as it was")

	for i, o := range run(want).objects {
		o = o.DeepCopyObject().(object)
		o.SetUID(types.UID(fmt.Sprint("new", i)))
		objects = append(objects, o)
	}
	x := run(want, given(append(objects, both...)...))
	assert.Len(t, x.handovers(), 2)
	assert.Equal(t, []string{"fairlead-bgp", "fairlead-bgppeer-tor"}, kept(append(objects, both...)...), "no node is handed over")

	var own types.UID
	for _, o := range objects {
		if o.GetName() == "fairlead-bgp-n1" {
			own = o.GetUID()
		}
	}
	one := []object{has("n1", "fairlead-bgp-n1", own, "fairlead-bgppeer-tor.n1"), both[1]}
	assert.Equal(t, []string{"fairlead-bgp", "fairlead-bgppeer-tor"}, kept(append(objects, one...)...), "one is")
	none := []object{one[0], has("n2", "another", "x", "fairlead-bgppeer-tor")}
	assert.Equal(t, []string{"fairlead-bgppeer-tor"}, kept(append(objects, none...)...), "both are; one refers to the old peer config yet")
	assert.Empty(t, kept(append(objects, one[0])...))
}
