package membership

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// peer is a member of a group on loopback.
type peer struct {
	*Group
	name    string
	addr    string
	changed wake.Signal
	stop    context.CancelFunc
	done    chan error
}

// ports returns free ports of loopback, below those that outgoing connections get.
func ports(t *testing.T, n int) []uint16 {
	var out []uint16
	for try := 0; len(out) < n; try++ {
		require.Less(t, try, 1000, "no free port")
		port := uint16(10_000 + rand.IntN(20_000))
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		if !slices.Contains(out, port) {
			out = append(out, port)
		}
	}
	return out
}

func start(t *testing.T, name string, port uint16, secret string, peers ...uint16) *peer {
	p := &peer{name: name, addr: fmt.Sprintf("127.0.0.1:%d", port), changed: wake.New(), done: make(chan error, 1)}
	var list []string
	for _, x := range slices.Concat(peers, []uint16{port}) { // it finds itself, too
		list = append(list, fmt.Sprintf("127.0.0.1:%d", x))
	}
	p.Group = New(Config{
		Node: name, BindAddr: netip.MustParseAddr("127.0.0.1"), BindPort: port, Profile: Fast, Secret: []byte(secret), Log: slog.New(slog.DiscardHandler),
		Peers:   func(context.Context) ([]string, error) { return list, nil },
		Changed: p.changed.Set, Joined: func(string) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	p.stop = cancel
	require.NoError(t, p.Listen())
	go func() {
		if name == mortal {
			p.join(ctx) // as Run does, but it can be shut down without a farewell
			p.done <- nil
			return
		}
		p.done <- p.Run(ctx)
	}()
	t.Cleanup(cancel)
	return p
}

// mortal is the member that dies without a farewell.
const mortal = "c"

// until waits until the members are as check wants them.
func (p *peer) until(t *testing.T, what string, check func(map[string]Member) bool) time.Duration {
	t.Helper()
	began := time.Now()
	deadline := time.After(30 * time.Second)
	for !check(p.Members()) {
		select {
		case <-p.changed.C():
		case <-deadline:
			require.FailNow(t, "waiting in vain for "+what, "%v", p.Members())
		}
	}
	return time.Since(began)
}

func TestGroup(t *testing.T) {
	port := ports(t, 4)
	a := start(t, "a", port[0], "secret", port[1:3]...)
	<-a.Ready()
	b := start(t, "b", port[1], "secret", port[:3]...)
	c := start(t, mortal, port[2], "secret", port[0])
	stranger := start(t, "d", port[3], "guess", port[0])
	for _, p := range []*peer{a, b, c} {
		p.until(t, "three members", func(m map[string]Member) bool { return len(m) == 3 })
	}
	a.Claim(of(addrs[0], addrs[2]))
	c.until(t, "the claim of a", func(m map[string]Member) bool { return len(m["a"].Claims) == 2 })
	assert.Equal(t, of(addrs[0], addrs[2]), c.Members()["a"].Claims)
	a.Claim(of(addrs[2]))
	c.until(t, "the claim given up", func(m map[string]Member) bool { return len(m["a"].Claims) == 1 })
	<-stranger.Ready()
	assert.Len(t, stranger.Members(), 1, "without the secret nobody is a member")

	b.SetLeaving()
	a.until(t, "b to be leaving", func(m map[string]Member) bool { return m["b"].Leaving })
	b.stop()
	require.NoError(t, <-b.done)
	took := a.until(t, "b to be gone", func(m map[string]Member) bool { _, is := m["b"]; return !is })
	t.Logf("farewell heard after %v", took)

	c.stop()
	<-c.done
	require.NoError(t, c.list.Shutdown())
	took = a.until(t, "c to be gone", func(m map[string]Member) bool { _, is := m["c"]; return !is })
	t.Logf("death noticed after %v", took)

	// It comes back with another process.
	c2 := start(t, mortal, port[2], "secret", port[0])
	c2.until(t, "a's claim at the new c", func(m map[string]Member) bool { return m["a"].Claims[addrs[2]] })
	a.until(t, "c to be back", func(m map[string]Member) bool { _, is := m["c"]; return is })
}

// TestLargeChange: what fits into no packet is heard all the same, and does not stay in the queue of what is to be passed on.
func TestLargeChange(t *testing.T) {
	port := ports(t, 2)
	a := start(t, "a", port[0], "secret", port[1])
	b := start(t, "b", port[1], "secret", port[0])
	b.until(t, "two members", func(m map[string]Member) bool { return len(m) == 2 })
	var links []backends.Link
	for i := range 300 {
		links = append(links, backends.Link{Name: fmt.Sprintf("bond0.%d", i), IPv4: true, IPv6: true, Prefixes: []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i)),
		}})
	}
	a.SetLinks(links, false)
	b.until(t, "the links of a", func(m map[string]Member) bool { return len(m["a"].Links) == len(links) })
	assert.Equal(t, links, b.Members()["a"].Links)
	for _, p := range []*peer{a, b} {
		assert.Eventually(t, func() bool { return p.queue.NumQueued() == 0 }, 10*time.Second, 20*time.Millisecond, "%s has %d messages to pass on", p.c.Node, p.queue.NumQueued())
	}
}

// TestProfile checks what --help says.
func TestProfile(t *testing.T) {
	var p Profile
	require.NoError(t, p.Set("lan"))
	assert.Equal(t, LAN, p)
	assert.EqualError(t, p.Set("wan"), `"wan" is not a profile; use one of fast|lan`)
}

// TestSome: each of those who are missing is sought by some of all members, and nobody seeks many at a time.
func TestSome(t *testing.T) {
	g := New(Config{Node: "a", Profile: LAN})
	missing := []string{"192.0.2.1:7946", "192.0.2.2:7946"}
	assert.ElementsMatch(t, missing, g.some(slices.Clone(missing)), "alone it seeks all")
	assert.Len(t, g.some(make([]string, 100)), joinSome)
	for i := range 999 {
		g.state.mark(fmt.Sprint("n", i), true, netip.AddrPort{})
	}
	sought := 0
	for range 1000 { // members
		sought += len(g.some(slices.Clone(missing[:1])))
	}
	assert.Less(t, sought, 100)
}
