package cni

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

const (
	// bothA is a pool with addresses of both families, advertised to everybody, and a Service with one of each.
	bothA = `
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [198.51.100.0/28, "2001:db8:a::/124"]}
---
kind: BGPAdvertisement
metadata: {name: a}
spec: {ipAddressPools: [a]}
---
kind: Service
metadata: {name: web, annotations: {metallb.io/address-pool: a}}
spec: {ipFamilies: [IPv4, IPv6]}
`
	// farHears is what Far hears then.
	farHears = "r3: 198.51.100.0 from all\nr3: 2001:db8:a:: from all"
)

// reached is what a BGPPeer says so that its sessions with Far come up.
var reached = fmt.Sprintf("peerPort: %d, ebgpMultiHop: true", FarPort)

// farPeers makes or changes the BGPPeers of Far, one for each family; spec is all that they say of it, but for its address.
func farPeers(spec string) func(*Scene) {
	return func(s *Scene) { s.Apply(docs(s.PeerYAML(Far, false, spec), s.PeerYAML(Far, true, spec))) }
}

// farSays has Far say something of all nodes.
func farSays(what string) func(*Scene) { return func(s *Scene) { s.Neighbour(Far, what) } }

// both does one thing after the other.
func both(first, second func(*Scene)) func(*Scene) {
	return func(s *Scene) {
		first(s)
		second(s)
	}
}

// refused does something, and returns when a router's kernel has turned away what connects as often as there are nodes, by what it counts
// in /proc/net/snmp or netstat: that no session comes up says nothing before somebody has tried.
func refused(router, counter string, do func(*Scene)) func(*Scene) {
	return func(s *Scene) {
		s.Helper()
		before := s.counter(router, counter)
		do(s)
		testbed.Eventually(s, counter+" of "+router+" to grow", func(context.Context) error {
			if now := s.counter(router, counter); now < before+len(nodeNames) {
				return fmt.Errorf("it is %d, %d before", now, before)
			}
			return nil
		})
	}
}

// counter reads what the kernel of a router counts, by the names of a line and of a column.
func (s *Scene) counter(router, name string) int {
	s.Helper()
	line, column, _ := strings.Cut(name, " ")
	var columns []string
	for text := range strings.Lines(s.Lab.routers[router].Command("/bin/cat", "/proc/net/snmp", "/proc/net/netstat")) {
		rest, ours := strings.CutPrefix(text, line+": ")
		switch fields := strings.Fields(rest); {
		case !ours:
		case columns == nil:
			columns = fields
		default:
			value, err := strconv.Atoi(fields[slices.Index(columns, column)])
			require.NoError(s, err)
			return value
		}
	}
	require.FailNow(s, "there is no counter", name)
	return 0
}

// sessionRows are about what a BGPPeer says of its sessions, as Far sees it.
var sessionRows = []Row{
	{
		Name: "a router that listens on another port", OwnPeers: true, Shows: []string{"BGPPeer peerPort"},
		Steps: []Step{
			{Change: "the usual port, where nobody listens", Apply: bothA, Do: refused(Far, "Tcp OutRsts", farPeers("ebgpMultiHop: true"))},
			{Change: "the port that it listens on", Do: farPeers(reached), Routes: farHears},
			{Change: "the usual port again", Do: refused(Far, "Tcp OutRsts", farPeers("ebgpMultiHop: true")), Resets: true},
		},
	},
	{
		Name: "a router that is a hop away", Only: beyondCalico, OwnPeers: true, Shows: []string{"BGPPeer ebgpMultiHop"},
		Steps: []Step{
			{Change: "nothing is said of that", Apply: bothA, Do: refused("r1", "Icmp OutTimeExcds", farPeers(fmt.Sprintf("peerPort: %d", FarPort)))},
			{Change: "it is said", Do: farPeers(reached), Routes: farHears},
		},
	},
	{
		Name: "a router with a password", OwnPeers: true, Shows: []string{"BGPPeer password"},
		Steps: []Step{
			{Change: "it has one, we have none", Apply: bothA, Do: refused(Far, "TcpExt TCPMD5NotFound", both(farSays("password hush"), farPeers(reached)))},
			{Change: "we have the same", Do: farPeers(reached + ", password: hush"), Routes: farHears},
			{Change: "we have another one", Do: refused(Far, "TcpExt TCPMD5Failure", farPeers(reached+", password: loud")), Resets: true},
			{Change: "we have the same again", Do: farPeers(reached + ", password: hush"), Resets: true, Routes: farHears},
		},
	},
	{
		Name: "a router with a password that is in a Secret", OwnPeers: true, Shows: []string{"BGPPeer passwordSecret"},
		Steps: []Step{
			{
				Change: "the Secret has another one", Apply: docs(bothA, secretR3("loud")),
				Do: refused(Far, "TcpExt TCPMD5Failure", both(farSays("password hush"), farPeers(reached+", passwordSecret: {name: r3}"))),
			},
			{Change: "it gets the right one", Apply: secretR3("hush"), Routes: farHears},
			{
				Change: "it gets another one", Resets: true,
				Do: refused(Far, "TcpExt TCPMD5Failure", func(s *Scene) { s.Apply(secretR3("loud")) }),
			},
			{Change: "so does the router", Do: farSays("password loud"), Resets: true, Routes: farHears},
		},
	},
	{
		Name: "a router is told how long to wait for us", Only: beyondCalico, OwnPeers: true, Shows: []string{"BGPPeer holdTime", "BGPPeer keepaliveTime"},
		Steps: []Step{
			{
				Change: "a minute, with something each second", Apply: bothA,
				Do: both(farPeers(reached+", holdTime: 60s, keepaliveTime: 1s"), func(s *Scene) {
					s.farHolds(time.Minute)
					s.farHearsEvery(time.Second)
				}),
				Routes: farHears,
			},
			{
				Change: "20 seconds, with something each two", Resets: true, Interrupts: true,
				Do: both(farPeers(reached+", holdTime: 20s, keepaliveTime: 2s"), func(s *Scene) {
					s.farHolds(20 * time.Second)
					s.farHearsEvery(2 * time.Second)
				}),
				Routes: farHears,
			},
		},
	},
	{
		// What nobody says is two minutes, after a first attempt that fails at once.
		Name: "a router that cannot be reached is tried again", Only: beyondCalico, OwnPeers: true, Shows: []string{"BGPPeer connectTime"},
		Steps: []Step{
			{
				Change: "there is no way to it", Apply: bothA, HoldSeconds: 8,
				Do: both(func(s *Scene) { s.wayToFar(false) }, farPeers(reached+", connectTime: 4s")),
			},
			{Change: "there is one", Do: func(s *Scene) { s.wayToFar(true) }, Routes: farHears, WithinSeconds: 8},
		},
	},
	{
		Name: "a router that is a hop away and is told that we may restart, whatever is asked for", Only: onCalico, OwnPeers: true,
		Shows: []string{"BGPPeer enableGracefulRestart", "BGPPeer ebgpMultiHop"},
		Steps: []Step{
			{Change: "nothing is asked for", Apply: bothA, Do: both(farPeers(fmt.Sprintf("peerPort: %d", FarPort)), restarts("Restart")), Routes: farHears},
		},
	},
	{
		Name: "a router is told that we may restart", Only: beyondCalico, OwnPeers: true, Shows: []string{"BGPPeer enableGracefulRestart"},
		Steps: []Step{
			{Change: "it is not", Apply: bothA, Do: both(farPeers(reached), restarts("Disable")), Routes: farHears},
			{
				Change: "it is", Resets: true, Interrupts: true, Routes: farHears,
				Do: both(farPeers(reached+", enableGracefulRestart: true"), restarts("Restart")),
			},
		},
	},
}

