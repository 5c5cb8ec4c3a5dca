// Package bfd tests backends/bgp/bfd against the BFD of BIRD and FRR, in network namespaces.
package bfd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends/bgp/bfd"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

const speakEnv = "FAIRLEAD_TEST_BFD"

func TestMain(m *testing.M) {
	if configs := os.Getenv(speakEnv); configs != "" {
		if err := speak([]byte(configs)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// speak holds sessions until SIGTERM, and says on standard error what becomes of them.
func speak(configs []byte) error {
	var list []bfd.Config
	if err := json.Unmarshal(configs, &list); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := bfd.New(bfd.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err := s.Set(list); err != nil {
		return err
	}
	return s.Run(ctx)
}

// start runs speak as a process on a host.
func start(t *testing.T, h *netlab.Host, rights *netlab.Rights, configs ...bfd.Config) *netlab.Process {
	t.Helper()
	b, err := json.Marshal(configs)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	return h.Start(netlab.StartOptions{Name: "speaker", Env: []string{speakEnv + "=" + string(b)}, Rights: rights}, self)
}

// change is one call of Options.Changed.
type change struct {
	at time.Time
	bfd.Status
}

// node is a Server on a host of the lab.
type node struct {
	*bfd.Server
	t       *testing.T
	mu      sync.Mutex // protects all the following
	changes map[bfd.Key][]change
	news    chan struct{}
}

func run(t *testing.T, h *netlab.Host, configs ...bfd.Config) *node {
	t.Helper()
	n := &node{t: t, changes: map[bfd.Key][]change{}, news: make(chan struct{})}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.Server = bfd.New(bfd.Options{Log: log, Changed: n.changed, Namespace: h.Do})
	require.NoError(t, n.Set(configs))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = n.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return n
}

func (n *node) changed(k bfd.Key, s bfd.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes[k] = append(n.changes[k], change{time.Now(), s})
	close(n.news)
	n.news = make(chan struct{})
}

// await waits until a session has been in a state at or after a time.
func (n *node) await(k bfd.Key, want bfd.State, after time.Time) change {
	n.t.Helper()
	deadline := time.After(testbed.Patience)
	for {
		n.mu.Lock()
		news, all := n.news, n.changes[k]
		n.mu.Unlock()
		for _, c := range all {
			if c.State == want && !c.at.Before(after) {
				return c
			}
		}
		select {
		case <-news:
		case <-deadline:
			require.Fail(n.t, "no such change", "%s: waiting for %s; changes: %+v; now: %+v; dropped: %v", k, want, all, n.Statuses()[k], n.Dropped())
		}
	}
}

// missing skips a test that needs a program which is not installed; in CI it fails instead.
func missing(t *testing.T, program, debian string) {
	t.Helper()
	why := fmt.Sprintf("%q is not installed; it is in Debian's package %q", program, debian)
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// until waits for something that is told by nobody.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(testbed.Patience)
	for !ok() {
		require.True(t, time.Now().Before(deadline), "waiting for %s", what)
		time.Sleep(5 * time.Millisecond)
	}
}

// router is another implementation.
type router interface {
	// state is that of its session with a peer, as State.String has it; empty: there is none.
	state(peer netip.Addr) string
	// retime changes its intervals, of sending and receiving, without ending sessions.
	retime(time.Duration)
	process() *netlab.Process
}

// neighbour is a session as a router is configured with it.
type neighbour struct {
	peer, local netip.Addr
	multiHop    bool
	passive     bool
}

// shape is a network between a node and a router.
type shape struct {
	name        string
	multiHop    bool
	node, other netip.Addr
	iface       string // of the node's session
}

var shapes = []shape{
	{name: "IPv4", node: addr("10.0.0.1"), other: addr("10.0.0.2")},
	{name: "IPv6", node: addr("fd00::1"), other: addr("fd00::2"), iface: "eth0"},
	{name: "link-local", node: addr("fe80::1"), other: addr("fe80::2"), iface: "eth0"},
	{name: "IPv4 over several hops", node: addr("10.0.0.1"), other: addr("10.0.1.2"), multiHop: true},
	{name: "IPv6 over several hops", node: addr("fd00::1"), other: addr("fd00:1::2"), multiHop: true},
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func subnet(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24)
	}
	return netip.PrefixFrom(a, 64)
}

// build makes the hosts of a shape: the node, the router and what is between them, if anything.
func (s shape) build(t *testing.T) (node, other *netlab.Host) {
	t.Helper()
	l := netlab.New(t, nil)
	node = l.AddHost("node", subnet(s.node))
	if !s.multiHop {
		return node, l.AddHost("other", subnet(s.other))
	}
	far := l.NewSwitch()
	hop := l.AddHost("hop", subnet(addr("10.0.0.254")), subnet(addr("fd00::254")))
	hop.Attach(far, subnet(addr("10.0.1.254")), subnet(addr("fd00:1::254")))
	hop.Sysctl("ipv4/ip_forward", "1")
	hop.Sysctl("ipv6/conf/all/forwarding", "1")
	other = l.AddHost("other")
	other.Attach(far, subnet(s.other))
	via, back := addr("10.0.0.254"), addr("10.0.1.254")
	if s.node.Is6() {
		via, back = addr("fd00::254"), addr("fd00:1::254")
	}
	node.AddRoute(subnet(s.other), via)
	other.AddRoute(subnet(s.node), back)
	return node, other
}

func (s shape) config(interval time.Duration) bfd.Config {
	c := bfd.Config{Peer: s.other, Interface: s.iface, MultiHop: s.multiHop, TransmitInterval: interval, ReceiveInterval: interval, DetectMultiplier: 3}
	if s.node.IsLinkLocalUnicast() {
		c.Local = s.node // the link has another, which the kernel made
	}
	if s.multiHop {
		c.Local = s.node
		c.MinimumTTL = 60 // BIRD sets out with the kernel's 64
	}
	return c
}

func (s shape) neighbour() neighbour {
	return neighbour{peer: s.node, local: s.other, multiHop: s.multiHop}
}
