package assign

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// graceful makes a world whose Services keep for a moment what has left its pool, and its clock.
func graceful(t require.TestingT, pools ...v1beta1.IPAddressPool) (*world, *time.Time) {
	now := time.Unix(1000, 0)
	w := newWorld(t)
	w.pools = pools
	w.clockwork = func() time.Time { return now }
	w.start()
	return w, &now
}

// TestSplitPool: objects of one change arrive one by one; nobody is renumbered, and no status is emptied in between.
func TestSplitPool(t *testing.T) {
	for _, f := range []struct {
		name                 string
		whole, rest, gateway string
		pinned, renumbered   string
	}{
		{"IPv4", "192.0.2.2-192.0.2.254", "192.0.2.130-192.0.2.254", "192.0.2.129/32", "192.0.2.129", "192.0.2.130"},
		{"IPv6", "2001:db8::2-2001:db8::fe", "2001:db8::82-2001:db8::fe", "2001:db8::81/128", "2001:db8::81", "2001:db8::82"},
	} {
		t.Run(f.name, func(t *testing.T) {
			with := families[0].with
			if f.name == "IPv6" {
				with = families[1].with
			}
			for _, restart := range []bool{false, true} {
				w, now := graceful(t, ipPool("lan", f.whole))
				w.put(loadBalancer("gw", append(with, annotated("metallb.io/loadBalancerIPs", f.pinned))...))
				w.put(loadBalancer("auto", with...))
				w.settle()
				auto := w.shown("auto")
				w.takeEvents()

				w.setPools(ipPool("lan", f.rest))
				if restart {
					w.start()
				}
				w.settle()
				assert.Equal(t, f.pinned, w.shown("gw"))
				assert.Equal(t, auto, w.shown("auto"))
				assert.Contains(t, w.condition(named("gw")), `True AddressKept: `+f.pinned+` from pool "lan" is kept: `+f.pinned+` has left pool "lan"; if no other pool takes it in within 5s`)
				*now = now.Add(LeaveGrace - time.Second)
				w.setPools(ipPool("lan", f.rest), ipPool("lan-gw", f.gateway))
				w.settle()
				assert.Equal(t, `True Allocated: `+f.pinned+` from pool "lan-gw"`, w.condition(named("gw")))

				*now = now.Add(time.Second)
				w.queue = append(w.queue, named("gw"), named("auto"))
				w.settle()
				assert.Equal(t, f.pinned, w.shown("gw"))
				assert.Equal(t, f.renumbered, w.shown("auto"), "nobody has taken the address in")
				for _, e := range w.takeEvents() {
					assert.NotContains(t, e, "default/gw Normal ClearAssignment")
				}
			}
		})
	}
}

// TestGraceEnds: a decision that keeps an address for a moment says when to decide anew, and what the Service asks for now ends it.
func TestGraceEnds(t *testing.T) {
	w, now := graceful(t, ipPool("p", "10.0.0.0/30"), ipPool("q", "10.1.0.0/30"))
	w.put(loadBalancer("web", annotated("metallb.io/loadBalancerIPs", "10.0.0.1")))
	w.settle()
	w.setPools(ipPool("q", "10.1.0.0/30"))
	*now = now.Add(2 * time.Second)
	assert.Equal(t, 3*time.Second, w.assigner.Decide(w.services[named("web")], nil).Again)
	w.settle()
	w.edit("web", annotated("metallb.io/loadBalancerIPs", "10.1.0.1"))
	w.settle()
	assert.Equal(t, "10.1.0.1", w.shown("web"))

	w.setPools(ipPool("p", "10.0.0.0/30"))
	w.edit("web", annotated("metallb.io/allow-shared-ip", "key"))
	w.settle()
	assert.Empty(t, w.shown("web"), "a new sharing key is not met by what is only kept")
}

func TestSooner(t *testing.T) {
	assert.Equal(t, time.Second, sooner(time.Second, 0))
	assert.Equal(t, time.Second, sooner(0, time.Second))
	assert.Equal(t, time.Second, sooner(time.Minute, time.Second))
	assert.Zero(t, sooner(0, 0))
}

// TestLeaveTogether: of Services whose addresses left a pool together, the oldest gets another address first, whoever is looked at first.
func TestLeaveTogether(t *testing.T) {
	for _, first := range []string{"a", "b", "c"} {
		w, now := graceful(t, ipPool("lan", "192.0.2.0/30"))
		for i, name := range []string{"c", "a", "b"} {
			w.put(loadBalancer(name, func(s *corev1.Service) { s.CreationTimestamp = metav1.Unix(int64(100+i), 0) }))
		}
		w.settle()
		w.setPools(ipPool("lan", "198.51.100.0/30"))
		w.settle()
		assert.Equal(t, "192.0.2.0", w.shown("c"))
		*now = now.Add(LeaveGrace)
		w.queue = append(w.queue, named(first), named("a"), named("b"), named("c"))
		w.settle()
		for i, name := range []string{"c", "a", "b"} {
			assert.Equal(t, fmt.Sprintf("198.51.100.%d", i), w.shown(name), "%s, when %s is looked at first", name, first)
		}
	}
}
