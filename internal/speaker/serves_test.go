package speaker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config"
)

// TestServesBGP: an advertisement that takes the place of another is served before the controller says so, but not one that may be for
// the CNI.
func TestServesBGP(t *testing.T) {
	snapshot := func(names ...string) *config.Snapshot {
		var o config.Objects
		for _, name := range names {
			o.BGPAdvertisements = append(o.BGPAdvertisements, v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}})
		}
		return config.Build(o, nil)
	}
	published := func(names ...string) *v1alpha1.Backend {
		b := &v1alpha1.Backend{}
		for _, name := range names {
			b.Status.Owned.Objects = append(b.Status.Owned.Objects, "BGPAdvertisement/ns/"+name)
		}
		return b
	}
	var u unnamed
	for i, x := range []struct {
		s    *config.Snapshot
		b    *v1alpha1.Backend
		want []bool
	}{
		{snapshot("a"), nil, []bool{false}},
		{snapshot("a"), published("a"), []bool{true}},
		{snapshot("a", "b"), published("a"), []bool{true, true}},
		{snapshot("b"), published("a"), []bool{true}},
		{snapshot("b"), published("b"), []bool{true}},
		{snapshot("b"), published(), []bool{false}},
		{snapshot("b"), published("a"), []bool{false}}, // of which nobody knows whether it named a backend
	} {
		u = u.next(x.s, x.b)
		serves := servesBGP(Auto, x.b, u)
		var got []bool
		for _, a := range x.s.BGPAdvertisements() {
			got = append(got, serves(a))
		}
		assert.Equal(t, x.want, got, i)
	}
}
