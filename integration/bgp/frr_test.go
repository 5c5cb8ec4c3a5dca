package bgp

import (
	"encoding/json"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// frr is zebra and bgpd in a host.
type frr struct {
	t           testing.TB
	h           *netlab.Host
	dir         string
	zebra, bgpd *netlab.Process
}

const frrDaemons = "/usr/lib/frr/"

// startFRR starts a router with a configuration.
func startFRR(t testing.TB, l *netlab.Lab, h *netlab.Host, config string) *frr {
	t.Helper()
	requireFile(t, frrDaemons+"bgpd", "frr")
	dir, err := os.MkdirTemp(l.Dir(), "frr")
	require.NoError(t, err)
	r := &frr{t: t, h: h, dir: dir}
	r.give(dir)
	require.NoError(t, os.WriteFile(r.path("zebra.conf"), []byte("hostname "+h.Name()+"\n"), 0o644))
	require.NoError(t, os.WriteFile(r.path("vtysh.conf"), nil, 0o644))
	r.configure(config)
	r.zebra = h.Start(netlab.StartOptions{Name: "zebra", Dir: dir}, frrDaemons+"zebra", append(r.args("zebra"), "-z", r.path("zserv"))...)
	await(t, "zebra", func() bool { return exists(r.path("zserv")) })
	r.start()
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
func (r *frr) give(path string) {
	r.t.Helper()
	u, err := user.Lookup("frr")
	require.NoError(r.t, err)
	uid, err := strconv.Atoi(u.Uid)
	require.NoError(r.t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(r.t, err)
	require.NoError(r.t, os.Chown(path, uid, gid))
}

func (r *frr) path(name string) string { return filepath.Join(r.dir, name) }

// configure writes the configuration for the next start.
func (r *frr) configure(config string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(r.path("bgpd.conf"), []byte("hostname "+r.h.Name()+"\n"+config), 0o644))
}

func (r *frr) args(daemon string) []string {
	return []string{"-f", r.path(daemon + ".conf"), "-i", r.path(daemon + ".pid"),
		"--vty_socket", r.dir, "-P", "0", "--log", "stdout", "--log-level", "debugging"}
}

// start starts bgpd.
func (r *frr) start() {
	r.t.Helper()
	_ = os.Remove(r.path("bgpd.vty"))
	_ = os.Remove(r.path("bgpd.pid"))
	r.bgpd = r.h.Start(netlab.StartOptions{Name: "bgpd", Dir: r.dir}, frrDaemons+"bgpd", append(r.args("bgpd"), "-z", r.path("zserv"))...)
	await(r.t, "bgpd", func() bool { return exists(r.path("bgpd.vty")) })
}

// vtysh runs commands.
func (r *frr) vtysh(commands ...string) string {
	r.t.Helper()
	args := []string{"--vty_socket", r.dir, "--config_dir", r.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return r.h.Command("/usr/bin/vtysh", args...)
}

// show runs a command whose answer is JSON.
func (r *frr) show(command string, into any) {
	r.t.Helper()
	said := r.vtysh(command + " json")
	if i := strings.IndexAny(said, "{["); i >= 0 {
		said = said[i:]
	}
	require.NoError(r.t, json.Unmarshal([]byte(said), into), said)
}

// frrPath is a path as FRR shows it.
type frrPath struct {
	Path      string // AS path
	LocPrf    uint32
	Stale     bool
	Peer      struct{ RouterID string }
	Valid     bool
	NextHops  []struct{ IP, AFI, Scope string }
	Community struct{ String string }
	LargeCom  struct{ String string } `json:"largeCommunity"`
	ASPath    struct{ String string }
}

// table returns the prefixes of a family, ipv4 or ipv6, with their paths.
func (r *frr) table(family string) map[string][]frrPath {
	r.t.Helper()
	var out struct{ Routes map[string][]frrPath }
	r.show("show bgp "+family+" unicast", &out)
	return out.Routes
}

// detail returns the paths of a prefix with their attributes.
func (r *frr) detail(family, prefix string) []frrPath {
	r.t.Helper()
	var out struct{ Paths []frrPath }
	r.show("show bgp "+family+" unicast "+prefix, &out)
	return out.Paths
}

// frrPeer is a neighbour as FRR shows it.
type frrPeer struct {
	BGPState            string
	BGPTimerUpEstablish int64 `json:"bgpTimerUpEstablishedEpoch"`
	MessageStats        struct{ OpensRecv, UpdatesRecv, NotificationsRecv, RouteRefreshSent, RouteRefreshRecv, TotalRecv int }
	ConnectionsEstab    int `json:"connectionsEstablished"`
	ConnectionsDropped  int
	LastReset           string `json:"lastResetDueTo"`
	LastNotification    string `json:"lastNotificationReason"`
	AddressFamilyInfo   map[string]struct{ AcceptedPrefixCounter int }
}

func (r *frr) neighbor(addr string) frrPeer {
	r.t.Helper()
	var out map[string]frrPeer
	r.show("show bgp neighbors "+addr, &out)
	for _, p := range out {
		return p
	}
	return frrPeer{}
}

// hears waits until the router has exactly these prefixes of a family.
func (r *frr) hears(family string, prefixes ...string) {
	r.t.Helper()
	await(r.t, r.h.Name()+" hears "+strings.Join(prefixes, " "), func() bool {
		t := r.table(family)
		for _, p := range prefixes {
			if len(t[p]) == 0 {
				return false
			}
		}
		return len(t) == len(prefixes)
	})
}
