package cni

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/backends"
	bycalico "github.com/fairlead/fairlead/backends/calico"
	bycilium "github.com/fairlead/fairlead/backends/cilium"
)

// unproven are the fields that docs/delegation.md says a CNI does, by backend, and for which no row shows a route: what is announced on
// the local network is not one.
var unproven = map[string][]string{
	"cilium": {
		"L2Advertisement ipAddressPools", "L2Advertisement ipAddressPoolSelectors", "L2Advertisement nodeSelectors", "L2Advertisement serviceSelectors",
	},
}

// TestExpressed: docs/delegation.md, which is made from Mapping, says of a field that a CNI does it only where a row shows routes that
// came of it.
func TestExpressed(t *testing.T) {
	for backend, all := range map[string][]backends.FieldMapping{"calico": bycalico.Mapping(), "cilium": bycilium.Mapping()} {
		shown := map[string]bool{}
		for _, r := range rows() {
			if len(r.Only) > 0 && !slices.Contains(r.Only, backend) {
				continue
			}
			maps.Copy(shown, shows(t, r, backend))
		}
		var missing []string
		for _, m := range all {
			if name := m.Kind + " " + m.Field; m.How == backends.Expressed && !shown[name] {
				missing = append(missing, name)
			}
		}
		assert.ElementsMatch(t, unproven[backend], missing, "%s: expressed, and no row shows a route", backend)
	}
}

// shows returns the fields of users' objects that a row sets in steps whose routes are as meant.
func shows(t *testing.T, r Row, backend string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, name := range r.Shows {
		out[name] = true
	}
	for _, step := range r.Steps {
		if _, instead := step.Instead[backend]; instead || step.Routes == "" {
			continue
		}
		if !r.OwnPeers { // they come with PeerYAML
			out["BGPPeer peerASN"], out["BGPPeer peerAddress"], out["BGPPeer myASN"] = true, true, true
		}
		for doc := range strings.SplitSeq(step.Apply, "\n---") {
			var o struct {
				Kind string
				Spec map[string]any
			}
			require.NoError(t, yaml.Unmarshal([]byte(strings.ReplaceAll(doc, "\t", "  ")), &o), doc)
			for field := range o.Spec {
				out[o.Kind+" "+field] = true
			}
		}
	}
	return out
}
