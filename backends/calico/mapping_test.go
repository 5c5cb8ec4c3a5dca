package calico

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
)

// calicoPeers is a desired set in which each field can be set.
func calicoPeers() backends.Desired {
	return backends.Desired{
		Announcements:     append(announce("main", "192.0.2.0/24", "2001:db8::/64"), announce("other", "198.51.100.0/24")...),
		BGPAdvertisements: []backends.BGPAdvertisement{adv("a", pools("main"))},
		Peers:             []backends.Peer{router("tor-a", "192.0.2.1", func(p *backends.Peer) { p.Password = "s3cret" }), router("tor-b", "2001:db8::1")},
		Nodes:             []backends.Node{node("n1", "rack", "1"), node("n2")},
		Services:          []backends.Service{service("web", "main", "192.0.2.7", "2001:db8::7"), service("db", "main", "192.0.2.8")},
	}
}

// setters set one field of calicoPeers; what they set differs from the default.
func setters() map[string]backendtest.Setter {
	out := backendtest.PeerSetters()
	maps.Copy(out, map[string]backendtest.Setter{
		"BGPAdvertisement ipAddressPools":         func(d *backends.Desired) { d.BGPAdvertisements[0].Pools = pools("other") },
		"BGPAdvertisement ipAddressPoolSelectors": func(d *backends.Desired) { d.BGPAdvertisements[0].Pools = pools("main", "other") },
		"BGPAdvertisement aggregationLength":      func(d *backends.Desired) { d.BGPAdvertisements[0].AggregationLength = 28 },
		"BGPAdvertisement aggregationLengthV6":    func(d *backends.Desired) { d.BGPAdvertisements[0].AggregationLengthV6 = 64 },
		"BGPAdvertisement localPref":              func(d *backends.Desired) { d.BGPAdvertisements[0].LocalPref = 50 },
		"BGPAdvertisement communities":            func(d *backends.Desired) { tagged(1)(&d.BGPAdvertisements[0]) },
		"BGPAdvertisement peers":                  func(d *backends.Desired) { d.BGPAdvertisements[0].Peers = []string{"tor-b"} },
		"BGPAdvertisement nodeSelectors":          func(d *backends.Desired) { from("rack=1")(&d.BGPAdvertisements[0]) },
		"BGPAdvertisement serviceSelectors":       func(d *backends.Desired) { only("app=web")(&d.BGPAdvertisements[0]) },
	})
	return out
}

// translated is all that becomes of a desired set, as text, and what is found.
func translated(want backends.Desired) (string, []backends.Finding) {
	r := route(want, with1(func(s *surroundings) { s.managesPeers = true }))
	want.BGPAdvertisements = r.served
	s := plan(planned(want))
	m := merge(merging{want: r})
	return patched(m.spec) + "\n" + rendered(s.objects), slices.Concat(r.findings, s.findings)
}

// alwaysSo are fields that Calico honours without being told.
var alwaysSo = []string{"BGPPeer enableGracefulRestart", "BGPPeer ebgpMultiHop"}

// TestMapping ties the table to the translation: a field that is expressed or approximated changes what is written, one that is
// refused is found.
func TestMapping(t *testing.T) {
	plain, findings := translated(calicoPeers())
	require.Empty(t, findings)
	backendtest.Mapping(t, Mapping(), setters(), func(t *testing.T, m backends.FieldMapping, set backendtest.Setter) {
		if m.Kind == "L2Advertisement" { // none is served
			assert.Equal(t, backends.Refused, m.How)
			return
		}
		require.NotNil(t, set, "nothing shows what becomes of it")
		want := calicoPeers()
		set(&want)
		got, findings := translated(want)
		switch {
		case m.How == backends.Refused:
			require.Len(t, findings, 1)
			assert.Equal(t, backends.UnsupportedField, findings[0].Type)
			if m.Kind != "BFDProfile" {
				assert.Equal(t, m.Kind+" spec."+m.Field, findings[0].Object.Kind+" "+findings[0].Field)
			}
		case slices.Contains(alwaysSo, m.Kind+" "+m.Field):
			assert.Equal(t, plain, got)
			assert.True(t, strings.HasPrefix(m.Note, "Always"))
		default:
			assert.NotEqual(t, plain, got, "nothing is different")
			assert.Empty(t, findings)
		}
	})
}
