package layer2

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
)

// twoLinks is a backend with two interfaces, and a client behind each.
type twoLinks struct {
	wires []*wired
	told  atomic.Int64
}

// askedFor are the addresses that the clients ask for, by the number of the wire.
var askedFor = [][]netip.Addr{
	{netip.MustParseAddr("192.0.1.10"), netip.MustParseAddr("2001:db8:0:1::10"), netip.MustParseAddr("192.0.1.11")},
	{netip.MustParseAddr("192.0.2.10")},
}

// Gratuitous counts a frame that nobody asked for.
func (f *twoLinks) Gratuitous(netip.Addr) { f.told.Add(1) }

func (f *twoLinks) New(t testing.TB) backends.NodeBackend {
	return New(Config{Observer: told{&tally{}, f}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

// told is a tally that keeps only what the fixture counts.
type told struct {
	*tally
	f *twoLinks
}

func (o told) Received(netip.Addr)     {}
func (o told) Answered(netip.Addr)     {}
func (o told) Gratuitous(a netip.Addr) { o.f.Gratuitous(a) }

func (f *twoLinks) States() []backendtest.NodeState {
	announced := func(a netip.Addr, interfaces ...string) backends.LinkAddress {
		return backends.LinkAddress{Addr: a, Interfaces: interfaces}
	}
	wants := func(a ...backends.LinkAddress) backends.NodeDesired { return backends.NodeDesired{Addresses: a} }
	one4, one6, more, two, nobodys := askedFor[0][0], askedFor[0][1], askedFor[0][2], askedFor[1][0], netip.MustParseAddr("ff02::1")
	return []backendtest.NodeState{
		{Name: "nothing"},
		{Name: "both families", Want: wants(announced(one4), announced(one6)), Heard: "192.0.1.10 on eth0\n2001:db8:0:1::10 on eth0\n"},
		{Name: "each on one interface", Want: wants(announced(one4, "eth0"), announced(more, "eth1"), announced(two, "eth1")), Heard: "192.0.1.10 on eth0\n192.0.2.10 on eth1\n"},
		{
			Name: "one that is nobody's", Want: wants(announced(two), announced(nobodys)), Heard: "192.0.2.10 on eth1\n",
			Fails: []netip.Prefix{netip.PrefixFrom(nobodys, 128)},
		},
	}
}

func (f *twoLinks) Heard(testing.TB) string {
	var out strings.Builder
	for i, w := range f.wires {
		for _, a := range askedFor[i] {
			if _, answered := w.resolve(a); answered {
				fmt.Fprintf(&out, "%s on %s\n", a, w.name)
			}
		}
	}
	return out.String()
}

func (f *twoLinks) Told() int { return int(f.told.Load()) }

func TestConformance(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	backendtest.RunNode(t, &twoLinks{wires: []*wired{l.connect("eth0", 1), l.connect("eth1", 2)}})
}
