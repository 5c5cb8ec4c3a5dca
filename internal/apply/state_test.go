package apply

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/backends"
)

// TestLacking: a backend is not ready while something that is wanted is not there, or nobody acts on it.
func TestLacking(t *testing.T) {
	peer := backends.Source{Kind: "BGPPeer", Namespace: "metallb-system", Name: "tor"}
	for _, tc := range []struct {
		name     string
		findings []backends.Finding
		want     string
	}{
		{name: "nothing"},
		{name: "a field that is not honoured", findings: []backends.Finding{{Type: backends.UnsupportedField, Object: peer, Field: "spec.bfdProfile", Message: "no BFD"}}},
		{name: "a session that is refused", findings: []backends.Finding{
			{Type: backends.UnsupportedField, Object: peer, Field: "spec.bfdProfile", Message: "no BFD"}, {Type: backends.UnsupportedField, Object: peer, Message: "refused", Missing: true},
		}, want: "BGPPeer/metallb-system/tor: refused"},
		{name: "nobody acts, and nobody reads", findings: []backends.Finding{
			{Type: backends.BackendInactive, Object: peer, Message: "nobody selects it"}, {Type: backends.ConfigFrozen, Object: peer, Message: "a faulty entry"},
		}, want: "BGPPeer/metallb-system/tor: nobody selects it; BGPPeer/metallb-system/tor: a faulty entry"},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, lacking(&backends.Outcome{Findings: tc.findings})) })
	}
	assert.Empty(t, lacking(nil))
}
