package announce

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, Spoken(tc.over, tc.sessions)) })
	}
}
