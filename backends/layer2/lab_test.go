package layer2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/backends"
)

const isolatedEnv = "FAIRLEAD_TEST_ISOLATED"

// isolated runs the calling test or benchmark again in a process with a network namespace of its own, which goes when the process ends.
// It returns true there; where it returns false, the test is over.
func isolated(tb testing.TB) bool {
	tb.Helper()
	if os.Getenv(isolatedEnv) == tb.Name() {
		return true
	}
	self, err := os.Executable()
	require.NoError(tb, err)
	name := "^" + regexp.QuoteMeta(tb.Name()) + "$"
	args := []string{"-test.run", name, "-test.v", "-test.timeout", "2m"}
	if b, ok := tb.(*testing.B); ok {
		if b.N > 1 {
			return false // the other process finds out for itself how often is enough
		}
		args = []string{"-test.run", "^$", "-test.bench", name, "-test.benchmem"}
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), isolatedEnv+"="+tb.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		needPrivileges(tb, err)
		return false
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		tb.Skipf("%s", out)
	}
	if _, ok := tb.(*testing.B); ok {
		fmt.Printf("%s", out)
	}
	require.NoError(tb, err, "%s", out)
	return false
}

// needPrivileges skips, but not where nobody would notice.
func needPrivileges(tb testing.TB, err error) {
	if os.Getenv("CI") != "" {
		tb.Fatalf("network namespaces cannot be made: %v", err)
	}
	tb.Skipf("network namespaces cannot be made, which takes CAP_SYS_ADMIN: %v", err)
}

const timeout = 10 * time.Second

// lab is a node, which is this process, and a client in another network namespace.
type lab struct {
	tb     testing.TB
	client netns.NsHandle
	at     *netlink.Handle // in the client's namespace
}

func newLab(tb testing.TB) *lab {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	require.NoError(tb, err)
	defer here.Close()
	quick(tb)
	client, err := netns.New()
	require.NoError(tb, err)
	quick(tb)
	require.NoError(tb, netns.Set(here))
	l := &lab{tb: tb, client: client}
	l.at, err = netlink.NewHandleAt(client, unix.NETLINK_ROUTE)
	require.NoError(tb, err)
	tb.Cleanup(func() { l.at.Close(); _ = client.Close() })
	return l
}

// quick makes this thread's namespace skip duplicate address detection.
func quick(tb testing.TB) {
	for name, v := range map[string]string{
		"ipv6/conf/default/dad_transmits": "0", "ipv6/conf/all/dad_transmits": "0",
	} {
		sysctl(tb, name, v)
	}
}

func sysctl(tb testing.TB, name, v string) {
	require.NoError(tb, os.WriteFile("/proc/sys/net/"+name, []byte(v), 0))
}

// inClient runs f in the client's namespace.
func (l *lab) inClient(f func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		require.NoError(l.tb, netns.Set(l.client))
		f()
	})
	wg.Wait()
}

// wired is an interface of the node and its other end, which the client holds.
type wired struct {
	lab        *lab
	name, peer string
	mac        mac // of the node's end
	peerMAC    mac
}

// connect makes an interface of the node, up, with addresses for the node (.2) and the client (.1) in two subnets.
func (l *lab) connect(name string, number int) *wired {
	w := &wired{lab: l, name: name, peer: "to-" + name}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: w.peer, PeerNamespace: netlink.NsFd(l.client)}
	require.NoError(l.tb, netlink.LinkAdd(veth))
	w.refresh()
	peer, err := l.at.LinkByName(w.peer)
	require.NoError(l.tb, err)
	w.peerMAC = mac(peer.Attrs().HardwareAddr)
	for _, family := range []int{4, 6} {
		require.NoError(l.tb, netlink.AddrAdd(w.link(), hostAddr(l.tb, family, number, 2)))
		require.NoError(l.tb, l.at.AddrAdd(peer, hostAddr(l.tb, family, number, 1)))
	}
	l.inClient(func() {
		for _, family := range []string{"ipv4", "ipv6"} {
			sysctl(l.tb, family+"/neigh/"+w.peer+"/retrans_time_ms", "100") // it gives up on a neighbour after 300 ms
		}
	})
	require.NoError(l.tb, l.at.LinkSetUp(peer))
	require.NoError(l.tb, netlink.LinkSetUp(w.link()))
	return w
}

