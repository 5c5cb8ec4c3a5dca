package announce

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/config"
)

func TestSpoken(t *testing.T) {
	n1, n2 := NodePeer{"n1", "tor"}, NodePeer{"n2", "tor"}
	var many []NodePeer
	for i := range 8 {
		many = append(many, NodePeer{fmt.Sprint("n", i), "tor"})
	}
	for _, tc := range []struct {
		name     string
		over     []NodePeer
		sessions map[NodePeer]Session
		want     Verdict
	}{
		{"nothing known", []NodePeer{n1}, nil, Verdict{metav1.ConditionUnknown, ReasonPending, `speaker: BGP sessions are coming up, from node "n1" to peer "tor"`}},
		{"one of two is up", []NodePeer{n2, n1}, map[NodePeer]Session{n1: {Error: "refused"}, n2: {Up: true, Error: "once"}},
			Verdict{metav1.ConditionTrue, ReasonAdvertised, `speaker: advertised by BGP from nodes "n1", "n2" to peer "tor"`}},
		{"none is up", []NodePeer{n2, n1}, map[NodePeer]Session{n1: {Error: "refused"}},
			Verdict{metav1.ConditionFalse, ReasonNoSession, "speaker: no BGP session is up over which to advertise it: n1 to tor: refused; n2 to tor"}},
		{"another Service's is up", []NodePeer{n1}, map[NodePeer]Session{n1: {Error: "refused"}, n2: {Up: true}},
			Verdict{metav1.ConditionFalse, ReasonNoSession, "speaker: no BGP session is up over which to advertise it: n1 to tor: refused"}},
		{"many", many, map[NodePeer]Session{many[7]: {Error: "refused"}}, Verdict{metav1.ConditionFalse, ReasonNoSession,
			"speaker: no BGP session is up over which to advertise it: n0 to tor; n1 to tor; n2 to tor; n3 to tor; n4 to tor; and 3 more"}},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, spoken(tc.over, tc.sessions)) })
	}
}

// TestSpokenTo: a family that no session carries is not advertised, and is named.
func TestSpokenTo(t *testing.T) {
	v4only, both := sessions("198.51.100.1"), sessions("198.51.100.1", "2001:db8:1::1")
	over4, over6 := NodePeer{"n1", "198.51.100.1"}, NodePeer{"n1", "2001:db8:1::1"}
	up := map[NodePeer]Session{over4: {Up: true}, over6: {Up: true}}
	lacks := `speaker: no session carries the IPv6 addresses, only with BGPPeer "198.51.100.1": add a BGPPeer with an address of that family, or set dualStackAddressFamily`
	told := func(peer string) string {
		return fmt.Sprintf("speaker: advertised by BGP from node \"n1\" to peer %q", peer)
	}
	for _, tc := range []struct {
		name     string
		snapshot *config.Snapshot
		addrs    []netip.Addr
		over     []NodePeer
		want     Verdict
	}{
		{"IPv4", v4only, []netip.Addr{v4}, []NodePeer{over4}, Verdict{metav1.ConditionTrue, ReasonAdvertised, told("198.51.100.1")}},
		{"IPv6 over IPv4", v4only, []netip.Addr{v6}, []NodePeer{over4}, Verdict{metav1.ConditionFalse, ReasonNoPeer, lacks}},
		{"both over IPv4", v4only, []netip.Addr{v4, v6}, []NodePeer{over4}, Verdict{metav1.ConditionTrue, ReasonAdvertised, told("198.51.100.1") + "; " + lacks}},
		{"both", both, []netip.Addr{v4, v6}, []NodePeer{over4, over6}, Verdict{metav1.ConditionTrue, ReasonAdvertised,
			`speaker: advertised by BGP from node "n1" to peers "198.51.100.1", "2001:db8:1::1"`}},
		{"a peer that is not in force any more", v4only, []netip.Addr{v6}, []NodePeer{{"n1", "old"}}, Verdict{metav1.ConditionUnknown, ReasonPending,
			`speaker: BGP sessions are coming up, from node "n1" to peer "old"`}},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, SpokenTo(tc.snapshot, tc.addrs, tc.over, up)) })
	}
}
