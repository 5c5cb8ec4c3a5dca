package membership

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// simulation is members on a simulated network, with a simulated clock. Each has a link and announces two addresses; it knows where all
// others may be, as speakers do.
type simulation struct {
	*testing.T
	network
	ctx     context.Context // of all members
	profile Profile
	peers   []string // where members are
	members []*simulated
	running sync.WaitGroup
}

// simulated is a member of a simulation.
type simulated struct {
	*Group
	number  int
	wire    *wire
	end     func()
	joined  atomic.Int64 // how often another one has appeared; the flapping one, to whom all others do, is not counted
	claimed netip.Addr   // last
}

// startWithin is in how much time all members of a simulation start.
const startWithin = time.Second

// simulate starts n members, each at some moment of the same second, and calls f, in a bubble of its own.
func simulate(t *testing.T, n int, p Profile, f func(*simulation)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &simulation{T: t, network: network{wires: map[string]*wire{}}, ctx: ctx, profile: p}
		for i := range n {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 7946)
			s.peers = append(s.peers, addr.Addr().String())
			s.members = append(s.members, &simulated{number: i, wire: s.wire(addr)})
		}
		for _, m := range s.members {
			s.start(m, rand.N(startWithin))
		}
		f(s)
		cancel()
		for _, m := range s.members {
			m.end()
		}
		s.running.Wait()
		time.Sleep(time.Minute) // memberlist does not wait for a probe that goes on
	})
}

// start starts a member after some time.
func (s *simulation) start(m *simulated, after time.Duration) {
	m.Group = New(Config{
		Node: nodeName(m.number), BindAddr: m.wire.addr.Addr(), BindPort: m.wire.addr.Port(), Transport: m.wire,
		Profile: s.profile, Secret: []byte("secret"), Log: slog.New(slog.DiscardHandler),
		Peers:   func(context.Context) ([]string, error) { return s.peers, nil },
		Changed: func() {}, Joined: func(node string) {
			if m.number != flapping && node != nodeName(flapping) {
				m.joined.Add(1)
			}
		},
	})
	m.SetLinks([]backends.Link{{Name: "eth0", IPv4: true, IPv6: true, Prefixes: []netip.Prefix{
		netip.PrefixFrom(m.wire.addr.Addr(), 16), netip.MustParsePrefix("2001:db8::/64"),
	}}}, false)
	v6 := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(m.number >> 8), 15: byte(m.number)})
	m.Claim(of(service(m.number, 0), v6))
	ctx, cancel := context.WithCancel(s.ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		time.Sleep(after)
		assert.NoError(s, m.Listen())
		tasks.Go(func() { m.watchClock(ctx) })
		m.join(ctx) // as Run does, but without a farewell
	})
	m.end = func() {
		cancel()
		s.running.Go(tasks.Wait)
		assert.NoError(s, m.list.Shutdown())
	}
	m.wire.cut.Store(false)
}

// kill has a member die with its node: nobody refuses a connection there.
func (s *simulation) kill(m *simulated) {
	m.wire.cut.Store(true)
	m.end()
}

// flapping is the number of the member that is cut off and comes back, if one is.
const flapping = 1

func nodeName(i int) string { return fmt.Sprintf("node-%d.example.org", i) }

// service returns the j-th of the addresses of Services that the i-th member may announce.
func service(i, j int) netip.Addr {
	return netip.AddrFrom4([4]byte{172, byte(16 + j), byte(i >> 8), byte(i)})
}

// heard returns of how many members, this one included, it is known that they are alive and what they say.
func (m *simulated) heard() int {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	n := 0
	for _, r := range m.state.records {
		if r.alive && r.epoch > 0 && len(r.claims) >= 2 {
			n++
		}
	}
	return n
}

// believes reports whether this member knows that another one is alive.
func (m *simulated) believes(node string) bool {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	r := m.state.records[node]
	return r != nil && r.alive
}

// announces reports whether this member knows that another one announces an address.
func (m *simulated) announces(node string, addr netip.Addr) bool {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	r := m.state.records[node]
	return r != nil && r.claims[addr].held
}

// until waits until all members that are not cut off know something, and returns how long each has taken, in order.
func (s *simulation) until(what string, longest time.Duration, knows func(*simulated) bool) []time.Duration {
	s.Helper()
	began := time.Now()
	waiting := slices.DeleteFunc(slices.Clone(s.members), func(m *simulated) bool { return m.wire.cut.Load() })
	var out []time.Duration
	for {
		waiting = slices.DeleteFunc(waiting, func(m *simulated) bool {
			if !knows(m) {
				return false
			}
			out = append(out, time.Since(began))
			return true
		})
		if len(waiting) == 0 {
			return out
		}
		require.Less(s, time.Since(began), longest, "%s: %d are waiting, the first is %s", what, len(waiting), waiting[0].c.Node)
		time.Sleep(10 * time.Millisecond)
	}
}

// TestSimulation has 50 members start in one moment; a claim reaches all of them, and then one dies.
func TestSimulation(t *testing.T) {
	const n = 50
	simulate(t, n, Fast, func(s *simulation) {
		s.until("all members", time.Minute, func(m *simulated) bool { return m.heard() == n })
		first, last := s.members[0], s.members[n-1]
		first.Claim(of(service(0, 1)))
		s.until("a claim", time.Minute, func(m *simulated) bool {
			return m.announces(first.c.Node, service(0, 1)) && !m.announces(first.c.Node, service(0, 0))
		})
		s.kill(last)
		s.until("a death", time.Minute, func(m *simulated) bool { return !m.believes(last.c.Node) })
		s.until("nobody else to be gone", time.Minute, func(m *simulated) bool { return m.heard() == n-1 })
	})
}
