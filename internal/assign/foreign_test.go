package assign

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// families are the same pool and Services in both families.
var families = []struct {
	name                   string
	pool                   string
	first, second, outside string
	with                   []func(*corev1.Service)
}{
	{"IPv4", "198.51.100.0/30", "198.51.100.0", "198.51.100.1", "203.0.113.9", nil},
	{"IPv6", "2001:db8::/126", "2001:db8::", "2001:db8::1", "2001:db8:ffff::9", sixOnly},
}

// TestShownAddressGoesToNobody: an address of a pool that somebody writes into the status of a Service is given to no other Service, and
// a restart of the controller changes nothing about anybody.
func TestShownAddressGoesToNobody(t *testing.T) {
	other := "example.com/other"
	for _, f := range families {
		for name, before := range map[string]func(w *world){
			"a Service that has another": func(w *world) {
				w.put(loadBalancer("web", f.with...))
				w.settle()
				require.Equal(t, f.first, w.shown("web"))
			},
			"a Service of another class": func(w *world) {
				w.put(loadBalancer("web", append(f.with, func(s *corev1.Service) { s.Spec.LoadBalancerClass = &other })...))
				w.settle()
			},
		} {
			t.Run(f.name+" "+name, func(t *testing.T) {
				w := newWorld(t, ipPool("p", f.pool))
				before(w)
				w.overwrite(named("web"), "other-lb", f.second)
				w.settle()
				w.put(loadBalancer("asks", append(f.with, annotated("metallb.io/loadBalancerIPs", f.second))...))
				for i := range 4 {
					w.put(loadBalancer(fmt.Sprint("s", i), f.with...))
				}
				w.settle()
				shown := func() map[string]string {
					out := map[string]string{}
					for o := range w.services {
						out[o.Name] = w.shown(o.Name) + " " + w.condition(o)
					}
					return out
				}
				was := shown()
				assert.Empty(t, w.overlap())
				assert.Contains(t, w.condition(named("asks")), "False AddressInUse: address "+f.second+" is in use: the status of service default/web shows it")
				writes := w.writes
				for range 2 {
					w.start()
					w.settle()
					assert.Equal(t, was, shown())
				}
				assert.Equal(t, writes, w.writes, "a restart wrote something")

				w.delete(named("web"))
				w.settle()
				assert.Equal(t, f.second, w.shown("asks"), "it is free when nobody shows it")
				assert.Empty(t, w.overlap())
			})
		}
	}
}

// TestShownAddressOfAnother: a status that shows what another Service has does not take it over when the controller restarts, though
// its Service is older, nor when the other one goes.
func TestShownAddressOfAnother(t *testing.T) {
	for _, f := range families {
		w := newWorld(t, ipPool("p", f.pool))
		w.put(loadBalancer("web", f.with...))
		w.put(loadBalancer("innocent", f.with...))
		w.settle()
		require.Equal(t, f.second, w.shown("innocent"))
		w.overwrite(named("web"), "other-lb", f.second)
		for range 2 {
			w.settle()
			assert.Equal(t, f.second, w.shown("innocent"))
			assert.Contains(t, w.condition(named("innocent")), "True Allocated")
			assert.Contains(t, w.condition(named("web")), "False ForeignStatus")
			w.start()
		}
		w.delete(named("innocent"))
		w.settle()
		w.put(loadBalancer("next", f.with...))
		w.settle()
		assert.NotEqual(t, f.second, w.shown("next"))
	}
}

// TestNeverServedButOlder: what somebody wrote into the status of an older Service while no controller ran takes no address from the
// Service that has it.
func TestNeverServedButOlder(t *testing.T) {
	for _, f := range families {
		w := newWorld(t, ipPool("p", f.pool))
		w.put(loadBalancer("older", append(f.with, annotated("metallb.io/address-pool", "nowhere"))...))
		w.put(loadBalancer("younger", f.with...))
		w.settle()
		require.Equal(t, f.first, w.shown("younger"))
		w.overwrite(named("older"), "other-lb", f.first)
		w.start()
		w.settle()
		assert.Equal(t, f.first, w.shown("younger"))
		assert.Empty(t, w.overlap())
	}
}

// TestWaiterWithAForeignStatus: a Service that waits and whose status somebody fills waits no longer; what becomes free goes to others.
func TestWaiterWithAForeignStatus(t *testing.T) {
	for _, f := range families {
		w := newWorld(t, ipPool("one", f.first+"-"+f.first))
		w.put(loadBalancer("first", f.with...))
		w.settle()
		w.put(loadBalancer("waits", f.with...))
		w.settle()
		w.overwrite(named("waits"), "other-controller", f.outside)
		w.settle()
		w.delete(named("first"))
		w.settle()
		w.put(loadBalancer("third", f.with...))
		w.settle()
		assert.Equal(t, f.first, w.shown("third"), w.condition(named("third")))
		assert.Contains(t, w.condition(named("waits")), "False ForeignStatus")
	}
}

