package assign

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// slow is a CNI that needs a second; what is to be done with pools has reached it if they are true; it goes by what was before if they are false.
type slow map[string]bool

func (slow) Pace() time.Duration { return time.Second }

func (s slow) InForce(pools []string) bool {
	for _, p := range pools {
		if !s[p] {
			return false
		}
	}
	return true
}

func (s slow) Outdated(pools []string) bool {
	for _, p := range pools {
		if current, known := s[p]; known && !current {
			return true
		}
	}
	return false
}

func TestPace(t *testing.T) {
	shows := func(label, mark string, addrs ...string) *corev1.Service {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", Labels: map[string]string{}, Annotations: map[string]string{}}}
		if label != "none" {
			svc.Labels[service.LabelPool] = label
		}
		if mark != "" {
			svc.Annotations[service.AnnotationFromPool] = mark
		}
		for _, a := range addrs {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
		}
		return svc
	}
	ours := func(pool, addr string) Verdict {
		return Verdict{Ours: true, Held: allocator.Assignment{IPv4: allocator.Grant{Addr: netip.MustParseAddr(addr), Pool: pool}}}
	}
	foreign := Verdict{Ours: true, Foreign: []netip.Addr{netip.MustParseAddr("198.51.100.9")}}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type look struct {
		after time.Duration
		svc   *corev1.Service
		v     Verdict
		wait  time.Duration
		does  string // "drop", "fade", "wait" or nothing
	}
	for _, tt := range []struct {
		name string
		cni  slow
		all  []look
	}{
		{"a new Service waits for nothing", nil, []look{{0, shows("none", ""), ours("a", "192.0.2.1"), 0, ""}}},
		{"a new Service of a pool of which the CNI has heard", slow{"a": true}, []look{{0, shows("none", ""), ours("a", "192.0.2.1"), 0, ""}}},
		{"a new Service of a pool that was advertised in another way", slow{"a": false}, []look{
			{0, shows("none", ""), ours("a", "192.0.2.1"), relabelAgain, "wait"},
			{relabelWithin - time.Millisecond, shows("none", ""), ours("a", "192.0.2.1"), relabelAgain, "wait"},
			{relabelWithin, shows("none", ""), ours("a", "192.0.2.1"), 0, ""},
		}},
		{"another address of the same pool", nil, []look{{0, shows("a", "a", "192.0.2.1"), ours("a", "192.0.2.2"), 0, ""}}},
		{"an address of another pool", slow{"b": true}, []look{
			{0, shows("a", "a", "192.0.2.1"), ours("b", "203.0.113.1"), time.Second, "drop"},
			{400 * time.Millisecond, shows("none", ""), ours("b", "203.0.113.1"), 600 * time.Millisecond, "wait"},
			{time.Second, shows("none", ""), ours("b", "203.0.113.1"), 0, ""},
		}},
		{"a status of somebody else's", nil, []look{
			{0, shows("a", "a", "198.51.100.9"), foreign, time.Second, "fade"},
			{300 * time.Millisecond, shows("", "a", "198.51.100.9"), foreign, 700 * time.Millisecond, "fade"},
			{time.Second, shows("", "a", "198.51.100.9"), foreign, 0, ""},
			{time.Second, shows("none", "a", "198.51.100.9"), foreign, 0, ""},
			{2 * time.Second, shows("none", "a"), ours("a", "192.0.2.1"), time.Second, "wait"},
			{3 * time.Second, shows("none", "a"), ours("a", "192.0.2.1"), 0, ""},
		}},
		{"another pool takes the address over, of which the CNI hears", slow{"b": true}, []look{{0, shows("a", "a", "192.0.2.1"), ours("b", "192.0.2.1"), 0, ""}}},
		{"another pool takes the address over, of which the CNI does not hear", nil, []look{
			{0, shows("a", "a", "192.0.2.1"), ours("b", "192.0.2.1"), relabelAgain, "wait"},
			{relabelWithin - time.Millisecond, shows("a", "a", "192.0.2.1"), ours("b", "192.0.2.1"), relabelAgain, "wait"},
			{relabelWithin, shows("a", "a", "192.0.2.1"), ours("b", "192.0.2.1"), 0, ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p paces
			for i, x := range tt.all {
				v := x.v
				assert.Equal(t, x.wait, p.pace(x.svc, &v, tt.cni, begin.Add(x.after)), i)
				does := ""
				switch {
				case v.Dropping:
					does = "drop"
				case v.Fading:
					does = "fade"
				case v.Later:
					does = "wait"
				}
				assert.Equal(t, x.does, does, i)
			}
		})
	}
}
