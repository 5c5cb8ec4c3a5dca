package cni

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

// quietAdvertisement selects no pool: sessions are held as long as there is a BGPAdvertisement.
const quietAdvertisement = "kind: BGPAdvertisement\nmetadata: {name: quiet}\nspec: {ipAddressPoolSelectors: [{matchLabels: {is: none}}]}"

// withPeers makes the usual BGPPeers, and waits for their sessions with every node.
func (s *Scene) withPeers() {
	s.Helper()
	for _, router := range []string{"r1", "r2"} {
		s.Apply(s.PeerYAML(router, false, "") + "\n---\n" + s.PeerYAML(router, true, ""))
	}
	s.Apply(quietAdvertisement)
	s.AwaitSessions(len(nodeNames) * 4)
}

// withoutPeers removes all BGPPeers, and waits until no session is left.
func (s *Scene) withoutPeers() {
	s.Helper()
	require.NoError(s, s.Lab.delete(context.WithoutCancel(s.Context()), &v1beta2.BGPPeer{}, s.Lab.Namespace))
	s.AwaitSessions(0)
	// A router that has lost a session takes the next one later, each time twice as late (FRR, bgp_stop_with_error); that is not the row's.
	for _, router := range s.Lab.frr {
		router.Vtysh("clear bgp *")
	}
}

// PeerYAML returns a router's BGPPeer for one family; more is what is added to its spec, in one line.
func (s *Scene) PeerYAML(router string, is6 bool, more string) string {
	name := router
	if is6 {
		name += "-v6"
	}
	return fmt.Sprintf("kind: BGPPeer\nmetadata: {name: %s}\nspec: {myASN: %d, peerASN: %d, peerAddress: %q%s}", name, ASN, routerASN(router),
		s.Lab.routerAddr(router, is6), comma(more))
}

func comma(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

// AwaitSessions waits until there is this number of sessions, with all routers together.
func (s *Scene) AwaitSessions(count int) {
	s.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	deadline := time.After(testbed.Patience)
	for {
		got := s.Lab.sessions(s)
		if len(got) == count {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(s, "sessions", "they are %v, want %d", got, count)
		}
	}
}
