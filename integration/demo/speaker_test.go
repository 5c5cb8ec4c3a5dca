package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// requireNetwork skips a test that needs what the demo of the speakers needs; with CI set, it fails.
func requireNetwork(t *testing.T) {
	t.Helper()
	netlab.Skip(t)
	for path, pkg := range map[string]string{"ip": "iproute2", "vtysh": "frr"} {
		if _, err := exec.LookPath(path); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%v; it is in Debian's package %q", err, pkg)
			}
			t.Skipf("%v; it is in Debian's package %q", err, pkg)
		}
	}
}

// machine returns the links, addresses and routes of the namespace that the tests run in.
func machine(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, what := range []string{"link", "-4 addr", "-6 addr", "-4 route", "-6 route"} {
		out, err := exec.Command("ip", append([]string{"-oneline"}, append(strings.Fields(what), "show")...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		// The rest of a life is not the same twice.
		all.Write(regexp.MustCompile(`(valid_lft|preferred_lft|expires) \S+`).ReplaceAll(out, nil))
	}
	return all.String()
}

func TestSpeaker(t *testing.T) {
	requireNetwork(t)
	tmp, before := t.TempDir(), machine(t)
	b, err := command(tmp, "--once", "--backend=speaker").CombinedOutput()
	out := string(b)
	require.NoError(t, err, "%s", out)
	const (
		hop4 = `, eth0, weight 1, \S+\n +\* +via 192\.0\.2\.`
		// An announcement that comes before the answer leaves the entry STALE, and what waited to be sent makes that DELAY.
		known = `(REACHABLE|STALE|DELAY|PROBE)`
		hop6  = `, eth0, weight 1, \S+\n +\* +via 2001:db8::`
	)
	for _, text := range []string{
		`Traffic is not\n? *shown: no pod`,
		`web +192\.0\.2\.100 2001:db8::100 +link `,
		`web +192\.0\.2\.100 +lladdr 02:00:00:00:00:0[234] ` + known + ` +n[123]\n`,
		`web +2001:db8::100 +lladdr 02:00:00:00:00:0[234] ` + known + ` +n[123]\n`,
		`router# show ip route bgp\n +B>\* 198\.51\.100\.10/32 \[20/0\] via 192\.0\.2\.11` + hop4 + `12` + hop4 + `13, `,
		`router# show ipv6 route bgp\n +B>\* 2001:db8:1::10/128 \[20/0\] via 2001:db8::11` + hop6 + `12` + hop6 + `13, `,
		`router# show bgp ipv4 unicast\n +Network +Next Hop .*\n`,
		`\*[=>] +198\.51\.100\.10/32 192\.0\.2\.1[123] `,
		`kill -9 the speaker of n[123], which answers for\n +192\.0\.2\.10[01]`,
		`after \d+\.\d\d s the client's kernel knows 192\.0\.2\.10[01] on n[123]\n`,
		`after \d+\.\d\d s the client's kernel knows 2001:db8::10[01] on n[123]\n`,
		`\n +on the link, what others took over stays with them\n`,
		`kill -TERM the speaker of n[123], which answers for\n`,
		`after \d+\.\d\d s the router has the route from it with the community graceful-shutdown\n +after \d+\.\d\d s the router has taken it out of its next hops\n +after \d+\.\d\d s the speaker has ended: exit status 0\n`,
		`\[12/12\] `,
	} {
		assert.Regexp(t, regexp.MustCompile(text), out)
	}

	// After the kill and after the stop, the router has one next hop less.
	for _, end := range []string{`(?s)\[10/12\](.*?)\[11/12\]`, `(?s)\[12/12\](.*)$`} {
		part := regexp.MustCompile(end).FindStringSubmatch(out)[1]
		gone := regexp.MustCompile(`the speaker of n(\d)`).FindStringSubmatch(part)[1]
		routes := part[strings.Index(part, "router#"):]
		assert.NotContains(t, routes, "192.0.2.1"+gone)
		assert.NotContains(t, routes, "2001:db8::1"+gone)
		assert.Equal(t, 4, strings.Count(routes, "via "), routes)
		assert.NotRegexp(t, known+` +n`+gone+`\n`, part[strings.Index(part, "IP NEIGH"):])
	}
	assertNothingLeft(t, tmp, out)
	assert.Equal(t, before, machine(t))
}

// TestSpeakerInterrupted presses Ctrl-C twice while everything runs.
func TestSpeakerInterrupted(t *testing.T) {
	requireNetwork(t)
	t.Parallel()
	tmp := t.TempDir()
	r := begin(t, command(tmp, "--backend=speaker"))
	r.await("[7/13]")
	name := demoName.FindString(r.printed())
	require.Len(t, traces(t, name), 7, "three nodes, a router, a client, a bridge, and the router's folder")
	require.GreaterOrEqual(t, len(processes(t, name)), 6, "controller, zebra, bgpd and three speakers")
	require.GreaterOrEqual(t, len(processes(t, tmp)), 6, "controller, etcd, kube-apiserver and three speakers")
	require.NoError(t, r.Process.Signal(os.Interrupt))
	_ = r.Process.Signal(os.Interrupt) // it may be fast
	require.Error(t, <-r.ended)
	assert.Contains(t, r.printed(), "step ")
	assertNothingLeft(t, tmp, r.printed())
}

// TestSpeakerFails: a speaker that cannot run is told with its last words.
func TestSpeakerFails(t *testing.T) {
	requireNetwork(t)
	t.Parallel()
	tmp := t.TempDir()
	bad := filepath.Join(t.TempDir(), "speaker")
	require.NoError(t, os.WriteFile(bad, []byte("#!/bin/sh\necho I do not feel well\nexit 3\n"), 0o755))
	out, err := command(tmp, "--once", "--backend=speaker", "--speaker", bad).CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "step 6 of 12 (start FRR on the router and a speaker on each node): ")
	assert.Regexp(t, `the speaker-n\d ended \(exit status 3\); its last words:\s+I do not feel well`, string(out))
	assertNothingLeft(t, tmp, string(out))
}

// TestSpeakerMissing: all that is missing is told at once, and nothing is started.
func TestSpeakerMissing(t *testing.T) {
	t.Parallel()
	// Where another user may go.
	tmp, err := os.MkdirTemp("", "fairlead-nobody-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(tmp)) })
	require.NoError(t, os.Chmod(tmp, 0o777))
	for _, name := range []string{"kube-apiserver", "etcd"} {
		require.NoError(t, os.WriteFile(filepath.Join(tmp, name), nil, 0o755))
	}
	cmd := exec.Command(filepath.Join(bin, "kubectl-fairlead"), "demo", "--backend=speaker", "--once", "--speaker", "/missing/speaker")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME="+tmp, "XDG_CACHE_HOME=", "PATH=/missing", "KUBEBUILDER_ASSETS="+tmp)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: netlab.Nobody, Gid: netlab.Nobody}}
	}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	for _, want := range []string{
		`backend "speaker": what it needs is missing: the rights of root, for network namespaces (the user's id is `, ": use sudo); ",
		`the program ip (Debian's package "iproute2"); `, `vtysh`, `(Debian's package "frr"); `, "the program /missing/speaker (build it with 'make build')",
	} {
		assert.Contains(t, string(out), want)
	}
	assert.NotContains(t, string(out), "[1/")
}