func hostAddr(tb testing.TB, family, number, host int) *netlink.Addr {
	text := fmt.Sprintf("192.0.%d.%d/24", number, host)
	if family == 6 {
		text = fmt.Sprintf("2001:db8:0:%d::%d/64", number, host)
	}
	a, err := netlink.ParseAddr(text)
	require.NoError(tb, err)
	if family == 6 {
		a.Flags = unix.IFA_F_NODAD // it can be used at once
	}
	return a
}

func (w *wired) link() netlink.Link {
	link, err := netlink.LinkByName(w.name)
	require.NoError(w.lab.tb, err)
	return link
}

func (w *wired) refresh() { w.mac = mac(w.link().Attrs().HardwareAddr) }

func (w *wired) peerLink() netlink.Link {
	link, err := w.lab.at.LinkByName(w.peer)
	require.NoError(w.lab.tb, err)
	return link
}

// resolve has the client's kernel find out an address and returns what it found; nothing if nobody answers.
func (w *wired) resolve(addr netip.Addr) (mac, bool) {
	tb, index := w.lab.tb, w.peerLink().Attrs().Index
	// What it knows is forgotten first: that is an event, too.
	_ = w.lab.at.NeighDel(&netlink.Neigh{LinkIndex: index, IP: addr.AsSlice()})
	updates, done := make(chan netlink.NeighUpdate), make(chan struct{})
	defer func() {
		close(done)
		for range updates {
		}
	}()
	require.NoError(tb, netlink.NeighSubscribeWithOptions(updates, done, netlink.NeighSubscribeOptions{Namespace: &w.lab.client}))
	var conn net.Conn
	w.lab.inClient(func() {
		var err error
		conn, err = net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
		require.NoError(tb, err)
		_, err = conn.Write([]byte("hello"))
		require.NoError(tb, err)
	})
	defer conn.Close()
	deadline := time.After(timeout)
	for {
		select {
		case u := <-updates:
			if !u.IP.Equal(addr.AsSlice()) || u.LinkIndex != index {
				continue
			}
			switch {
			case u.Type == unix.RTM_NEWNEIGH && u.State&netlink.NUD_FAILED != 0:
				return mac{}, false
			case u.Type == unix.RTM_NEWNEIGH && u.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY) != 0:
				return mac(u.HardwareAddr), true
			}
		case <-deadline:
			require.Fail(tb, "the client's kernel does not say what became of "+addr.String())
		}
	}
}

func (w *wired) requireAnswered(addrs ...netip.Addr) {
	w.lab.tb.Helper()
	for _, a := range addrs {
		got, ok := w.resolve(a)
		require.True(w.lab.tb, ok, "nobody answers for %s on %s", a, w.name)
		require.Equal(w.lab.tb, w.mac, got, "%s", a)
	}
}

func (w *wired) requireSilent(addrs ...netip.Addr) {
	w.lab.tb.Helper()
	for _, a := range addrs {
		got, ok := w.resolve(a)
		require.False(w.lab.tb, ok, "%s is answered for %s on %s", got.hardware(), a, w.name)
	}
}

// ear hears and says whole frames at the client's end of a wire.
type ear struct {
	*socket
	tb     testing.TB
	frames chan []byte
}

// listen hears what comes from the node.
func (w *wired) listen() *ear {
	tb := w.lab.tb
	e := &ear{tb: tb, frames: make(chan []byte, 100_000)}
	w.lab.inClient(func() {
		var err error
		e.socket, err = openSocket(w.peerLink().Attrs().Index, unix.ETH_P_ALL)
		require.NoError(tb, err)
	})
	const packetOutgoing = 4 // what the client says is not heard
	all, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packetOutgoing, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0},
	})
	require.NoError(tb, err)
	require.NoError(tb, e.conn.SetBPF(all))
	var wg sync.WaitGroup
	wg.Go(func() {
		e.receive(func(frame []byte) {
			select {
			case e.frames <- bytes.Clone(frame):
			default:
			}
		}, func(error) { time.Sleep(time.Millisecond) })
	})
	tb.Cleanup(func() { e.close(); wg.Wait() })
	return e
}

