package bfd

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// bird is BIRD 2 on a host.
type bird struct {
	t         *testing.T
	host      *netlab.Host
	dir       string
	neighbour neighbour
	running   *netlab.Process
}

func startBIRD(t *testing.T, h *netlab.Host, interval time.Duration, n neighbour) router {
	t.Helper()
	if _, err := exec.LookPath("bird"); err != nil {
		missing(t, "bird", "bird2")
	}
	dir, err := os.MkdirTemp("", "bird") // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bird{t: t, host: h, dir: dir, neighbour: n}
	b.configure(interval)
	b.running = h.Start(netlab.StartOptions{}, "bird", "-f", "-c", b.path("conf"), "-s", b.path("sock"), "-P", b.path("pid"))
	until(t, "BIRD", func() bool { _, err := os.Stat(b.path("sock")); return err == nil })
	return b
}

func (b *bird) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bird) configure(interval time.Duration) {
	b.t.Helper()
	options := fmt.Sprintf("min rx interval %[1]d ms; min tx interval %[1]d ms; idle tx interval 1 s; multiplier 3; passive %[2]t;",
		interval.Milliseconds(), b.neighbour.passive)
	options = strings.NewReplacer("passive true", "passive yes", "passive false", "passive no").Replace(options)
	where := fmt.Sprintf("dev %q local %s", "eth0", b.neighbour.local)
	if b.neighbour.multiHop {
		where = fmt.Sprintf("local %s multihop on", b.neighbour.local)
	}
	conf := fmt.Sprintf("log stderr all;\nrouter id 192.0.2.1;\nprotocol device {}\nprotocol bfd {\n  interface \"*\" { %[1]s };\n  multihop { %[1]s };\n  neighbor %[2]s %[3]s;\n}\n",
		options, b.neighbour.peer, where)
	require.NoError(b.t, os.WriteFile(b.path("conf"), []byte(conf), 0o644))
}

func (b *bird) state(peer netip.Addr) string {
	out := b.host.Command("birdc", "-s", b.path("sock"), "show", "bfd", "sessions")
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == peer.String() {
			return fields[2]
		}
	}
	return ""
}

func (b *bird) retime(interval time.Duration) {
	b.configure(interval)
	require.Contains(b.t, b.host.Command("birdc", "-s", b.path("sock"), "configure"), "Reconfigured")
}

func (b *bird) process() *netlab.Process { return b.running }
