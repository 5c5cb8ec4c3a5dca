package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/fairlead/fairlead/backends"
)

// family is an address family, with unicast.
type family uint16

// The families, as IANA numbers them (RFC 4760).
const (
	ipv4 family = 1
	ipv6 family = 2
)

// String returns the name that users know.
func (f family) String() string {
	if f == ipv6 {
		return "ipv6"
	}
	return "ipv4"
}

func familyOf(p netip.Prefix) family {
	if p.Addr().Is6() {
		return ipv6
	}
	return ipv4
}

func (f family) api() *api.Family {
	return &api.Family{Afi: api.Family_Afi(f), Safi: api.Family_SAFI_UNICAST}
}

// loopbackPeer is the only neighbour that a GoBGP server knows: the wire's end on loopback.
const loopbackPeer = "127.0.0.1"

// engine is a GoBGP server with one neighbour. GoBGP has no way to end a server, so one that is stopped is used again.
type engine struct {
	server *server.BgpServer
}

// globals guards variables of GoBGP's packages: StartBgp of one server writes them, and changes of routes in any server read them. A
// session that is being established reads them, too, unguarded; what is written is always the same.
var globals sync.RWMutex

func newEngine(log *slog.Logger) *engine {
	e := &engine{server: server.NewBgpServer(server.LoggerOption(&logger{log: log}))}
	go e.server.Serve() // for ever: see engine
	return e
}

// start has the server connect to the wire at a port of loopback. It listens nowhere.
func (e *engine) start(ctx context.Context, s *settings, port uint16) error {
	global := &api.Global{
		Asn: s.localASN, ListenPort: -1,
		RouterId: loopbackPeer, // the router sees what the wire says
		Families: []uint32{0, 1},
	}
	globals.Lock()
	err := e.server.StartBgp(ctx, &api.StartBgpRequest{Global: global})
	globals.Unlock()
	if err != nil {
		return fmt.Errorf("start GoBGP: %w", err)
	}
	// Hold time 0 is between the wire and the router only: GoBGP cannot do without timers.
	hold, keepalive := s.hold, s.keepalive
	if hold == 0 {
		hold, keepalive = defaultHold, defaultHold/3
	}
	peer := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: loopbackPeer, PeerAsn: s.peerASN, LocalAsn: s.localASN},
		Transport: &api.Transport{RemotePort: uint32(port)},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: 1, HoldTime: uint64(hold.Seconds()), KeepaliveInterval: uint64(keepalive.Seconds()),
		}},
		// It makes GoBGP send End-of-RIB (RFC 4724, 2).
		GracefulRestart: &api.GracefulRestart{Enabled: s.gracefulRestart, RestartTime: uint32(restartTime.Seconds())},
	}
	for _, f := range s.families() {
		peer.AfiSafis = append(peer.AfiSafis, &api.AfiSafi{Config: &api.AfiSafiConfig{Family: f.api(), Enabled: true}})
	}
	if err := e.server.AddPeer(ctx, &api.AddPeerRequest{Peer: peer}); err != nil {
		return fmt.Errorf("start GoBGP: %w", err)
	}
	return nil
}

// stop ends the neighbour and forgets all routes.
func (e *engine) stop(ctx context.Context) error {
	globals.RLock()
	defer globals.RUnlock()
	if err := e.server.DeletePath(ctx, &api.DeletePathRequest{}); err != nil {
		return err
	}
	return e.server.StopBgp(ctx, &api.StopBgpRequest{})
}

// announce tells a prefix, or tells it anew.
func (e *engine) announce(ctx context.Context, p netip.Prefix, hop netip.Addr, r route) error {
	globals.RLock()
	defer globals.RUnlock()
	path, err := pathOf(p, hop, r)
	if err == nil {
		_, err = e.server.AddPath(ctx, &api.AddPathRequest{Path: path})
	}
	return err
}

// withdraw takes a prefix back that was announced like this.
func (e *engine) withdraw(ctx context.Context, p netip.Prefix, hop netip.Addr, r route) error {
	globals.RLock()
	defer globals.RUnlock()
	path, err := pathOf(p, hop, r)
	if err == nil {
		err = e.server.DeletePath(ctx, &api.DeletePathRequest{Path: path})
	}
	return err
}

// pathOf returns a route in GoBGP's terms. A next hop of the other family than the prefix is RFC 8950's.
func pathOf(p netip.Prefix, hop netip.Addr, r route) (*api.Path, error) {
	path := &api.Path{Family: familyOf(p).api()}
	var err error
	pack := func(m proto.Message) *anypb.Any {
		packed, e := anypb.New(m)
		if e != nil {
			err = e
		}
		return packed
	}
	path.Nlri = pack(&api.IPAddressPrefix{Prefix: p.Addr().String(), PrefixLen: uint32(p.Bits())})
	attrs := []*anypb.Any{pack(&api.OriginAttribute{Origin: 0})} // IGP
	if p.Addr().Is4() && hop.Is4() {
		attrs = append(attrs, pack(&api.NextHopAttribute{NextHop: hop.String()}))
	} else {
		attrs = append(attrs, pack(&api.MpReachNLRIAttribute{
			Family: path.Family, NextHops: []string{hop.WithZone("").String()}, Nlris: []*anypb.Any{path.Nlri},
		}))
	}
	if r.localPref != 0 || r.least { // GoBGP takes it out for eBGP
		attrs = append(attrs, pack(&api.LocalPrefAttribute{LocalPref: r.localPref}))
	}
	standard, large := split(r.communities)
	if len(standard) > 0 {
		attrs = append(attrs, pack(&api.CommunitiesAttribute{Communities: standard}))
	}
	if len(large) > 0 {
		attrs = append(attrs, pack(&api.LargeCommunitiesAttribute{Communities: large}))
	}
	path.Pattrs = attrs
	return path, err
}

func split(all []backends.Community) (standard []uint32, large []*api.LargeCommunity) {
	for _, c := range all {
		if c.Large {
			large = append(large, &api.LargeCommunity{GlobalAdmin: c.Parts[0], LocalData1: c.Parts[1], LocalData2: c.Parts[2]})
		} else {
			standard = append(standard, c.Parts[0]<<16|c.Parts[1])
		}
	}
	return standard, large
}
