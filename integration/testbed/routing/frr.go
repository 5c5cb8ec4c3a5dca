// Package routing runs real routers, FRR and BIRD, in the hosts of a lab.
package routing

import (
	"encoding/json"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// patience is how long something may take that a router is waited for.
const patience = 30 * time.Second

// Await waits until ok returns true; it asks again and again, because routers do not tell when they change.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			require.Fail(t, "never happened: "+what)
		}
	}
}

// FRR is zebra and bgpd in a host.
type FRR struct {
	// BGPD is bgpd, as it was started last.
	BGPD *netlab.Process

	t    testing.TB
	h    *netlab.Host
	dir  string
	more []string // arguments of bgpd
}

const frrDaemons = "/usr/lib/frr/"

// StartFRR starts a router with a configuration; more are arguments of bgpd.
func StartFRR(t testing.TB, l *netlab.Lab, h *netlab.Host, config string, more ...string) *FRR {
	t.Helper()
	requireFile(t, frrDaemons+"bgpd", "frr")
	dir, err := os.MkdirTemp(l.Dir(), "frr")
	require.NoError(t, err)
	r := &FRR{t: t, h: h, dir: dir, more: more}
	r.give(dir)
	require.NoError(t, os.WriteFile(r.path("zebra.conf"), []byte("hostname "+h.Name()+"\n"), 0o644))
	require.NoError(t, os.WriteFile(r.path("vtysh.conf"), nil, 0o644))
	r.configure(config)
	h.Start(netlab.StartOptions{Name: "zebra", Dir: dir}, frrDaemons+"zebra", append(r.args("zebra"), "-z", r.path("zserv"))...)
	Await(t, "zebra", func() bool { return exists(r.path("zserv")) })
	r.Start()
	return r
}

// requireFile skips a test that needs a program of a Debian package.
func requireFile(t testing.TB, path, pkg string) {
	t.Helper()
	if exists(path) {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; it is in Debian's package %q", path, pkg)
	}
	t.Skipf("%s is missing; it is in Debian's package %q", path, pkg)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// give makes a file that of the user as whom FRR's daemons run.
func (r *FRR) give(path string) {
	r.t.Helper()
	u, err := user.Lookup("frr")
	require.NoError(r.t, err)
	uid, err := strconv.Atoi(u.Uid)
	require.NoError(r.t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(r.t, err)
	require.NoError(r.t, os.Chown(path, uid, gid))
}

func (r *FRR) path(name string) string { return filepath.Join(r.dir, name) }

// configure writes the configuration for the next start.
func (r *FRR) configure(config string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(r.path("bgpd.conf"), []byte("hostname "+r.h.Name()+"\n"+config), 0o644))
}

func (r *FRR) args(daemon string) []string {
	return []string{"-f", r.path(daemon + ".conf"), "-i", r.path(daemon + ".pid"),
		"--vty_socket", r.dir, "-P", "0", "--log", "stdout", "--log-level", "debugging"}
}

// Start starts bgpd.
func (r *FRR) Start() {
	r.t.Helper()
	_ = os.Remove(r.path("bgpd.vty"))
	_ = os.Remove(r.path("bgpd.pid"))
	r.BGPD = r.h.Start(netlab.StartOptions{Name: "bgpd", Dir: r.dir}, frrDaemons+"bgpd", append(append(r.args("bgpd"), "-z", r.path("zserv")), r.more...)...)
	Await(r.t, "bgpd", func() bool { return exists(r.path("bgpd.vty")) })
}

// Vtysh runs commands.
func (r *FRR) Vtysh(commands ...string) string {
	r.t.Helper()
	args := []string{"--vty_socket", r.dir, "--config_dir", r.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return r.h.Command("/usr/bin/vtysh", args...)
}

// show runs a command whose answer is JSON.
func (r *FRR) show(command string, into any) {
	r.t.Helper()
	said := r.Vtysh(command + " json")
	if i := strings.IndexAny(said, "{["); i >= 0 {
		said = said[i:]
	}
	require.NoError(r.t, json.Unmarshal([]byte(said), into), said)
}

// Path is a path as FRR shows it.
type Path struct {
	LocPrf    uint32
	Stale     bool
	Peer      struct{ RouterID string }
	Valid     bool
	NextHops  []struct{ IP, AFI, Scope string }
	Community struct{ String string }
	LargeCom  struct{ String string } `json:"largeCommunity"`
	ASPath    struct{ String string }
}

// Table returns the prefixes of a family, ipv4 or ipv6, with their paths.
func (r *FRR) Table(family string) map[string][]Path {
	r.t.Helper()
	var out struct{ Routes map[string][]Path }
	r.show("show bgp "+family+" unicast", &out)
	return out.Routes
}

// Detail returns the paths of a prefix with their attributes.
func (r *FRR) Detail(family, prefix string) []Path {
	r.t.Helper()
	var out struct{ Paths []Path }
	r.show("show bgp "+family+" unicast "+prefix, &out)
	return out.Paths
}

// Peer is a neighbour as FRR shows it.
type Peer struct {
	BGPState            string
	BGPTimerUpEstablish int64 `json:"bgpTimerUpEstablishedEpoch"`
	HoldTimeMsecs       int   `json:"bgpTimerHoldTimeMsecs"` // as negotiated
	GracefulRestartInfo struct {
		// RemoteGrMode is "Restart" if the neighbour has said that its routes are to stay while it restarts, and "Disable" if not.
		RemoteGrMode string
	}
	MessageStats struct {
		OpensRecv, UpdatesRecv, NotificationsRecv, KeepalivesRecv, RouteRefreshSent, RouteRefreshRecv, TotalRecv int
	}
	ConnectionsEstab   int `json:"connectionsEstablished"`
	ConnectionsDropped int
	LastReset          string `json:"lastResetDueTo"`
	LastNotification   string `json:"lastNotificationReason"`
	AddressFamilyInfo  map[string]struct{ AcceptedPrefixCounter int }
}

// Neighbor returns a neighbour; the zero Peer if there is none.
func (r *FRR) Neighbor(addr string) Peer {
	r.t.Helper()
	var out map[string]json.RawMessage
	r.show("show bgp neighbors "+addr, &out)
	for _, raw := range out {
		var p Peer
		if json.Unmarshal(raw, &p) == nil {
			return p
		}
	}
	return Peer{}
}

// Hears waits until the router has exactly these prefixes of a family.
func (r *FRR) Hears(family string, prefixes ...string) {
	r.t.Helper()
	Await(r.t, r.h.Name()+" hears "+strings.Join(prefixes, " "), func() bool {
		t := r.Table(family)
		for _, p := range prefixes {
			if len(t[p]) == 0 {
				return false
			}
		}
		return len(t) == len(prefixes)
	})
}

// Rack is a configuration of FRR, in AS 65002, that accepts a session with every node of a site, in AS 65001, and spreads what it sends over them.
const Rack = `
router bgp 65002
 bgp router-id 192.0.0.250
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 neighbor V4 peer-group
 neighbor V4 remote-as 65001
 neighbor V6 peer-group
 neighbor V6 remote-as 65001
 bgp listen range 192.0.0.0/16 peer-group V4
 bgp listen range 2001:db8::/64 peer-group V6
 address-family ipv4 unicast
  maximum-paths 8
  no neighbor V6 activate
 exit-address-family
 address-family ipv6 unicast
  maximum-paths 8
  neighbor V6 activate
 exit-address-family
`
