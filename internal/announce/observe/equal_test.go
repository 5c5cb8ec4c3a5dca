package observe

import (
	"testing"

	"github.com/fairlead/fairlead/backends/backendtest"
)

// TestEqual: a change of anything is told, but for what is kept elsewhere: the name is the key, and EndpointSlices come by themselves.
func TestEqual(t *testing.T) {
	backendtest.EveryField(t, equalService, "Namespace", "Name", "Endpoints")
	backendtest.EveryField(t, equalEndpoints)
	backendtest.EveryField(t, equalNode)
}
