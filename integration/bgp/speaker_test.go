package bgp

import (
	"encoding/json"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"os"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

var await = routing.Await

// speaker is a process with a Backend in a host.
type speaker struct {
	t    testing.TB
	p    *netlab.Process
	conn net.Conn
	in   *json.Decoder
	want backends.NodeDesired
}

// speak starts a speaker in a host.
func startSpeaker(t testing.TB, l *netlab.Lab, h *netlab.Host, c bgp.Config, rights *netlab.Rights) *speaker {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir, err := os.MkdirTemp(l.Dir(), "speaker")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o777))
	path := filepath.Join(dir, "s")
	c.NodeName = h.Name()
	config, err := json.Marshal(struct {
		NodeName   string
		ListenPort uint16
	}{c.NodeName, c.ListenPort})
	require.NoError(t, err)
	s := &speaker{t: t, p: h.Start(netlab.StartOptions{Name: "speaker", Rights: rights, Env: []string{
		socketEnv + "=" + path, socketEnv + "_CONFIG=" + string(config),
	}}, self)}
	await(t, "the speaker's socket", func() bool {
		s.conn, err = net.Dial("unix", path)
		return err == nil
	})
	t.Cleanup(func() { _ = s.conn.Close() })
	s.in = json.NewDecoder(s.conn)
	return s
}

func (s *speaker) order(o order) report {
	s.t.Helper()
	require.NoError(s.t, json.NewEncoder(s.conn).Encode(o))
	var r report
	require.NoError(s.t, s.in.Decode(&r))
	return r
}

// apply applies what s wants now.
func (s *speaker) apply() {
	s.t.Helper()
	require.Empty(s.t, s.order(order{Apply: &s.want}).Errors)
}

// session returns the session with a peer.
func (s *speaker) session(peer string) bgp.Session {
	s.t.Helper()
	for _, x := range s.order(order{}).Sessions {
		if x.Peer == peer {
			return x
		}
	}
	return bgp.Session{}
}

// established waits for sessions.
func (s *speaker) established(peers ...string) {
	s.t.Helper()
	for _, p := range peers {
		await(s.t, "the session with "+p, func() bool { return s.session(p).State == bgp.Established })
	}
}

// peer returns a peer with the usual settings.
func peer(name string, addr netip.Addr, my, their uint32, change ...func(*backends.Peer)) backends.Peer {
	p := backends.Peer{
		Source: backends.Source{Kind: "BGPPeer", Namespace: "fairlead-system", Name: name},
		MyASN:  my, PeerASN: their, Address: addr, ConnectTime: time.Second,
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

// routes returns routes to every peer.
func routes(prefixes ...string) []backends.Route {
	var out []backends.Route
	for _, p := range prefixes {
		out = append(out, backends.Route{Prefix: netip.MustParsePrefix(p)})
	}
	return out
}
