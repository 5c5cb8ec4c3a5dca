package backendtest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

// Setter sets one field of a desired set, to something else than the default.
type Setter func(*backends.Desired)

// PeerSetters returns setters for the fields of a BGPPeer, by kind and field: each sets it in the first one of the peers.
func PeerSetters() map[string]Setter {
	of := func(set func(*backends.Peer)) Setter { return func(d *backends.Desired) { set(&d.Peers[0]) } }
	// The caller reads the Secret: both ways to give a password arrive as one.
	password := of(func(p *backends.Peer) { p.Password = "another" })
	return map[string]Setter{
		"BGPPeer myASN":         of(func(p *backends.Peer) { p.MyASN = 64999 }),
		"BGPPeer peerASN":       of(func(p *backends.Peer) { p.PeerASN = 64999 }),
		"BGPPeer dynamicASN":    of(func(p *backends.Peer) { p.PeerASN, p.DynamicASN = 0, "external" }),
		"BGPPeer localASN":      of(func(p *backends.Peer) { p.LocalASN = 64999 }),
		"BGPPeer peerAddress":   of(func(p *backends.Peer) { p.Address = netip.MustParseAddr("192.0.2.9") }),
		"BGPPeer interface":     of(func(p *backends.Peer) { p.Address, p.Interface = netip.Addr{}, "eth0" }),
		"BGPPeer sourceAddress": of(func(p *backends.Peer) { p.SourceAddress = netip.MustParseAddr("192.0.2.8") }),
		"BGPPeer peerPort":      of(func(p *backends.Peer) { p.Port = 1179 }),
		"BGPPeer holdTime":      of(func(p *backends.Peer) { p.HoldTime = new(9 * time.Second) }),
		"BGPPeer keepaliveTime": of(func(p *backends.Peer) { p.KeepaliveTime = new(3 * time.Second) }),
		"BGPPeer connectTime":   of(func(p *backends.Peer) { p.ConnectTime = 5 * time.Second }),
		"BGPPeer routerID":      of(func(p *backends.Peer) { p.RouterID = netip.MustParseAddr("192.0.2.8") }),
		"BGPPeer nodeSelectors": of(func(p *backends.Peer) {
			p.NodeSelectors = []labels.Selector{labels.SelectorFromSet(labels.Set{"rack": "1"})}
		}),
		"BGPPeer password":               password,
		"BGPPeer passwordSecret":         password,
		"BGPPeer bfdProfile":             of(func(p *backends.Peer) { p.BFDProfile = "fast" }),
		"BGPPeer enableGracefulRestart":  of(func(p *backends.Peer) { p.GracefulRestart = true }),
		"BGPPeer ebgpMultiHop":           of(func(p *backends.Peer) { p.MultiHop = true }),
		"BGPPeer vrf":                    of(func(p *backends.Peer) { p.VRF = "red" }),
		"BGPPeer disableMP":              of(func(p *backends.Peer) { p.DisableMP = true }),
		"BGPPeer dualStackAddressFamily": of(func(p *backends.Peer) { p.DualStack = true }),
	}
}

// Mapping tests a backend's table of the fields of the user's objects: for each of them, check gets a setter, or, where the kind itself does
// not reach a backend, that of the field by which it does; nil if there is none. Each setter has to be of a field in the table.
func Mapping(t *testing.T, table []backends.FieldMapping, setters map[string]Setter,
	check func(t *testing.T, m backends.FieldMapping, set Setter)) {
	t.Helper()
	var kinds []string
	there := map[string]bool{}
	for _, m := range table {
		name := m.Kind + " " + m.Field
		require.False(t, there[name], "%s twice", name)
		there[name] = true
		if len(kinds) == 0 || kinds[len(kinds)-1] != m.Kind {
			kinds = append(kinds, m.Kind)
		}
		set := setters[name]
		switch m.Kind {
		case "BFDProfile": // nothing but its name reaches a backend
			set = setters["BGPPeer bfdProfile"]
		case "Community":
			set = setters["BGPAdvertisement communities"]
		}
		t.Run(name, func(t *testing.T) {
			assert.True(t, m.How == backends.Expressed || m.Note != "", "the user is not told why")
			assert.True(t, m.Note == "" || strings.HasSuffix(m.Note, "."), "%s is not a sentence", m.Note)
			assert.Equal(t, m.How != backends.Refused, m.To != "", "a field that is honoured goes somewhere")
			check(t, m, set)
		})
	}
	assert.Equal(t, []string{"BGPAdvertisement", "L2Advertisement", "BGPPeer", "BFDProfile", "Community"}, kinds, "in this order")
	for name := range setters {
		assert.True(t, there[name], "%s is not in the table", name)
	}
}
