package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// running returns a Backend that runs until the end of the test, and what ends it before.
func running(t testing.TB) (*Backend, func()) {
	b := New(Config{NodeName: "n1", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, b.Run(ctx)) })
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return b, stop
}

// state is one of the sets of a random walk.
func state(r *rand.Rand, peers []backends.Peer) backends.NodeDesired {
	d := backends.NodeDesired{Peers: peers}
	for i := range 12 {
		if r.IntN(2) == 0 {
			continue
		}
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32)
		if i%3 == 0 {
			p = netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)), 128)
		}
		x := backends.Route{Prefix: p}
		if n := r.IntN(3); n > 0 {
			x.Communities = []backends.Community{{Parts: [3]uint32{65001, uint32(n)}}, {Large: true, Parts: [3]uint32{1, 2, uint32(n)}}}
		}
		switch r.IntN(4) {
		case 0:
			x.Peers = []string{"a"}
		case 1:
			x.Peers = []string{"b"}
		case 2: // differently for each
			other := backends.Route{Prefix: p, Peers: []string{"b"}}
			x.Peers = []string{"a"}
			d.Routes = append(d.Routes, other)
		}
		d.Routes = append(d.Routes, x)
	}
	r.Shuffle(len(d.Routes), func(i, j int) { d.Routes[i], d.Routes[j] = d.Routes[j], d.Routes[i] })
	return d
}

// heard is what a peer is to have in a state: the slow, obvious way. Only v6 prefixes for which there is a next hop are told; on
// loopback there is none.
func heard(d backends.NodeDesired, name string) string {
	var out []string
	for _, r := range d.Routes {
		if len(r.Peers) > 0 && !slices.Contains(r.Peers, name) || r.Prefix.Addr().Is6() {
			continue
		}
		line := r.Prefix.String()
		var attrs []string
		for _, c := range r.Communities {
			if c.Large {
				attrs = append(attrs, fmt.Sprintf("{LargeCommunity: [ %s]}", c))
			} else {
				attrs = append(attrs, fmt.Sprintf("{Communities: %s}", c))
			}
		}
		attrs = append(attrs, "via 127.0.0.1")
		slices.Sort(attrs)
		out = append(out, line+" "+strings.Join(attrs, " "))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// TestRandomWalk goes from any set to any other, in one session.
func TestRandomWalk(t *testing.T) {
	t.Parallel()
	a, c := newStub(t, 65002, ipv4), newStub(t, 65003, ipv4)
	peers := []backends.Peer{a.peer("a"), c.peer("b")}
	b, _ := running(t)
	r := rand.New(rand.NewPCG(1, 2))
	states := make([]backends.NodeDesired, 8)
	for i := range states {
		states[i] = state(r, peers)
	}
	ctx := context.Background()
	for range 60 {
		d := states[r.IntN(len(states))]
		err := b.Apply(ctx, d)
		for _, e := range backends.Flatten(err) {
			if e != nil {
				assert.ErrorContains(t, e, "no peer of this node takes prefixes of its IP family")
			}
		}
		a.hears(heard(d, "a"))
		c.hears(heard(d, "b"))
	}
	for _, s := range []*stub{a, c} {
		s.mu.Lock()
		assert.Equal(t, 1, s.sessions)
		s.mu.Unlock()
	}
	// The empty set withdraws everything and ends the sessions.
	require.NoError(t, b.Apply(ctx, backends.NodeDesired{}))
	for _, s := range []*stub{a, c} {
		s.await("the end", func() bool { return slices.Contains(s.ends, "peer not configured any more (NOTIFICATION 6/3)") })
	}
	assert.Empty(t, b.Sessions())
}

// TestEngineIsUsedAgain changes settings often: GoBGP's servers are never freed, so their number must not grow.
func TestEngineIsUsedAgain(t *testing.T) {
	t.Parallel()
	s := newStub(t, 65002, ipv4)
	b, _ := running(t)
	for i := range 5 {
		p := s.peer("a")
		hold := time.Duration(10+i) * time.Second
		p.HoldTime = &hold
		require.NoError(t, b.Apply(context.Background(), backends.NodeDesired{Peers: []backends.Peer{p}, Routes: []backends.Route{
			{Prefix: netip.MustParsePrefix("198.51.100.1/32")},
		}}))
		s.await("a session with the new hold time", func() bool { return len(s.opens) > i && s.opens[i].hold == hold })
		s.hears("198.51.100.1/32 via 127.0.0.1")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.LessOrEqual(t, len(b.idle)+len(b.sessions), 2)
}

// TestRunAgain ends Run without a word to the router, and the same set is in effect when it is called again.
func TestRunAgain(t *testing.T) {
	t.Parallel()
	s := newStub(t, 65002, ipv4)
	b := New(Config{NodeName: "n1"})
	p := s.peer("a")
	p.GracefulRestart = true
	require.NoError(t, b.Apply(context.Background(), backends.NodeDesired{Peers: []backends.Peer{p}, Routes: []backends.Route{
		{Prefix: netip.MustParsePrefix("198.51.100.1/32")},
	}}))
	for i := range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- b.Run(ctx) }()
		s.hears("198.51.100.1/32 via 127.0.0.1")
		cancel()
		require.NoError(t, <-done)
		s.await("the end", func() bool { return len(s.ends) == i+1 })
		s.mu.Lock()
		assert.Equal(t, "EOF", s.ends[i])
		assert.True(t, s.opens[i].restarting && s.opens[i].gracefulRestart)
		s.mu.Unlock()
	}
	assert.EqualValues(t, 2, s.sessions)
}

// TestChanged is told of each state, and may ask for all of them.
func TestChanged(t *testing.T) {
	t.Parallel()
	s := newStub(t, 65002, ipv4)
	up := make(chan Session, 1)
	var b *Backend
	b = New(Config{NodeName: "n1", Changed: func() {
		for _, x := range b.Sessions() {
			if x.State == Established {
				select {
				case up <- x:
				default:
				}
			}
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	require.NoError(t, b.Apply(ctx, backends.NodeDesired{Peers: []backends.Peer{s.peer("a")}}))
	x := <-up
	assert.Equal(t, "a", x.Peer)
	assert.EqualValues(t, 65002, x.PeerASN)
	assert.Equal(t, "192.0.2.2", x.PeerRouterID.String())
	assert.Equal(t, "127.0.0.1", x.RouterID.String())
	assert.Equal(t, 90*time.Second, x.HoldTime)
	assert.Equal(t, []string{"ipv4"}, x.Families)
	s.hangUp()
	s.await("another session", func() bool { return len(s.opens) == 2 })
	cancel()
	require.NoError(t, <-done)
}
