package bfd

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

const frrDaemons = "/usr/lib/frr"

// frr is FRR's bfdd, with zebra, on a host.
type frr struct {
	t         *testing.T
	host      *netlab.Host
	dir       string
	neighbour neighbour
	running   *netlab.Process
}

func startFRR(t *testing.T, h *netlab.Host, interval time.Duration, n neighbour) router {
	t.Helper()
	if _, err := os.Stat(frrDaemons + "/bfdd"); err != nil {
		missing(t, frrDaemons+"/bfdd", "frr")
	}
	dir, err := os.MkdirTemp("", "frr") // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	account, err := user.Lookup("frr") // the daemons insist on being that user
	require.NoError(t, err)
	uid, err := strconv.Atoi(account.Uid)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, uid, -1))
	f := &frr{t: t, host: h, dir: dir, neighbour: n}
	require.NoError(t, os.WriteFile(f.path("conf"), nil, 0o644))
	common := []string{"-f", f.path("conf"), "-z", f.path("zserv.api"), "--vty_socket", dir, "-P", "0", "--log", "stdout"}
	h.Start(netlab.StartOptions{}, frrDaemons+"/zebra", append(common, "-i", f.path("zebra.pid"))...)
	until(t, "zebra", func() bool { _, err := os.Stat(f.path("zebra.vty")); return err == nil })
	f.running = h.Start(netlab.StartOptions{}, frrDaemons+"/bfdd", append(common, "-i", f.path("bfdd.pid"), "--bfdctl", f.path("bfdd.sock"))...)
	until(t, "bfdd", func() bool { _, err := os.Stat(f.path("bfdd.vty")); return err == nil })
	passive := "no passive-mode"
	if n.passive {
		passive = "passive-mode"
	}
	f.vtysh("configure terminal", "bfd", f.peer(), passive)
	f.retime(interval)
	return f
}

func (f *frr) path(name string) string { return filepath.Join(f.dir, name) }

func (f *frr) peer() string {
	if f.neighbour.multiHop {
		return fmt.Sprintf("peer %s multihop local-address %s", f.neighbour.peer, f.neighbour.local)
	}
	return fmt.Sprintf("peer %s local-address %s interface eth0", f.neighbour.peer, f.neighbour.local)
}

func (f *frr) vtysh(commands ...string) string {
	f.t.Helper()
	args := []string{"--vty_socket", f.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return f.host.Command("vtysh", args...)
}

func (f *frr) state(peer netip.Addr) string {
	f.t.Helper()
	var peers []struct{ Peer, Status string }
	out := f.vtysh("show bfd peers json")
	require.NoError(f.t, json.Unmarshal([]byte(out), &peers), out)
	for _, p := range peers {
		if p.Peer == peer.String() {
			return map[string]string{"up": "Up", "down": "Down", "init": "Init", "shutdown": "AdminDown"}[p.Status]
		}
	}
	return ""
}

// echoes returns how many echo packets were sent, and how many came back.
func (f *frr) echoes() (sent, received int) {
	f.t.Helper()
	var counters []struct {
		Sent     int `json:"echo-packet-output"`
		Received int `json:"echo-packet-input"`
	}
	out := f.vtysh("show bfd peers counters json")
	require.NoError(f.t, json.Unmarshal([]byte(out), &counters), out)
	require.Len(f.t, counters, 1, out)
	return counters[0].Sent, counters[0].Received
}

func (f *frr) retime(interval time.Duration) {
	f.t.Helper()
	ms := interval.Milliseconds()
	f.vtysh("configure terminal", "bfd", f.peer(), fmt.Sprintf("transmit-interval %d", ms), fmt.Sprintf("receive-interval %d", ms), "detect-multiplier 3")
}

func (f *frr) process() *netlab.Process { return f.running }
