package assign

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestNothingNewBeforeTheCNIIsKnown: after a start, Services keep what they have, nothing is written to those that have something, and
// nothing new is given out before the CNI has been looked at; then those who wait are served in their turn.
func TestNothingNewBeforeTheCNIIsKnown(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, ipPool("p", f.first+"-"+f.second))
			w.put(loadBalancer("has", f.with...))
			w.settle()
			w.shut = true
			w.start()
			w.put(loadBalancer("waits", f.with...))
			w.put(loadBalancer("last", f.with...))
			writes := w.writes
			w.edit("has", annotated("metallb.io/loadBalancerIPs", f.second))
			w.settle()
			assert.Equal(t, f.first, w.shown("has"))
			assert.Equal(t, writes+2, w.writes, "only those who wait are told")
			for _, name := range []string{"waits", "last"} {
				assert.Empty(t, w.shown(name))
				assert.Contains(t, w.condition(named(name)), "False CNIUnknown: the CNI has not been looked at yet")
			}
			w.setPools(w.pools...)
			w.settle()
			assert.Empty(t, w.shown("waits"))
			assert.Empty(t, w.takeEvents()[1:], "waiting for the CNI is no event")

			w.assigner.OpenGate(w.namespace)
			w.settle()
			assert.Equal(t, f.second, w.shown("waits"), "who has waited longest comes first")
			assert.Equal(t, f.first, w.shown("has"))
			assert.Contains(t, w.condition(named("has")), "True AddressKept")
			assert.Contains(t, w.condition(named("last")), "False PoolExhausted")
		})
	}
}
