package routing

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// BIRD is BIRD 2 in a host.
type BIRD struct {
	// Process is bird.
	Process *netlab.Process

	t   testing.TB
	h   *netlab.Host
	dir string
}

// StartBIRD starts a router with a configuration.
func StartBIRD(t testing.TB, l *netlab.Lab, h *netlab.Host, config string) *BIRD {
	t.Helper()
	requireFile(t, "/usr/sbin/bird", "bird2")
	dir, err := os.MkdirTemp(l.Dir(), "bird")
	require.NoError(t, err)
	r := &BIRD{t: t, h: h, dir: dir}
	r.write(config)
	r.Process = h.Start(netlab.StartOptions{Name: "bird", Dir: dir}, "/usr/sbin/bird", "-f", "-c", r.path("bird.conf"), "-s", r.path("ctl"), "-P", r.path("pid"))
	Await(t, "bird", func() bool { return exists(r.path("ctl")) })
	return r
}

func (r *BIRD) path(name string) string { return filepath.Join(r.dir, name) }

// Birdc runs a command.
func (r *BIRD) Birdc(args ...string) string {
	r.t.Helper()
	return r.h.Command("/usr/sbin/birdc", append([]string{"-r", "-s", r.path("ctl")}, args...)...)
}

// Configure has BIRD take another configuration.
func (r *BIRD) Configure(config string) {
	r.t.Helper()
	r.write(config)
	r.h.Command("/usr/sbin/birdc", "-s", r.path("ctl"), "configure")
}

func (r *BIRD) write(config string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(r.path("bird.conf"), []byte("router id 192.0.2.2;\nlog stderr all;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n"+config), 0o600))
}
