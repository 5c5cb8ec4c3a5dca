package bgp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestBFD has BFD watch a router that holds its BGP session for 90 s. When the way to it is cut, both sides end the session at once, and
// Services that come and go do not bother BFD.
func TestBFD(t *testing.T) {
	s := site.NewAlone(t, 1)
	router := s.AddClient("router")
	node := s.Nodes()[0]
	r := routing.StartBIRD(t, s.Lab, router, fmt.Sprintf(`
protocol bfd { interface "eth0" { interval 50 ms; multiplier 3; }; }
protocol bgp node {
	local %s as 65002; neighbor %s as 65001;
	bfd on; connect retry time 1; error wait time 1, 2;
	ipv4 { import all; export none; };
}
`, router.Addr(false), node.Addr(false)))
	ms, times := uint32(50), uint32(3)
	s.Create(&v1beta1.BFDProfile{ObjectMeta: s.Meta("fast"), Spec: v1beta1.BFDProfileSpec{TransmitInterval: &ms, ReceiveInterval: &ms, DetectMultiplier: &times}})
	s.Create(&v1beta2.BGPPeer{ObjectMeta: s.Meta("tor"), Spec: v1beta2.BGPPeerSpec{
		MyASN: 65001, PeerASN: 65002, PeerAddress: router.Addr(false).String(), BFDProfile: "fast",
	}})
	s.Create(&v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("adv")})
	svc := s.Service("web", s.Nodes(), nil)
	route := site.Addrs(svc)[0].String() + "/32"
	has := func() bool { return strings.Contains(r.Birdc("show", "route"), route) }
	session := func(state, bfd string) {
		t.Helper()
		testbed.Eventually(t, "the BGPSession to be "+state, func(ctx context.Context) error {
			var x v1alpha1.BGPSession
			if err := s.Bed.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: "n1-tor"}, &x); err != nil {
				return err
			}
			if (x.Status.State == "Established") != (state == "Established") || x.Status.BFD != bfd {
				return fmt.Errorf("it is %s, BFD %s: %s", x.Status.State, x.Status.BFD, x.Status.LastError)
			}
			return nil
		})
	}
	await(t, "the route", has)
	session("Established", "Up")

	for i := range 20 {
		svc := s.Service(fmt.Sprint("churn-", i), s.Nodes(), nil)
		require.NoError(t, s.Bed.Client.Delete(t.Context(), svc))
	}
	assert.NotContains(t, s.Speakers["n1"].Log(), "BFD has lost a router")

	began := time.Now()
	router.Cut()
	await(t, "the route to go", func() bool { return !has() })
	t.Logf("the router has dropped the route %v after the cut", time.Since(began).Round(time.Millisecond))
	session("down", "Down")
	assert.Less(t, time.Since(began), 60*time.Second, "long before the hold time is over")
	router.Mend()
	await(t, "the route to be back", has)
	session("Established", "Up")
}
