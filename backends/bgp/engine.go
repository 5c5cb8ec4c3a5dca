package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
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

// loopback is where GoBGP servers listen.
const loopback = "127.0.0.1"

// engine is a GoBGP server without routes and with one neighbour, which is the wire. GoBGP waits a second or two before it connects to a
// neighbour, so it is the wire that connects. Other processes of the machine can connect, too: what makes the wire the neighbour is that
// it comes from an address that only it knows, and that it comes first.
//
// GoBGP has no way to end a server, so one that is stopped is used again.
type engine struct {
	server *server.BgpServer
	port   uint16
	wire   netip.Addr // the neighbour's address
}

// globals guards table.SelectionOptions and table.UseMultiplePaths, variables of a package of GoBGP 3.37 that all servers of a process
// share: StartBgp of one server writes them, and any server reads them when a session is established (see establish) or ends. What is
// written is always the same.
var globals sync.RWMutex

func newEngine(log *slog.Logger) *engine {
	e := &engine{server: server.NewBgpServer(server.LoggerOption(&logger{log: log}))}
	go e.server.Serve() // for ever: see engine
	return e
}

// ports is how many ports are tried before there seems to be none.
const ports = 5

// start has the server listen on a port of loopback.
func (e *engine) start(ctx context.Context, s *settings) error {
	var err error
	for range ports {
		if e.port, err = freePort(); err != nil {
			break
		}
		global := &api.Global{
			Asn: s.localASN, ListenPort: int32(e.port), ListenAddresses: []string{loopback},
			RouterId: loopback, // the router sees what the wire says
			Families: []uint32{0, 1},
		}
		globals.Lock()
		err = e.server.StartBgp(ctx, &api.StartBgpRequest{Global: global})
		globals.Unlock()
		if err == nil {
			e.wire = anyLoopback()
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return fmt.Errorf("start GoBGP: %w", err)
}

// connect makes the wire a neighbour of the server, and returns its connection. After that, disconnect is to be called.
func (e *engine) connect(ctx context.Context, s *settings) (*net.TCPConn, error) {
	// Hold time 0 is between the wire and the router only: GoBGP cannot do without timers.
	hold, keepalive := s.hold, s.keepalive
	if hold == 0 {
		hold, keepalive = defaultHold, defaultHold/3
	}
	peer := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: e.wire.String(), PeerAsn: s.peerASN, LocalAsn: s.localASN},
		Transport: &api.Transport{PassiveMode: true},
		Timers:    &api.Timers{Config: &api.TimersConfig{HoldTime: uint64(hold.Seconds()), KeepaliveInterval: uint64(keepalive.Seconds())}},
	}
	for _, f := range s.families() {
		peer.AfiSafis = append(peer.AfiSafis, &api.AfiSafi{Config: &api.AfiSafiConfig{Family: f.api(), Enabled: true}})
	}
	if err := e.server.AddPeer(ctx, &api.AddPeerRequest{Peer: peer}); err != nil {
		return nil, fmt.Errorf("have GoBGP wait: %w", err)
	}
	e.await(ctx, api.PeerState_ACTIVE) // before that it turns connections away
	c, err := dialLoopback(ctx, e.wire, e.port)
	if err != nil {
		_ = e.disconnect(ctx)
	}
	return c, err
}

// disconnect ends the neighbour.
func (e *engine) disconnect(ctx context.Context) error {
	globals.RLock()
	defer globals.RUnlock()
	return e.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: e.wire.String()})
}

// elsewhere has the wire come from another address the next time: somebody else came from this one.
func (e *engine) elsewhere() { e.wire = anyLoopback() }

// stop ends what start began.
func (e *engine) stop(ctx context.Context) error {
	globals.RLock()
	defer globals.RUnlock()
	return e.server.StopBgp(ctx, &api.StopBgpRequest{})
}

// establish calls hand, which gives GoBGP the message that establishes its session, and waits until GoBGP has done so.
func (e *engine) establish(ctx context.Context, hand func() error) error {
	globals.RLock()
	defer globals.RUnlock()
	if err := hand(); err != nil {
		return err
	}
	e.await(ctx, api.PeerState_ESTABLISHED)
	return nil
}

// stateWait is how long GoBGP gets to come to a state before nobody waits for it any more.
const stateWait = time.Second

// await waits until GoBGP's session with the wire is in a state. It tells no error: that shows on the wire.
func (e *engine) await(ctx context.Context, state api.PeerState_SessionState) {
	ctx, cancel := context.WithTimeout(ctx, stateWait)
	defer cancel()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		there := false
		err := e.server.ListPeer(ctx, &api.ListPeerRequest{Address: e.wire.String()}, func(p *api.Peer) {
			there = p.GetState().GetSessionState() == state
		})
		if there || err != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}
