package cilium

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
)

// base is a desired set in which each field can be set.
func base() backends.Desired {
	return backends.Desired{
		BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")},
		L2Advertisements:  []backends.L2Advertisement{l2("a")},
		Peers:             []backends.Peer{router("tor-a", "192.0.2.1"), router("tor-b", "2001:db8::1")},
		Nodes:             []backends.Node{node("n1", "rack", "1"), node("n2")},
	}
}

// setters set one field of base; what they set differs from the default.
func setters() map[string]backendtest.Setter {
	out := backendtest.PeerSetters()
	maps.Copy(out, map[string]backendtest.Setter{
		"BGPAdvertisement ipAddressPools":         func(d *backends.Desired) { d.BGPAdvertisements[0].Pools = pools("other") },
		"BGPAdvertisement ipAddressPoolSelectors": func(d *backends.Desired) { d.BGPAdvertisements[0].Pools = pools("main", "other") },
		"BGPAdvertisement aggregationLength":      func(d *backends.Desired) { d.BGPAdvertisements[0].AggregationLength = 24 },
		"BGPAdvertisement aggregationLengthV6":    func(d *backends.Desired) { d.BGPAdvertisements[0].AggregationLengthV6 = 64 },
		"BGPAdvertisement localPref":              func(d *backends.Desired) { d.BGPAdvertisements[0].LocalPref = 50 },
		"BGPAdvertisement communities": func(d *backends.Desired) {
			d.BGPAdvertisements[0].Communities = []backends.Community{{Parts: [3]uint32{64512, 1}}}
		},
		"BGPAdvertisement peers": func(d *backends.Desired) { d.BGPAdvertisements[0].Peers = []string{"tor-b"} },
		"BGPAdvertisement nodeSelectors": func(d *backends.Desired) {
			d.BGPAdvertisements[0].NodeSelectors = []labels.Selector{selector("rack=1")}
		},
		"BGPAdvertisement serviceSelectors": func(d *backends.Desired) {
			d.BGPAdvertisements[0].ServiceSelectors = []labels.Selector{selector("app=web")}
		},

		"L2Advertisement ipAddressPools":         func(d *backends.Desired) { d.L2Advertisements[0].Pools = pools("other") },
		"L2Advertisement ipAddressPoolSelectors": func(d *backends.Desired) { d.L2Advertisements[0].Pools = pools("main", "other") },
		"L2Advertisement nodeSelectors": func(d *backends.Desired) {
			d.L2Advertisements[0].NodeSelectors = []labels.Selector{selector("rack=1")}
		},
		"L2Advertisement preferredNodeSelectors": func(d *backends.Desired) { d.L2Advertisements[0].PrefersNodes = true },
		"L2Advertisement interfaces":             func(d *backends.Desired) { d.L2Advertisements[0].Interfaces = []string{"eth0"} },
		"L2Advertisement serviceSelectors": func(d *backends.Desired) {
			d.L2Advertisements[0].ServiceSelectors = []labels.Selector{selector("app=web")}
		},
	})
	return out
}

// TestMapping ties the table to the translation: a field that is expressed or approximated changes an object, one that is refused
// is found, and of one that is approximated the note is true in the way that can be seen here.
func TestMapping(t *testing.T) {
	plain := run(base())
	require.Empty(t, plain.findings)
	backendtest.Mapping(t, Mapping(), setters(), func(t *testing.T, m backends.FieldMapping, set backendtest.Setter) {
		require.NotNil(t, set, "nothing shows what becomes of it")
		want := base()
		set(&want)
		got := run(want)
		if m.How == backends.Refused {
			require.NotEmpty(t, got.findings)
			return
		}
		assert.NotEqual(t, render(t, plain.objects), render(t, got.objects), "no object is different")
		if m.How == backends.Expressed {
			assert.Empty(t, got.findings)
		}
	})
}

// TestRefusedFields: findings name the object and the field.
func TestRefusedFields(t *testing.T) {
	for _, m := range Mapping() {
		set, ok := setters()[m.Kind+" "+m.Field]
		if m.How != backends.Refused || !ok {
			continue
		}
		want := base()
		set(&want)
		found := run(want).findings
		require.Len(t, found, 1, m.Field)
		assert.Equal(t, backends.UnsupportedField, found[0].Type, m.Field)
		assert.Equal(t, m.Kind, found[0].Object.Kind, m.Field)
		assert.Equal(t, "spec."+m.Field, found[0].Field)
	}
}
