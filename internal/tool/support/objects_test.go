package support

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fakediscovery "k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"
)

// partly is an API server that does not tell of the kinds of some groups.
type partly struct {
	*fakediscovery.FakeDiscovery
	silent map[string]bool
}

func (p partly) ServerResourcesForGroupVersion(gv string) (*metav1.APIResourceList, error) {
	if p.silent[gv] {
		return nil, errors.New("the server is currently unable to handle the request")
	}
	return p.FakeDiscovery.ServerResourcesForGroupVersion(gv)
}

// TestKinds: a group of which the API server does not tell is not in the archive, and that is said; which others there are does not matter.
func TestKinds(t *testing.T) {
	pool := metav1.APIResource{Name: "bgppeers", Namespaced: true, Kind: "BGPPeer", Verbs: metav1.Verbs{"list"}}
	server := &fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{Resources: []*metav1.APIResourceList{
		{GroupVersion: "metallb.io/v1beta2", APIResources: []metav1.APIResource{pool}},
		{GroupVersion: "projectcalico.org/v3", APIResources: []metav1.APIResource{pool}},
		{GroupVersion: "metrics.k8s.io/v1", APIResources: []metav1.APIResource{pool}},
	}}}
	for _, tc := range []struct {
		name    string
		silent  map[string]bool
		kinds   int
		missing []string
	}{
		{"all", nil, 2, nil},
		{"Calico's", map[string]bool{"projectcalico.org/v3": true, "metrics.k8s.io/v1": true}, 1, []string{"the kinds of group projectcalico.org/v3"}},
		{"ours", map[string]bool{"metallb.io/v1beta2": true}, 1, []string{"the kinds of group metallb.io/v1beta2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &bundle{Options: Options{Discovery: partly{server, tc.silent}}}
			assert.Len(t, b.kinds(), tc.kinds)
			var missing []string
			for _, m := range b.Missing {
				missing = append(missing, m.What)
			}
			assert.Equal(t, tc.missing, missing)
		})
	}
}