// until returns the first frame that fits.
func (e *ear) until(what string, fits func([]byte) bool) []byte {
	e.tb.Helper()
	deadline := time.After(timeout)
	for {
		select {
		case f := <-e.frames:
			if fits(f) {
				return f
			}
		case <-deadline:
			require.Fail(e.tb, "never heard: "+what)
		}
	}
}

// during returns the frames that are about one of addrs in a time.
func (e *ear) during(d time.Duration, addrs ...netip.Addr) [][]byte {
	var out [][]byte
	deadline := time.After(d)
	for {
		select {
		case f := <-e.frames:
			if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return about(f, a) }) {
				out = append(out, f)
			}
		case <-deadline:
			return out
		}
	}
}

// about reports whether a frame tells where an address is.
func about(f []byte, addr netip.Addr) bool {
	if addr.Is4() {
		return len(f) >= 42 && bytes.Equal(f[12:14], []byte{8, 6}) && bytes.Equal(f[28:32], addr.AsSlice())
	}
	return len(f) >= 78 && bytes.Equal(f[12:14], []byte{0x86, 0xdd}) && f[20] == icmpv6 && f[54] == neighbourAdv && bytes.Equal(f[62:78], addr.AsSlice())
}

// solicited reports whether a frame about an address is an answer.
func solicited(f []byte, addr netip.Addr) bool {
	if addr.Is4() {
		return !bytes.Equal(f[38:42], addr.AsSlice())
	}
	return f[58]&0x40 != 0
}

// node is a Backend that runs.
type node struct {
	*Backend
	tb      testing.TB
	changes chan []backends.Link
	watch   *tally
}

// tally is an Observer that counts.
type tally struct {
	mu                             sync.Mutex
	received, answered, gratuitous map[netip.Addr]int
	conflicts                      chan string
}

func (o *tally) add(m map[netip.Addr]int, a netip.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m[a]++
}

func (o *tally) of(m map[netip.Addr]int, a netip.Addr) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return m[a]
}

func (o *tally) Received(a netip.Addr)   { o.add(o.received, a) }
func (o *tally) Answered(a netip.Addr)   { o.add(o.answered, a) }
func (o *tally) Gratuitous(a netip.Addr) { o.add(o.gratuitous, a) }
func (o *tally) Conflict(a netip.Addr, m net.HardwareAddr, link string) {
	select {
	case o.conflicts <- fmt.Sprint(a, " ", m, " ", link):
	default:
	}
}

// run starts a Backend and waits for its first report of links.
func (l *lab) run(c Config) *node {
	n := &node{tb: l.tb, changes: make(chan []backends.Link, 100), watch: &tally{
		received: map[netip.Addr]int{}, answered: map[netip.Addr]int{}, gratuitous: map[netip.Addr]int{}, conflicts: make(chan string, 100),
	}}
	if c.Observer == nil {
		c.Observer = n.watch
	}
	c.Changed = func(links []backends.Link) { n.changes <- links }
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(l.tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	n.Backend = New(c)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			l.tb.Error(err)
		}
	})
	l.tb.Cleanup(func() { cancel(); wg.Wait() })
	return n
}

// await waits until the links are reported to be these; both families are expected of each.
func (n *node) await(names ...string) {
	n.tb.Helper()
	deadline := time.After(timeout)
	for last := "no report"; ; {
		select {
		case links := <-n.changes:
			var got []string
			for _, l := range links {
				if l.IPv4 && l.IPv6 {
					got = append(got, l.Name)
				}
			}
			last = fmt.Sprint(links)
			if slices.Equal(got, names) && len(links) == len(names) {
				return
			}
		case <-deadline:
			require.Fail(n.tb, "the links are not as expected", "want %q, last report %s", names, last)
		}
	}
}

// desired asks for addresses on any interface.
func desired(addrs ...netip.Addr) backends.NodeDesired { return restricted(nil, addrs...) }

func restricted(interfaces []string, addrs ...netip.Addr) backends.NodeDesired {
	var d backends.NodeDesired
	for _, a := range addrs {
		d.Addresses = append(d.Addresses, backends.LinkAddress{Addr: a, Interfaces: interfaces})
	}
	return d
}

func (n *node) apply(addrs ...netip.Addr) {
	n.tb.Helper()
	require.NoError(n.tb, n.Apply(context.Background(), desired(addrs...)))
}
