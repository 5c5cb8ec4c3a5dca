package apply

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	fakeclient "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/fairlead/fairlead/api/v1alpha1"
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

// TestWaits: a Backend object says what it waits for until it is reported of again; where there is none, nothing is said.
func TestWaits(t *testing.T) {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	c := fakeclient.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Backend{}).Build()
	s := &State{Client: c, Name: "calico", Installation: "metallb-system"}
	conditions := func() (out []string) {
		o, err := s.get(t.Context())
		require.NoError(t, err)
		if o != nil {
			for _, c := range o.Status.Conditions {
				out = append(out, c.Type+" "+c.Reason+": "+c.Message)
			}
		}
		return out
	}
	goesOn, err := s.Waits(t.Context(), "cilium: n1 is Active")
	require.NoError(t, err)
	assert.False(t, goesOn)
	assert.Empty(t, conditions())
	require.NoError(t, s.Report(t.Context(), nil, &backends.Outcome{}, nil))
	goesOn, err = s.Waits(t.Context(), "cilium: n1 is Active")
	require.NoError(t, err)
	assert.True(t, goesOn)
	ready := "Ready Applied: everything wanted is in place"
	assert.Equal(t, []string{ready, "HandingOver NotHeard: goes on until another backend is heard. cilium: n1 is Active"}, conditions())
	require.NoError(t, s.Report(t.Context(), nil, &backends.Outcome{}, nil))
	assert.Equal(t, []string{ready}, conditions())
	goesOn, err = (&State{Client: c, Name: "calico", Installation: "other"}).Waits(t.Context(), "x")
	require.NoError(t, err)
	assert.False(t, goesOn, "it is another installation's")
}
