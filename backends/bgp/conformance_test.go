package bgp

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
)

// twoRouters is a backend with two routers on loopback.
type twoRouters struct{ a, b *stub }

func (twoRouters) New(t testing.TB) backends.NodeBackend {
	return New(Config{NodeName: "n1", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

func (f twoRouters) States() []backendtest.NodeState {
	one, two := netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("203.0.113.0/24")
	six := netip.MustParsePrefix("2001:db8::1/128")
	both := []backends.Peer{f.a.peer("a"), f.b.peer("b")}
	const via = " via 127.0.0.1"
	return []backendtest.NodeState{
		{Name: "nothing", Heard: "a: \nb: "},
		{
			Name: "a route", Want: backends.NodeDesired{Peers: both, Routes: []backends.Route{{Prefix: one}}},
			Heard: "a: 198.51.100.1/32" + via + "\nb: 198.51.100.1/32" + via,
		},
		{
			Name: "a route for one router", Want: backends.NodeDesired{Peers: both, Routes: []backends.Route{{Prefix: two, Peers: []string{"b"}}}},
			Heard: "a: \nb: 203.0.113.0/24" + via,
		},
		{
			Name: "one router", Want: backends.NodeDesired{Peers: both[:1], Routes: []backends.Route{{Prefix: one}, {Prefix: two}}},
			Heard: "a: 198.51.100.1/32" + via + ", 203.0.113.0/24" + via + "\nb: ",
		},
		{
			Name: "one that nobody takes", Want: backends.NodeDesired{Peers: both, Routes: []backends.Route{{Prefix: six}, {Prefix: two}}},
			Heard: "a: 203.0.113.0/24" + via + "\nb: 203.0.113.0/24" + via, Fails: []netip.Prefix{six},
		},
	}
}

func (f twoRouters) Heard(testing.TB) string {
	line := func(s *stub) string { return strings.ReplaceAll(s.String(), "\n", ", ") }
	return "a: " + line(f.a) + "\nb: " + line(f.b)
}

func (f twoRouters) Told() int {
	n := 0
	for _, s := range []*stub{f.a, f.b} {
		s.mu.Lock()
		n += s.updates
		s.mu.Unlock()
	}
	return n
}

func TestConformance(t *testing.T) {
	t.Parallel()
	backendtest.RunNode(t, twoRouters{newStub(t, 65002, ipv4), newStub(t, 65003, ipv4)})
}
