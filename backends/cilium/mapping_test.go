package cilium

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
var setters = map[string]func(*backends.Desired){
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
	"L2Advertisement nodeSelectors":          func(d *backends.Desired) { d.L2Advertisements[0].NodeSelectors = []labels.Selector{selector("rack=1")} },
	"L2Advertisement preferredNodeSelectors": func(d *backends.Desired) { d.L2Advertisements[0].PrefersNodes = true },
	"L2Advertisement interfaces":             func(d *backends.Desired) { d.L2Advertisements[0].Interfaces = []string{"eth0"} },
	"L2Advertisement serviceSelectors": func(d *backends.Desired) {
		d.L2Advertisements[0].ServiceSelectors = []labels.Selector{selector("app=web")}
	},

	"BGPPeer myASN":         func(d *backends.Desired) { d.Peers[0].MyASN = 64999 },
	"BGPPeer peerASN":       func(d *backends.Desired) { d.Peers[0].PeerASN = 64999 },
	"BGPPeer dynamicASN":    func(d *backends.Desired) { d.Peers[0].PeerASN, d.Peers[0].DynamicASN = 0, "external" },
	"BGPPeer localASN":      func(d *backends.Desired) { d.Peers[0].LocalASN = 64999 },
	"BGPPeer peerAddress":   func(d *backends.Desired) { d.Peers[0].Address = netip.MustParseAddr("192.0.2.9") },
	"BGPPeer interface":     func(d *backends.Desired) { d.Peers[0].Address, d.Peers[0].Interface = netip.Addr{}, "eth0" },
	"BGPPeer sourceAddress": func(d *backends.Desired) { d.Peers[0].SourceAddress = netip.MustParseAddr("192.0.2.8") },
	"BGPPeer peerPort":      func(d *backends.Desired) { d.Peers[0].Port = 1179 },
	"BGPPeer holdTime":      func(d *backends.Desired) { d.Peers[0].HoldTime = duration(9 * time.Second) },
	"BGPPeer keepaliveTime": func(d *backends.Desired) { d.Peers[0].KeepaliveTime = duration(3 * time.Second) },
	"BGPPeer connectTime":   func(d *backends.Desired) { d.Peers[0].ConnectTime = 5 * time.Second },
	"BGPPeer routerID":      func(d *backends.Desired) { d.Peers[0].RouterID = netip.MustParseAddr("192.0.2.8") },
	"BGPPeer nodeSelectors": func(d *backends.Desired) { d.Peers[0].NodeSelectors = []labels.Selector{selector("rack=1")} },
	// The caller reads the Secret: both ways to give a password arrive as one.
	"BGPPeer password":               func(d *backends.Desired) { d.Peers[0].Password = "s3cret" },
	"BGPPeer passwordSecret":         func(d *backends.Desired) { d.Peers[0].Password = "s3cret" },
	"BGPPeer bfdProfile":             func(d *backends.Desired) { d.Peers[0].BFDProfile = "fast" },
	"BGPPeer enableGracefulRestart":  func(d *backends.Desired) { d.Peers[0].GracefulRestart = true },
	"BGPPeer ebgpMultiHop":           func(d *backends.Desired) { d.Peers[0].MultiHop = true },
	"BGPPeer vrf":                    func(d *backends.Desired) { d.Peers[0].VRF = "red" },
	"BGPPeer disableMP":              func(d *backends.Desired) { d.Peers[0].DisableMP = true },
	"BGPPeer dualStackAddressFamily": func(d *backends.Desired) { d.Peers[0].DualStack = true },
}

func duration(d time.Duration) *time.Duration { return &d }

// TestMapping ties the table to the translation: a field that is expressed or approximated changes an object, one that is refused
// is found, and of one that is approximated the note is true in the way that can be seen here.
func TestMapping(t *testing.T) {
	plain := run(base())
	require.Empty(t, plain.findings)
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
			}
			require.NotNil(t, set, "nothing shows what becomes of it")
			used[name] = true
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
	for name := range setters {
		assert.True(t, used[name], "%s is not in the table", name)
	}
}

// TestRefusedFields: findings name the object and the field.
func TestRefusedFields(t *testing.T) {
	for _, m := range Mapping() {
		set, ok := setters[m.Kind+" "+m.Field]
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