// secretR3 is the Secret of Far's password.
func secretR3(password string) string {
	return "kind: Secret\nmetadata: {name: r3}\ntype: kubernetes.io/basic-auth\nstringData: {password: " + password + "}"
}

// farHolds waits until every session with Far has a hold time.
func (s *Scene) farHolds(want time.Duration) {
	s.Helper()
	s.onFar("hold times", func(addr string) error {
		if got := time.Duration(s.Lab.frr[Far].Neighbor(addr).HoldTimeMsecs) * time.Millisecond; got != want {
			return fmt.Errorf("it is %s with %s", got, addr)
		}
		return nil
	})
}

// restarts waits until Far says of every node how it restarts; see routing.Peer.
func restarts(want string) func(*Scene) {
	return func(s *Scene) {
		s.onFar("graceful restart", func(addr string) error {
			if got := s.Lab.frr[Far].Neighbor(addr).GracefulRestartInfo.RemoteGrMode; got != want {
				return fmt.Errorf("of %s it says %q", addr, got)
			}
			return nil
		})
	}
}

// farHearsEvery waits until n1 has sent Far five keepalives, and fails if that takes much more or less than five times a time.
func (s *Scene) farHearsEvery(each time.Duration) {
	s.Helper()
	const count = 5
	addr := s.Lab.hosts["n1"].Addr(false).String()
	heard := func() int { return s.Lab.frr[Far].Neighbor(addr).MessageStats.KeepalivesRecv }
	// From one that has just come, since nobody knows when the one before did.
	from := heard()
	more := func(n int) {
		testbed.Eventually(s, "keepalives", func(context.Context) error {
			if now := heard(); now < from+n {
				return fmt.Errorf("there are %d, %d at first", now, from)
			}
			return nil
		})
	}
	more(1)
	start := time.Now()
	more(1 + count)
	took := time.Since(start)
	assert.Greater(s, took, count*each*6/10, "%d keepalives", count) // jitter is a quarter (RFC 4271, 10)
	assert.Less(s, took, count*each*16/10, "%d keepalives", count)
}

// onFar waits until check says of each neighbour that Far has a session with, which are all nodes, what it is to say.
func (s *Scene) onFar(what string, check func(addr string) error) {
	s.Helper()
	s.AwaitSessions(len(nodeNames) * 2)
	testbed.Eventually(s, what+" on "+Far, func(context.Context) error {
		var errs []error
		for _, name := range nodeNames {
			for _, is6 := range []bool{false, true} {
				errs = append(errs, check(s.Lab.hosts[name].Addr(is6).String()))
			}
		}
		return errors.Join(errs...)
	})
}

// wayToFar takes the way to Far, so that who connects is told at once that there is none, or gives it back.
func (s *Scene) wayToFar(there bool) {
	s.Helper()
	r1 := s.Lab.routers["r1"]
	if there {
		r1.InterfaceUp(s.Lab.wayToFar)
		return
	}
	r1.InterfaceDown(s.Lab.wayToFar)
	s.undo = append(s.undo, func() { r1.InterfaceUp(s.Lab.wayToFar) })
}
