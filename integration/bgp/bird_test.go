package bgp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// bird is BIRD 2 in a host.
type bird struct {
	t   testing.TB
	h   *netlab.Host
	dir string
	p   *netlab.Process
}

func startBIRD(t testing.TB, l *netlab.Lab, h *netlab.Host, config string) *bird {
	t.Helper()
	requireFile(t, "/usr/sbin/bird", "bird2")
	dir, err := os.MkdirTemp(l.Dir(), "bird")
	require.NoError(t, err)
	r := &bird{t: t, h: h, dir: dir}
	require.NoError(t, os.WriteFile(r.path("bird.conf"), []byte("router id 192.0.2.2;\nlog stderr all;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n"+config), 0o600))
	r.p = h.Start(netlab.StartOptions{Name: "bird", Dir: dir}, "/usr/sbin/bird", "-f", "-c", r.path("bird.conf"), "-s", r.path("ctl"), "-P", r.path("pid"))
	await(t, "bird", func() bool { return exists(r.path("ctl")) })
	return r
}

func (r *bird) path(name string) string { return filepath.Join(r.dir, name) }

func (r *bird) birdc(args ...string) string {
	r.t.Helper()
	return r.h.Command("/usr/sbin/birdc", append([]string{"-r", "-s", r.path("ctl")}, args...)...)
}

// summary returns the routes as features expect them.
func (r *bird) summary() []string {
	r.t.Helper()
	var out []string
	var prefix string
	attrs := map[string]string{}
	flush := func() {
		if attrs["next"] != "" {
			out = append(out, strings.Join([]string{prefix, attrs["next"], orDash(attrs["path"]), orDash(attrs["pref"]),
				orDash(strings.Join(append(strings.Fields(attrs["comm"]), strings.Fields(attrs["large"])...), ","))}, " "))
		}
		attrs = map[string]string{}
	}
	for line := range strings.Lines(r.birdc("show", "route", "protocol", "speaker", "all")) {
		line = strings.TrimRight(line, "\n")
		if fields := strings.Fields(line); len(fields) > 1 && !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, " ") && strings.Contains(fields[0], "/") {
			flush()
			prefix = fields[0]
		}
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		clean := func(s, sep string) string {
			return strings.ReplaceAll(strings.NewReplacer("(", "", ")", "", sep, ":").Replace(s), "  ", " ")
		}
		switch name {
		case "BGP.next_hop":
			attrs["next"] = strings.Fields(value)[0]
		case "BGP.as_path":
			attrs["path"] = strings.TrimSpace(value)
		case "BGP.local_pref":
			attrs["pref"] = value
		case "BGP.community":
			attrs["comm"] = clean(value, ",")
		case "BGP.large_community":
			attrs["large"] = clean(value, ", ")
		}
	}
	flush()
	slices.Sort(out)
	return out
}
