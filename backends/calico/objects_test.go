package calico

import (
	"errors"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/backends"
)

// TestOwned: an object is ours by its labels, also where Calico's API server has wrapped them (resources.go in Calico's repository).
func TestOwned(t *testing.T) {
	for _, tc := range []struct {
		name        string
		labels      map[string]string
		annotations map[string]string
		want        bool
	}{
		{name: "no labels"},
		{name: "ours", labels: map[string]string{backends.LabelManagedBy: "fairlead", backends.LabelInstallation: ourNamespace}, want: true},
		{name: "another installation's", labels: map[string]string{backends.LabelManagedBy: "fairlead", backends.LabelInstallation: "another"}},
		{name: "somebody's", labels: map[string]string{backends.LabelManagedBy: "helm", backends.LabelInstallation: ourNamespace}},
		{
			name: "wrapped", want: true,
			annotations: map[string]string{wrapped: `{"labels":{"app.kubernetes.io/managed-by":"fairlead","fairlead.io/installation":"fairlead-system"},"annotations":{"a":"b"}}`},
		},
		{name: "another's, wrapped", annotations: map[string]string{wrapped: `{"labels":{"app.kubernetes.io/managed-by":"fairlead","fairlead.io/installation":"another"}}`}},
		{name: "wrapped, without labels", annotations: map[string]string{wrapped: `{"annotations":{"a":"b"}}`}},
		{name: "wrapped wrongly", annotations: map[string]string{wrapped: `{`}},
		{
			name: "wrapped wrongly, and labelled", want: true, labels: map[string]string{backends.LabelManagedBy: "fairlead", backends.LabelInstallation: ourNamespace},
			annotations: map[string]string{wrapped: `{`},
		},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetLabels(tc.labels)
		u.SetAnnotations(tc.annotations)
		assert.Equal(t, tc.want, (&objects{installation: ourNamespace}).owned(u), tc.name)
	}
}

// TestMissing: a session whose filter or password could not be written would show or be more than is meant.
func TestMissing(t *testing.T) {
	p := &v3.BGPPeer{Spec: v3.BGPPeerSpec{Filters: []string{"hide", "remote"}, Password: &v3.BGPPassword{SecretKeyRef: &corev1.SecretKeySelector{}}}}
	p.Spec.Password.SecretKeyRef.Name = "secret"
	broken := errors.New("forbidden")
	assert.NoError(t, missing(p, "ns", map[string]error{"BGPFilter/other": broken, "Secret/other/secret": broken}))
	for _, key := range []string{"BGPFilter/hide", "BGPFilter/remote", "Secret/ns/secret"} {
		err := missing(p, "ns", map[string]error{key: broken})
		require.ErrorIs(t, err, broken)
		assert.ErrorContains(t, err, key)
	}
}

// TestLostRecord: what is ours is known by what is there.
func TestLostRecord(t *testing.T) {
	s := plan(planned(calicoPeers()))
	w := world{peers: map[string]*v3.BGPPeer{}, filters: map[string]*v3.BGPFilter{}}
	for _, x := range s.objects {
		switch o := x.(type) {
		case *v3.BGPPeer:
			w.peers[o.Name] = o
		case *v3.BGPFilter:
			w.filters[o.Name] = o
		}
	}
	assert.ElementsMatch(t, s.keys(), w.ours("calico-system"))
}
