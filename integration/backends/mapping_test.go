package backends

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
)

// TestMappings: the table of a backend has every field of the user's objects, and no other.
func TestMappings(t *testing.T) {
	var fields []string
	for _, kind := range []struct {
		name string
		spec any
	}{
		{"BGPAdvertisement", v1beta1.BGPAdvertisementSpec{}}, {"L2Advertisement", v1beta1.L2AdvertisementSpec{}}, {"BGPPeer", v1beta2.BGPPeerSpec{}},
		{"BFDProfile", v1beta1.BFDProfileSpec{}}, {"Community", v1beta1.CommunitySpec{}},
	} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(kind.spec)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, kind.name+" "+name)
		}
	}
	for name, mapping := range map[string][]backends.FieldMapping{"calico": calico.Mapping(), "cilium": cilium.Mapping()} {
		var got []string
		for _, m := range mapping {
			got = append(got, m.Kind+" "+m.Field)
		}
		assert.ElementsMatch(t, fields, got, name)
	}
}
