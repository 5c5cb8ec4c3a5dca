package layer2

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// failovers is how often the address moves.
const failovers = 100

// TestSharedAddress has five Services share an address of each family, and moves them from node to node: by taking nodes out, and
// every tenth time by killing a speaker. After each move one node answers, for both of what a client may ask.
func TestSharedAddress(t *testing.T) {
	s := site.New(t, bed, 3)
	share := func(port int32) func(*corev1.Service) {
		return func(svc *corev1.Service) {
			svc.Annotations = map[string]string{"metallb.io/allow-shared-ip": "together"}
			svc.Spec.Ports[0].Port = port
		}
	}
	first := s.Service("shared-0", s.Nodes(), share(80))
	vips := site.Addrs(first)
	for i := range 4 {
		name := fmt.Sprintf("shared-%d", i+1)
		svc := s.Service(name, s.Nodes(), func(svc *corev1.Service) {
			share(int32(81 + i))(svc)
			svc.Annotations["metallb.io/loadBalancerIPs"] = fmt.Sprintf("%s,%s", vips[0], vips[1])
		})
		require.ElementsMatch(t, vips, site.Addrs(svc), name)
	}
	p := s.Probe(s.Client, vips, site.Every)
	began := time.Now()
	type move struct {
		vip         netip.Addr
		to          *netlab.Host
		from, until time.Time
	}
	var planned []move
	for i := range failovers {
		was := s.Owner(p, vips[0])
		before := time.Now()
		crash := i%10 == 9
		if crash {
			s.Speakers[was.Name()].Kill()
		} else {
			s.Exclude(was, true)
		}
		for _, vip := range vips {
			var now *netlab.Host // the first that is another one: the one before answers beside it for a moment
			p.Await(t, fmt.Sprintf("%s to move away from %s for the %dth time", vip, was.Name(), i), func() bool {
				now = p.Owner(vip)
				return now != nil && now != was.Host
			})
			settled := time.Now().Add(100 * time.Millisecond) // the one before may go on answering for half of that
			p.Await(t, "ten answers", func() bool { return len(p.Probes(vip, settled, time.Time{})) > 10 })
			if !crash {
				planned = append(planned, move{vip: vip, to: now, from: before, until: time.Now()})
			}
			assert.Equal(t, []string{now.Name()}, netlab.Names(p.Answerers(vip, settled, time.Time{})), "%s after the %dth move", vip, i)
		}
		if crash {
			s.Speak(was)
		} else {
			s.Exclude(was, false)
		}
	}
	for _, vip := range vips {
		s.Alone(p, vip)
	}
	for _, m := range planned {
		assert.Empty(t, p.Lost(m.vip, m.from, m.until), "when probes for %s were sent that nobody answered, in a planned move to %s", m.vip, m.to.Name())
	}
	t.Logf("%d moves in %v", failovers, time.Since(began).Round(time.Second))
}
