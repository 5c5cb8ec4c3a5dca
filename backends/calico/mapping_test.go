package calico

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
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
var setters = map[string]func(*backends.Desired){
	"BGPAdvertisement ipAddressPools":         func(d *backends.Desired) { d.BGPAdvertisements[0].Pools = pools("other") },
	"BGPAdvertisement ipAddressPoolSelectors": func(d *backends.Desired) { d.BGPAdvertisements[0].Pools = pools("main", "other") },
	"BGPAdvertisement aggregationLength":      func(d *backends.Desired) { d.BGPAdvertisements[0].AggregationLength = 28 },
	"BGPAdvertisement aggregationLengthV6":    func(d *backends.Desired) { d.BGPAdvertisements[0].AggregationLengthV6 = 64 },
	"BGPAdvertisement localPref":              func(d *backends.Desired) { d.BGPAdvertisements[0].LocalPref = 50 },
	"BGPAdvertisement communities":            func(d *backends.Desired) { tagged(1)(&d.BGPAdvertisements[0]) },
	"BGPAdvertisement peers":                  func(d *backends.Desired) { d.BGPAdvertisements[0].Peers = []string{"tor-b"} },
	"BGPAdvertisement nodeSelectors":          func(d *backends.Desired) { from("rack=1")(&d.BGPAdvertisements[0]) },
	"BGPAdvertisement serviceSelectors":       func(d *backends.Desired) { only("app=web")(&d.BGPAdvertisements[0]) },

	"BGPPeer myASN":         func(d *backends.Desired) { d.Peers[0].MyASN = 64999 },
	"BGPPeer peerASN":       func(d *backends.Desired) { d.Peers[0].PeerASN = 64999 },
	"BGPPeer dynamicASN":    func(d *backends.Desired) { d.Peers[0].PeerASN, d.Peers[0].DynamicASN = 0, "external" },
	"BGPPeer localASN":      func(d *backends.Desired) { d.Peers[0].LocalASN = 64999 },
	"BGPPeer peerAddress":   func(d *backends.Desired) { d.Peers[0].Address = netip.MustParseAddr("192.0.2.9") },
	"BGPPeer interface":     func(d *backends.Desired) { d.Peers[0].Address, d.Peers[0].Interface = netip.Addr{}, "eth0" },
	"BGPPeer sourceAddress": func(d *backends.Desired) { d.Peers[0].SourceAddress = netip.MustParseAddr("192.0.2.8") },
	"BGPPeer peerPort":      func(d *backends.Desired) { d.Peers[0].Port = 1179 },
	"BGPPeer holdTime":      func(d *backends.Desired) { d.Peers[0].HoldTime = new(9 * time.Second) },
	"BGPPeer keepaliveTime": func(d *backends.Desired) { d.Peers[0].KeepaliveTime = new(3 * time.Second) },
	"BGPPeer connectTime":   func(d *backends.Desired) { d.Peers[0].ConnectTime = 5 * time.Second },
	"BGPPeer routerID":      func(d *backends.Desired) { d.Peers[0].RouterID = netip.MustParseAddr("192.0.2.8") },
	"BGPPeer nodeSelectors": func(d *backends.Desired) { d.Peers[0].NodeSelectors = []labels.Selector{selector("rack=1")} },
	// The caller reads the Secret: both ways to give a password arrive as one.
	"BGPPeer password":               func(d *backends.Desired) { d.Peers[0].Password = "another" },
	"BGPPeer passwordSecret":         func(d *backends.Desired) { d.Peers[0].Password = "another" },
	"BGPPeer bfdProfile":             func(d *backends.Desired) { d.Peers[0].BFDProfile = "fast" },
	"BGPPeer enableGracefulRestart":  func(d *backends.Desired) { d.Peers[0].GracefulRestart = true },
	"BGPPeer ebgpMultiHop":           func(d *backends.Desired) { d.Peers[0].MultiHop = true },
	"BGPPeer vrf":                    func(d *backends.Desired) { d.Peers[0].VRF = "red" },
	"BGPPeer disableMP":              func(d *backends.Desired) { d.Peers[0].DisableMP = true },
	"BGPPeer dualStackAddressFamily": func(d *backends.Desired) { d.Peers[0].DualStack = true },
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
	used := map[string]bool{}
	for _, m := range Mapping() {
		name := m.Kind + " " + m.Field
		t.Run(name, func(t *testing.T) {
			assert.True(t, m.How == backends.Expressed || m.Note != "", "the user is not told why")
			assert.Equal(t, m.How != backends.Refused, m.To != "", "a field that is honoured goes somewhere")
			set := setters[name]
			switch m.Kind {
			case "BFDProfile": // nothing but its name reaches a backend
				set = setters["BGPPeer bfdProfile"]
			case "Community":
				set = setters["BGPAdvertisement communities"]
			case "L2Advertisement": // none is served
				assert.Equal(t, backends.Refused, m.How)
				return
			}
			require.NotNil(t, set, "nothing shows what becomes of it")
			used[name] = true
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
			case slices.Contains(alwaysSo, name):
				assert.Equal(t, plain, got)
				assert.True(t, strings.HasPrefix(m.Note, "Always"))
			default:
				assert.NotEqual(t, plain, got, "nothing is different")
				assert.Empty(t, findings)
			}
		})
	}
	for name := range setters {
		assert.True(t, used[name], "%s is not in the table", name)
	}
}

func TestMappingIsSortedAndUnique(t *testing.T) {
	var kinds []string
	seen := map[string]bool{}
	for _, m := range Mapping() {
		if !slices.Contains(kinds, m.Kind) {
			kinds = append(kinds, m.Kind)
		}
		id := fmt.Sprint(m.Kind, m.Field)
		assert.False(t, seen[id], "%s twice", id)
		seen[id] = true
		assert.True(t, m.Note == "" || strings.HasSuffix(m.Note, "."), "%s is not a sentence", m.Note)
	}
	assert.Equal(t, []string{"BGPAdvertisement", "L2Advertisement", "BGPPeer", "BFDProfile", "Community"}, kinds)
}
