package announce

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// TestSessions: told is not heard. Only a session that is up, from a node and with a router that the advertisement is for, counts.
func TestSessions(t *testing.T) {
	snapshot := config.Build(config.Objects{
		BGPAdvertisements: []v1beta1.BGPAdvertisement{{
			ObjectMeta: metav1.ObjectMeta{Name: "adv"},
			Spec:       v1beta1.BGPAdvertisementSpec{Peers: []string{"tor"}, NodeSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"zone": "a"}}}},
		}},
		BGPPeers: []v1beta2.BGPPeer{
			{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 65010, PeerAddress: "192.0.2.1"}},
			{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 65010, PeerAddress: "192.0.2.2"}},
		},
	}, nil)
	nodes := []backends.Node{
		{Name: "n1", Labels: map[string]string{"zone": "a"}}, {Name: "n2", Labels: map[string]string{"zone": "a"}}, {Name: "n3", Labels: map[string]string{"zone": "b"}},
	}
	session := func(router string, up bool) backends.Session {
		s := backends.Session{Router: netip.MustParseAddr(router), State: "Active", IPv4: true, Up: up}
		if up {
			s.State = backends.Established
		}
		return s
	}
	says := func(s ...backends.Session) backends.SessionReport { return backends.SessionReport{Sessions: s} }
	type reports = map[string]backends.SessionReport
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	refused := backends.Session{Router: netip.MustParseAddr("192.0.2.1"), State: "Idle", IPv4: true, Error: "Cease: Connection Rejected"}
	for _, tc := range []struct {
		name      string
		unmanaged bool
		mute      string
		nodes     []backends.Node
		reports   reports
		want      Verdict
	}{
		{"one of two nodes has it up", false, "", nodes, reports{"n1": says(session("192.0.2.1", false)), "n2": says(session("192.0.2.1", true))},
			Verdict{metav1.ConditionTrue, ReasonAdvertised, `sessions are established from node "n2" to router "tor (192.0.2.1)"`}},
		{"one is up, the others do not say", false, "", nodes, reports{"n1": says(session("192.0.2.1", true))},
			Verdict{metav1.ConditionTrue, ReasonAdvertised, `sessions are established from node "n1" to router "tor (192.0.2.1)"`}},
		{"only with a router that is not to hear it, or from a node that is not to advertise it", false, "", nodes,
			reports{"n1": says(session("192.0.2.2", true)), "n2": says(refused), "n3": says(session("192.0.2.1", true))},
			Verdict{metav1.ConditionFalse, ReasonNoSession, "cilium has no BGP session up that carries the IPv4 routes: n1 has no session with tor (192.0.2.1); n2 to tor (192.0.2.1) is Idle: Cease: Connection Rejected"}},
		{"as of earlier", false, "", nodes, reports{"n1": {At: at, Sessions: []backends.Session{session("192.0.2.1", false)}}, "n2": says()},
			Verdict{metav1.ConditionFalse, ReasonNoSession, "cilium has no BGP session up that carries the IPv4 routes: n1 to tor (192.0.2.1) is Active (at 15:04 UTC); n2 has no session with tor (192.0.2.1)"}},
		{"a node does not say", false, "", nodes, reports{"n1": says(session("192.0.2.1", false))},
			Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, `cilium has been told, and has not said yet how the BGP sessions of node "n2" are; none is up of those that are known: n1 to tor (192.0.2.1) is Active`}},
		{"the router refuses every node", false, "", nodes, reports{"n1": says(refused), "n2": says(refused)},
			Verdict{metav1.ConditionFalse, ReasonNoSession, "cilium has no BGP session up that carries the IPv4 routes: n1 to tor (192.0.2.1) is Idle: Cease: Connection Rejected; n2 to tor (192.0.2.1) is Idle: Cease: Connection Rejected"}},
		{"an agent is paused, the other one is refused", false, "", nodes, reports{"n2": says(refused)},
			Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, `cilium has been told, and has not said yet how the BGP sessions of node "n1" are; none is up of those that are known: n2 to tor (192.0.2.1) is Idle: Cease: Connection Rejected`}},
		{"nobody says", false, "", nodes, nil,
			Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, `cilium has been told, and has not said yet how the BGP sessions of nodes "n1", "n2" are`}},
		{"nobody is asked", false, "it is off", nodes, nil,
			Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, "cilium has been told; whether a session carries the IPv4 routes is not known: it is off"}},
		{"no node is to advertise", false, "", nodes[2:], reports{"n3": says(session("192.0.2.1", true))},
			Verdict{metav1.ConditionFalse, ReasonNoSession, "cilium holds no BGP session that carries IPv4 routes from a node that advertises them"}},
		{"the CNI's own peers: any of them", true, "", nodes, reports{"n1": says(session("203.0.113.9", true)), "n2": says()},
			Verdict{metav1.ConditionTrue, ReasonAdvertised, `sessions are established from node "n1" to router "203.0.113.9"`}},
		{"the CNI has no peers of its own", true, "", nodes, reports{"n1": says(), "n2": says()},
			Verdict{metav1.ConditionFalse, ReasonNoSession, "cilium holds no BGP session that carries IPv4 routes from a node that advertises them"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Sessions(SessionsInput{
				Snapshot: snapshot, Choice: Choice{BGP: "cilium"}, Backend: "cilium", Managed: !tc.unmanaged, Nodes: tc.nodes, Reports: tc.reports, Mute: tc.mute,
			})
			assert.Equal(t, tc.want, got[backends.Audience{Advertisement: backends.Source{Kind: "BGPAdvertisement", Name: "adv"}}])
		})
	}
}

// TestSpokenByFamily: a Service of which one family has no session is advertised, and the condition names the other.
func TestSpokenByFamily(t *testing.T) {
	ref := config.Ref{Kind: "BGPAdvertisement", Name: "adv"}
	yes := Verdict{metav1.ConditionTrue, ReasonAdvertised, "told"}
	no := Verdict{metav1.ConditionFalse, ReasonNoSession, "none"}
	sessions := map[backends.Audience]Verdict{{Advertisement: source(ref)}: {metav1.ConditionTrue, ReasonAdvertised, "n1 to r1"}, {Advertisement: source(ref), IPv6: true}: no}
	assert.Equal(t, []Verdict{yes}, spokenBy(ref, sessions, [2]bool{true, false}, "told"))
	assert.Equal(t, []Verdict{no}, spokenBy(ref, sessions, [2]bool{false, true}, "told"))
	assert.Equal(t, []Verdict{yes, no}, spokenBy(ref, sessions, [2]bool{true, true}, "told"))
	assert.Equal(t, []Verdict{yes}, spokenBy(ref, nil, [2]bool{true, true}, "told"), "nobody looks")
	assert.Equal(t, ReasonSessionsUnknown, spokenBy(ref, map[backends.Audience]Verdict{}, [2]bool{true, false}, "told")[0].Reason, "not looked at yet")
}
