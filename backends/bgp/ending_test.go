package bgp

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// held has a session that comes to its end only when done is closed.
func held(b *Backend, k key, name string) *session {
	s := newSession(settings{key: k, localASN: 65001, peerASN: 65002}, &b.config, newEngine(b.config.Log), b.note)
	s.cancel = func() {}
	s.name = name
	b.sessions[k] = s
	return s
}

// TestSlowEnd has a router that takes nothing when its session ends: nobody waits for it, but for the session that is to follow it.
func TestSlowEnd(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		t.Run(addr, func(t *testing.T) {
			b := New(Config{NodeName: "n1"})
			b.running = true
			k := key{address: netip.MustParseAddr(addr), port: defaultPort}
			slow := held(b, k, "slow")
			ctx := context.Background()
			require.NoError(t, b.Apply(ctx, backends.NodeDesired{})) // returns
			assert.Empty(t, b.Sessions())
			peer := backends.Peer{Source: backends.Source{Kind: "BGPPeer", Name: "slow"}, Address: k.address, MyASN: 65001, PeerASN: 65003}
			other := peer
			other.Source.Name, other.VRF = "other", "no-such-vrf"
			require.NoError(t, b.Apply(ctx, backends.NodeDesired{Peers: []backends.Peer{peer, other}}))
			sessions := b.Sessions()
			require.Len(t, sessions, 1, "the other peer's begins, the one that follows does not yet")
			assert.Equal(t, "other", sessions[0].Peer)
			<-b.changes
			close(slow.done)
			for len(b.Sessions()) < 2 {
				<-b.changes
			}
			require.NoError(t, b.Apply(ctx, backends.NodeDesired{}))
			b.ends.Wait()
			assert.Len(t, b.idle, 2, "GoBGP's servers are used again")
			assert.Empty(t, b.ending)
		})
	}
}

// TestDownEndsOne has several peers at one address.
func TestDownEndsOne(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"192.0.2.1", "2001:db8::1", "fe80::1"} {
		t.Run(addr, func(t *testing.T) {
			b := New(Config{NodeName: "n1"})
			at := netip.MustParseAddr(addr)
			b.plan = plan{}
			all := map[string]*session{}
			for name, k := range map[string]key{
				"lost": {address: at, port: 179}, "port": {address: at, port: 1179}, "red": {address: at, vrf: "red", port: 179}, "unnumbered": {iface: "eth0", port: 179},
			} {
				all[name] = held(b, k, name)
				b.plan[k] = &planned{name: name}
			}
			b.Down("lost")
			b.Down("nobody")
			for name, s := range all {
				assert.Equal(t, name == "lost", len(s.drop) == 1, name)
			}
		})
	}
}

// TestManyBegin has sessions of several routers begin at the same time, again and again: GoBGP's servers share variables, which go test
// -race watches.
func TestManyBegin(t *testing.T) {
	t.Parallel()
	b, _ := running(t)
	var stubs []*stub
	for i := range 4 {
		stubs = append(stubs, newStub(t, 65002+uint32(i), ipv4))
	}
	for round := range 3 {
		var want backends.NodeDesired
		for i, s := range stubs {
			p := s.peer(string(rune('a' + i)))
			hold := time.Duration(10+round) * time.Second
			p.HoldTime = &hold
			want.Peers = append(want.Peers, p)
		}
		want.Routes = []backends.Route{{Prefix: netip.MustParsePrefix("198.51.100.1/32")}}
		require.NoError(t, b.Apply(context.Background(), want))
		for _, s := range stubs {
			s.await("a session with the new hold time", func() bool { return len(s.opens) > round && s.opens[round].hold == *want.Peers[0].HoldTime })
			s.hears("198.51.100.1/32 via 127.0.0.1")
		}
	}
}
