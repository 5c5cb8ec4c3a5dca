package config

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// reports is a reporter with an API server that counts writes.
func reports(t *testing.T, node string) (*reporter, client.Client, *int) {
	scheme := runtime.NewScheme()
	require.NoError(t, v1beta1.AddToScheme(scheme))
	patches := new(int)
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1beta1.ConfigurationState{}).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			*patches++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	return &reporter{client: c, namespace: "metallb-system", node: node, log: slog.New(slog.DiscardHandler)}, c, patches
}

func TestStateIsMended(t *testing.T) {
	r, c, patches := reports(t, "")
	read := func() (x v1beta1.ConfigurationState) {
		require.NoError(t, c.Get(t.Context(), client.ObjectKey{Namespace: "metallb-system", Name: "controller"}, &x))
		return x
	}
	faulty := &Snapshot{faults: []Fault{{Object: Ref{Kind: "IPAddressPool", Name: "b"}, Field: "spec.addresses[0]", Problem: "overlaps"}}}
	require.NoError(t, r.writeState(t.Context(), faulty))
	assert.Contains(t, read().Status.ErrorSummary, "overlaps")
	require.NoError(t, r.writeState(t.Context(), &Snapshot{}))
	assert.Empty(t, read().Status.ErrorSummary, "mended")
	assert.Equal(t, v1beta1.ConfigurationValid, read().Status.Result)
	before := *patches
	for range 3 {
		require.NoError(t, r.writeState(t.Context(), &Snapshot{}))
	}
	assert.Equal(t, before, *patches, "nothing has changed")

	x := read()
	x.Status.Result, x.Status.ErrorSummary = v1beta1.ConfigurationInvalid, "made up"
	require.NoError(t, c.Status().Update(t.Context(), &x))
	require.NoError(t, r.writeState(t.Context(), &Snapshot{}))
	assert.Equal(t, v1beta1.ConfigurationValid, read().Status.Result, "put right")
	assert.Empty(t, read().Status.ErrorSummary)
}

// TestLongNodeName has nodes whose names are too long for a label, or for the name of an object together with what precedes it.
func TestLongNodeName(t *testing.T) {
	label := strings.Repeat("a", 63)
	names := map[string]bool{}
	for _, node := range []string{"n1", label, label + ".b", label + ".c", label + "." + label + "." + label + "." + label[:61], label + "." + label + "." + label + "." + label[:60] + "b"} {
		require.Empty(t, validation.IsDNS1123Subdomain(node))
		r, c, _ := reports(t, node)
		require.NoError(t, r.writeState(t.Context(), &Snapshot{}))
		var x v1beta1.ConfigurationState
		require.NoError(t, c.Get(t.Context(), client.ObjectKey{Namespace: "metallb-system", Name: SpeakerState(node)}, &x))
		assert.Empty(t, validation.IsDNS1123Subdomain(x.Name), node)
		for _, v := range x.Labels {
			assert.Empty(t, validation.IsValidLabelValue(v), node)
		}
		require.False(t, names[x.Name], node)
		names[x.Name] = true
	}
	assert.True(t, names["speaker-n1"])
}

func TestAbout(t *testing.T) {
	peer := func(name string, selectors ...metav1.LabelSelector) v1beta2.BGPPeer {
		return v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta2.BGPPeerSpec{NodeSelectors: selectors}}
	}
	on := func(node string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchLabels: map[string]string{"node": node}}
	}
	peers := []v1beta2.BGPPeer{
		peer("all"), peer("mine", on("n1"), on("n2")), peer("theirs", on("n2")),
		peer("broken", metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Near"}}}),
	}
	faults := []Fault{{Object: Ref{Kind: "IPAddressPool", Name: "theirs"}}}
	for i := range peers {
		faults = append(faults, Fault{Object: refOf(v1beta2.GroupVersion, "BGPPeer", peers[i].ObjectMeta)})
	}
	var got []string
	for _, f := range about(faults, peers, labels.Set{"node": "n1"}) {
		got = append(got, f.Object.Kind+"/"+f.Object.Name)
	}
	assert.Equal(t, []string{"IPAddressPool/theirs", "BGPPeer/all", "BGPPeer/mine", "BGPPeer/broken"}, got)
	assert.Len(t, faults, 5, "the list itself stays")
}

func TestWaits(t *testing.T) {
	f := Fault{Object: Ref{Kind: "BGPPeer", Name: "tor"}, Field: "spec.passwordSecret", Problem: `there is no Secret "x"`, Waits: true}
	w := &Watcher{reporter: &reporter{node: "n1"}, reader: fake.NewClientBuilder().Build()}
	w.SetWaits([]Fault{f})
	got := w.aboutNode(t.Context(), nil)
	require.Equal(t, []Fault{f}, got)
	assert.Equal(t, `spec.passwordSecret: there is no Secret "x"; until then a session that is up stays, and another does not begin`, got[0].Message())
	w.SetWaits(nil)
	assert.Empty(t, w.aboutNode(t.Context(), nil))
}