// TestForeignStatusComesIntoAPool: the way out that the message names: the address is added to a pool.
func TestForeignStatusComesIntoAPool(t *testing.T) {
	for _, f := range families {
		for name, tt := range map[string]struct {
			before func(w *world)
			away   bool // the pool is added while no controller runs
		}{
			"never served":              {before: func(*world) {}},
			"served before":             {before: func(w *world) { w.setPools(ipPool("p", f.pool)); w.settle() }},
			"never served, while away":  {before: func(*world) {}, away: true},
			"served before, while away": {before: func(w *world) { w.setPools(ipPool("p", f.pool)); w.settle() }, away: true},
		} {
			t.Run(f.name+" "+name, func(t *testing.T) {
				w := newWorld(t)
				w.put(loadBalancer("web", f.with...))
				tt.before(w)
				w.overwrite(named("web"), "kube-vip", f.outside)
				w.settle()
				w.put(loadBalancer("next", f.with...))
				w.settle()
				require.Contains(t, w.condition(named("web")), "To have the status taken over, add "+f.outside+" to a pool.")
				pools := append(w.pools, ipPool("more", f.outside+"-"+f.outside))
				if tt.away {
					w.pools = pools
					w.start()
				} else {
					w.setPools(pools...)
				}
				w.settle()
				assert.Equal(t, f.outside, w.shown("web"))
				assert.Equal(t, fmt.Sprintf("True Allocated: %s from pool \"more\"", f.outside), w.condition(named("web")))
				assert.Empty(t, w.overlap())
				w.start()
				w.settle()
				assert.Equal(t, f.outside, w.shown("web"))
			})
		}
	}
}

// TestManyForeignAddresses: a status with more addresses than a Service can have here is left alone wherever they lie, also after a restart.
func TestManyForeignAddresses(t *testing.T) {
	w := newWorld(t, ipPool("lan", "192.0.2.100-192.0.2.120"))
	w.put(loadBalancer("ingress"))
	w.queue = nil
	w.overwrite(named("ingress"), "k3s", "192.0.2.11", "192.0.2.12", "192.0.2.13")
	w.settle()
	for range 2 {
		assert.Contains(t, w.condition(named("ingress")), `written by field manager "k3s"; it is left alone`)
		assert.NotContains(t, w.condition(named("ingress")), "add 192.0.2.11")
		w.setPools(ipPool("lan", "192.0.2.100-192.0.2.120"), ipPool("nodes", "192.0.2.10-192.0.2.20"))
		w.settle()
		assert.Equal(t, "192.0.2.11 192.0.2.12 192.0.2.13", w.shown("ingress"))
		w.start()
		w.settle()
	}
	w.put(loadBalancer("next", annotated("metallb.io/address-pool", "nodes")))
	w.settle()
	assert.Equal(t, "192.0.2.10", w.shown("next"))
	w.put(loadBalancer("after", annotated("metallb.io/address-pool", "nodes")))
	w.settle()
	assert.Equal(t, "192.0.2.14", w.shown("after"))
}

var statusPatch = regexp.MustCompile(`kubectl -n (\S+) patch service (\S+) --subresource=status --type=merge -p '(.*)'$`)

// TestEmptyTheStatus: the command that the message names gives the Service an address from here: the one that it had, over a restart, too.
func TestEmptyTheStatus(t *testing.T) {
	for _, f := range families {
		for _, restart := range []bool{false, true} {
			w := newWorld(t, ipPool("p", f.pool))
			w.put(loadBalancer("zero", f.with...))
			w.put(loadBalancer("web", f.with...))
			w.settle()
			mine := w.shown("web")
			require.Equal(t, f.second, mine)
			w.overwrite(named("web"), "other-lb", f.outside)
			w.settle()
			w.delete(named("zero"))
			w.settle()
			if restart {
				w.start()
				w.settle()
			}
			w.put(loadBalancer("next", f.with...))
			w.settle()
			command := statusPatch.FindStringSubmatch(w.condition(named("web")))
			require.Len(t, command, 4, w.condition(named("web")))
			assert.Equal(t, []string{"default", "web"}, command[1:3])

			before, err := json.Marshal(w.services[named("web")])
			require.NoError(t, err)
			after, err := jsonpatch.MergePatch(before, []byte(command[3]))
			require.NoError(t, err)
			var emptied corev1.Service
			require.NoError(t, json.Unmarshal(after, &emptied))
			emptied.ManagedFields = nil
			w.services[named("web")] = &emptied
			w.queue = append(w.queue, named("web"))
			w.settle()
			assert.Equal(t, mine, w.shown("web"))
			assert.Contains(t, w.condition(named("web")), "True Allocated")
			assert.Empty(t, w.overlap())
		}
	}
}
