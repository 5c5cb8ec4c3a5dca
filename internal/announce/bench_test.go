package announce

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// racks is a cluster of so many nodes, each with a router of its own, and so many advertisements. The first of reporting nodes have told of
// their sessions, of which that of the last one is up.
func racks(nodes, advertisements, reporting int) SessionsInput {
	var o config.Objects
	in := SessionsInput{Choice: Choice{BGP: "cilium"}, Backend: "cilium", Managed: true, Reports: map[string]backends.SessionReport{}}
	for i := range nodes {
		name, rack := fmt.Sprintf("n%03d", i), map[string]string{"rack": fmt.Sprint(i)}
		router := netip.AddrFrom4([4]byte{192, 0, 2 + byte(i>>8), byte(i)})
		in.Nodes = append(in.Nodes, backends.Node{Name: name, Labels: rack})
		o.BGPPeers = append(o.BGPPeers, v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor-" + name}, Spec: v1beta2.BGPPeerSpec{
			MyASN: 64512, PeerASN: 65010, PeerAddress: router.String(), NodeSelectors: []metav1.LabelSelector{{MatchLabels: rack}},
		}})
		if i < reporting {
			in.Reports[name] = backends.SessionReport{Node: name, Sessions: []backends.Session{{Router: router, State: "Active", IPv4: true, Up: i == reporting-1}}}
		}
	}
	for i := range advertisements {
		o.BGPAdvertisements = append(o.BGPAdvertisements, v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("adv-", i)}})
	}
	in.Snapshot = config.Build(o, nil)
	return in
}

// TestOneOfMany: one of 500 nodes tells of its session.
func TestOneOfMany(t *testing.T) {
	in := racks(500, 1, 1)
	of := func(is6 bool) backends.Audience {
		return backends.Audience{Advertisement: backends.Source{Kind: "BGPAdvertisement", Name: "adv-0"}, IPv6: is6}
	}
	got := Sessions(in)
	assert.Equal(t, Verdict{metav1.ConditionTrue, ReasonAdvertised, `sessions are established from node "n000" to router "tor-n000 (192.0.2.0)"`}, got[of(false)])
	assert.Equal(t, ReasonSessionsUnknown, got[of(true)].Reason)
	assert.Less(t, len(got[of(true)].Message), 200, "it names a few of the nodes")
	in.Reports["n000"].Sessions[0].Up = false
	got = Sessions(in)
	assert.Equal(t, Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, `cilium has been told, and has not said yet how the BGP sessions of nodes "n001", "n002", "n003", "n004", "n005" and 494 more are; ` +
		"none is up of those that are known: n000 to tor-n000 (192.0.2.0) is Active"}, got[of(false)])
}

// BenchmarkSessions is 500 nodes with a router each that all tell of their sessions, and 20 advertisements; twice a second at most.
func BenchmarkSessions(b *testing.B) {
	for _, up := range []bool{true, false} {
		b.Run(fmt.Sprintf("up=%v", up), func(b *testing.B) {
			in := racks(500, 20, 500)
			in.Reports["n499"].Sessions[0].Up = up
			for b.Loop() {
				Sessions(in)
			}
		})
	}
}
