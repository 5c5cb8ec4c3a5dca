package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// addrs returns the addresses of a host in the test's networks.
func addrs(host int) []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", host)),
		netip.MustParsePrefix(fmt.Sprintf("2001:db8::%x/64", host)),
	}
}

var (
	vip4 = netip.MustParseAddr("192.0.2.200")
	vip6 = netip.MustParseAddr("2001:db8::200")
	vips = []netip.Addr{vip4, vip6}
)

const interval = 10 * time.Millisecond

// reach returns nil if a host answers another: that nothing listens there.
func reach(h *Host, to netip.Addr) error {
	return h.Do(func() error {
		c, err := net.DialTimeout("tcp", netip.AddrPortFrom(to, 9).String(), patience)
		if err == nil {
			return c.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		return err
	})
}

func TestHosts(t *testing.T) {
	l := New(t, nil)
	a, b := l.AddHost("a", addrs(1)...), l.AddHost("b", addrs(2)...)
	assert.Equal(t, "02:fa:1e:ad:02:00", b.MAC("eth0").String())
	assert.Same(t, b, l.HostOf(b.MAC("eth0")))
	assert.NoFileExists(t, "/sys/class/net/a.0", "the machine's own namespace is touched")
	_, err := os.Stat("/run/netns/" + a.Namespace())
	require.NoError(t, err)
	for _, to := range []netip.Addr{b.Addr(false), b.Addr(true)} {
		require.NoError(t, reach(a, to), "%s", to)
		n, ok := a.Neighbour(to)
		require.True(t, ok)
		assert.Same(t, b, n.Host)
	}

	far := netip.MustParsePrefix("198.51.100.1/24")
	assert.Equal(t, "eth1", a.Attach(l.NewSwitch(), far))
	b.Attach(l.Switch(1), netip.PrefixFrom(far.Addr().Next(), 24))
	assert.NoError(t, reach(a, far.Addr().Next()))
}

// TestTogether runs two labs at once, and sees that they leave nothing behind.
func TestTogether(t *testing.T) {
	var names []string
	var daemon string
	t.Run("both", func(t *testing.T) {
		for range 2 {
			l := New(t, nil)
			h := l.AddHost("a", addrs(1)...)
			names = append(names, l.Name())
			daemon = h.Command("sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!")
		}
	})
	require.Len(t, names, 2)
	await(t, "the end of "+daemon, func() error {
		if line, err := os.ReadFile("/proc/" + strings.TrimSpace(daemon) + "/cmdline"); err == nil && len(line) > 0 {
			return errNotYet
		}
		return nil
	})
	assert.NotEqual(t, names[0], names[1])
	left, err := os.ReadDir(localnet.Mounts)
	require.NoError(t, err)
	for _, e := range left {
		for _, name := range names {
			assert.False(t, strings.HasPrefix(e.Name(), name+"-"), e.Name())
		}
	}
}

// TestSweep leaves a namespace as a crash would, first one of a lab that is alive.
func TestSweep(t *testing.T) {
	Skip(t)
	c, err := newClaim()
	require.NoError(t, err)
	ns, err := localnet.New(c.name + "-left")
	require.NoError(t, err)
	at := localnet.Mounts + "/" + ns.Name()
	require.NoError(t, os.Mkdir(c.dir(), 0o755))
	require.NoError(t, sweep())
	require.FileExists(t, at, "its lab is alive")
	require.NoError(t, ns.Leave())
	require.NoError(t, c.file.Close())
	require.NoError(t, sweep())
	assert.NoFileExists(t, at)
	assert.NoFileExists(t, claims+"/"+c.name)
	assert.NoDirExists(t, c.dir())
}

func TestProber(t *testing.T) {
	l := New(t, nil)
	a, b, watch := l.AddHost("a", addrs(1)...), l.AddHost("b", addrs(2)...), l.AddHost("watch", addrs(3)...)
	start := time.Now()
	p := l.Probe(watch, vips, interval)
	p.Await(t, "probes that are lost", func() bool {
		return len(p.Lost(vip4, start, time.Time{})) > 2 && len(p.Lost(vip6, start, time.Time{})) > 2
	})
	for _, vip := range vips {
		assert.Nil(t, p.Owner(vip), vip)
	}

	one := a.Respond(t, vips...)
	for _, vip := range vips {
		at := p.AwaitAnswer(t, vip, start, a)
		p.Await(t, "ten answers", func() bool { return len(p.Probes(vip, at, time.Time{})) > 10 })
		assert.Same(t, a, p.Owner(vip), vip)
		assert.Equal(t, []string{"a"}, Names(p.Answerers(vip, start, time.Time{})), vip)
		assert.Empty(t, p.Contested(vip, start, time.Time{}), vip)
		assert.Empty(t, p.Gratuitous(vip, start), vip)
	}

	one.Announce()
	p.Await(t, "announcements", func() bool { return len(p.Gratuitous(vip4, start)) == 2 && len(p.Gratuitous(vip6, start)) == 1 })
	kinds := map[Kind]netip.Addr{}
	for _, vip := range vips {
		for _, g := range p.Gratuitous(vip, start) {
			assert.Same(t, a, g.Host)
			kinds[g.Kind] = vip
		}
	}
	assert.Equal(t, map[Kind]netip.Addr{ARPRequest: vip4, ARPReply: vip4, UnsolicitedNA: vip6}, kinds)

	second := time.Now()
	b.Respond(t, vips...)
	for _, vip := range vips {
		p.AwaitAnswer(t, vip, second, b)
		p.Await(t, "a contested probe", func() bool { return len(p.Contested(vip, second, time.Time{})) > 0 })
		assert.Len(t, p.Contested(vip, second, time.Time{})[0].Replies, 2, vip)
	}
	one.Silence(t)
	alone := time.Now()
	for _, vip := range vips {
		p.AwaitAnswer(t, vip, alone, b)
		assert.Equal(t, []string{"b"}, Names(p.Answerers(vip, alone, time.Time{})), vip)
	}
}

func TestFaults(t *testing.T) {
	l := New(t, nil)
	a, b, watch := l.AddHost("a", addrs(1)...), l.AddHost("b", addrs(2)...), l.AddHost("watch", addrs(3)...)
	a.Respond(t, vip4)
	b.Respond(t, vip6)
	p := l.Probe(watch, vips, interval)

	carrier := func(h *Host) bool { return strings.Contains(h.Command("ip", "link", "show", "eth0"), "LOWER_UP") }
	for _, fault := range []struct {
		name    string
		hurt    func()
		heal    func()
		carrier bool
	}{
		{name: "link", hurt: func() { a.LinkDown() }, heal: func() { a.LinkUp() }},
		{name: "interface", hurt: func() { a.InterfaceDown() }, heal: func() { a.InterfaceUp() }},
		{name: "cut", hurt: func() { a.Cut() }, heal: func() { a.Mend() }, carrier: true},
		{name: "partition", hurt: func() { l.Partition([]*Host{a}, []*Host{b, watch}) }, heal: l.Heal, carrier: true},
		{name: "partition of those named", hurt: func() { l.Partition([]*Host{a}) }, heal: l.Heal, carrier: true},
	} {
		before := time.Now()
		p.AwaitAnswer(t, vip4, before, a)
		fault.hurt()
		hurt := time.Now().Add(interval)
		assert.Equal(t, fault.carrier, carrier(a), fault.name)
		p.Await(t, "silence", func() bool { return len(p.Lost(vip4, hurt, time.Time{})) > 3 })
		_, heard := p.FirstAnswer(vip4, hurt, nil)
		assert.False(t, heard, "%s: an answer in spite of it", fault.name)
		p.AwaitAnswer(t, vip6, hurt, b)
		fault.heal()
		p.AwaitAnswer(t, vip4, time.Now(), a)
		assert.NoError(t, reach(watch, a.Addr(true)), "%s: IPv6 after it", fault.name)
		_, lasted := p.Outage(vip4, before, time.Time{})
		assert.Greater(t, lasted, 3*interval, fault.name)
	}
}

func TestRights(t *testing.T) {
	l := New(t, nil)
	h := l.AddHost("a", addrs(1)...)
	tests := []struct {
		name   string
		rights Rights
		caps   string
	}{
		{name: "one capability", rights: Rights{UID: Nobody, Capabilities: []uintptr{unix.CAP_NET_RAW}}, caps: "0000000000002000"},
		{name: "two", rights: Rights{UID: Nobody, Capabilities: []uintptr{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}}, caps: "0000000000003000"},
		{name: "none", rights: Rights{UID: Nobody}, caps: "0000000000000000"},
	}
	for _, tt := range tests {
		p := h.Start(StartOptions{Rights: &tt.rights}, "sleep", "60")
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			assert.Equal(t, tt.caps, p.Status(set), "%s: %s", tt.name, set)
		}
		assert.Equal(t, strings.Repeat("65532\t", 3)+"65532", p.Status("Uid"), tt.name)
		assert.Equal(t, "1", p.Status("NoNewPrivs"), tt.name)
		assert.Positive(t, p.RSS(), tt.name)
		p.Freeze()
		p.Thaw()
		_, err := p.Stop()
		assert.EqualError(t, err, "signal: terminated", tt.name)
	}
	assert.Contains(t, h.Command("ip", "-brief", "address"), "192.0.2.1/24")
}

func TestNeighbours(t *testing.T) {
	l := New(t, nil)
	a, b := l.AddHost("a", addrs(1)...), l.AddHost("b", addrs(2)...)
	for _, vip := range vips {
		a.SetNeighbour(vip, b)
		n, ok := a.Neighbour(vip)
		require.True(t, ok, vip)
		assert.Same(t, b, n.Host)
		assert.Equal(t, netlink.NUD_PERMANENT, n.State)
	}
	a.ForgetNeighbours()
	assert.Empty(t, a.Neighbours())
}
