package backends

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestDocs: docs/delegation.md explains what there is. Its tables of fields are made from integration/cni.
func TestDocs(t *testing.T) {
	file := testbed.Folder("docs", "delegation.md")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	text := string(b)
	for _, f := range []backends.FindingType{
		backends.UnsupportedField, backends.BackendInactive, backends.Contended, backends.IPAMConflict, backends.PeerExists, backends.CoveredByExisting,
		backends.ConfigFrozen, backends.HandingOver, backends.SharedAddress,
	} {
		assert.Contains(t, text, fmt.Sprintf("\n| `%s` |", f), "the condition is not explained")
	}
	for _, a := range calico.Aggregations {
		assert.Contains(t, text, fmt.Sprintf("\n| `%s` |", a), "the aggregation is not explained")
	}
	options, err := os.ReadFile(testbed.Folder("cmd", "controller", "options.go"))
	require.NoError(t, err)
	for _, name := range []string{"backend", "bgp-backend", "l2-backend", "manage-peers", "allow-wider-advertisement", "calico-aggregation", "cilium-namespace"} {
		assert.Contains(t, text, fmt.Sprintf("\n| `--%s` |", name))
		assert.Contains(t, string(options), fmt.Sprintf("%q", name), "there is no such flag")
	}
}
