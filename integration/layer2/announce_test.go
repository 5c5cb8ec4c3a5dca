package layer2

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestAnnounce goes the whole way: a Service gets addresses, one node answers for each, and a client fetches through it.
func TestAnnounce(t *testing.T) {
	s := site.New(t, bed, 3)
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	start := time.Now()
	p := s.Probe(s.Client, vips, site.Every)
	owners := map[netip.Addr]*netlab.Host{}
	for _, vip := range vips {
		p.AwaitAnswer(t, vip, start, nil)
		owners[vip] = p.Owner(vip)
		a, err := s.Client.Get(vip, 10*time.Second)
		require.NoError(t, err, "fetch through %s", vip)
		assert.NotEmpty(t, a.Pod)
	}
	s.Advertised(svc, "True Advertised: speaker: announced on the local network from node")
	s.Told(svc, owners[vips[0]])
	quiet := time.Now()
	p.Await(t, "a second of answers", func() bool { return len(p.Probes(vips[0], quiet, time.Time{})) > 100 })
	for _, vip := range vips {
		assert.Equal(t, []*netlab.Host{owners[vip]}, p.Answerers(vip, quiet, time.Time{}), "one node answers for %s", vip)
		assert.Empty(t, p.Contested(vip, start, time.Time{}))
	}
}
