// Package demo runs the demo as a user does and reads what it prints.
package demo

import (
	"bufio"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

// bin holds the commands of this tree.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "fairlead-bin-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil { // a test runs the demo as another user
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	build := exec.Command("go", "build", "-o", bin, testbed.Folder("cmd", "controller"), testbed.Folder("cmd", "speaker"), testbed.Folder("cmd", "kubectl-fairlead"))
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// command runs the demo with temporary files in tmp.
func command(tmp string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "kubectl-fairlead"), append([]string{"demo"}, args...)...)
	cmd.Dir = testbed.Folder()
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	return cmd
}

// assertNothingLeft checks that a demo with temporary files in tmp has left none, no process and no network namespace behind; printed
// is what it has written.
func assertNothingLeft(t *testing.T, tmp, printed string) {
	t.Helper()
	entries, err := os.ReadDir(tmp)
	require.NoError(t, err)
	assert.Empty(t, entries, "temporary files")
	assert.Empty(t, processes(t, tmp), "processes")
	if name := demoName.FindString(printed); name != "" {
		assert.Empty(t, processes(t, name), "processes")
		assert.Empty(t, traces(t, name))
	}
}

// demoName is what the names of a demo's network namespaces begin with.
var demoName = regexp.MustCompile(`fairlead-demo-\d+`)

// traces returns what a demo of that name has in /run: namespaces and the router's folder.
func traces(t *testing.T, name string) []string {
	t.Helper()
	spaces, err := filepath.Glob("/run/netns/" + name + "*")
	require.NoError(t, err)
	folders, err := filepath.Glob("/run/" + name + "*")
	require.NoError(t, err)
	return append(spaces, folders...)
}

// processes returns the command lines that hold a text; every process of a demo has a file of the demo's in it.
func processes(t *testing.T, text string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var out []string
	for _, file := range files {
		// It may have ended since.
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), text) {
			out = append(out, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}

// running is a demo that runs.
type running struct {
	*exec.Cmd
	t     *testing.T
	file  string
	ended chan error
}

// begin starts a demo, in a process group of its own. It is stopped at the latest when the test ends.
func begin(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{Cmd: cmd, t: t, file: filepath.Join(t.TempDir(), "out"), ended: make(chan error, 1)}
	f, err := os.Create(r.file)
	require.NoError(t, err)
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		r.ended <- cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it has ended if all went well
		select {
		case <-done:
		case <-time.After(testbed.Patience):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	return r
}

// printed returns what the demo has written so far.
func (r *running) printed() string {
	r.t.Helper()
	b, err := os.ReadFile(r.file)
	require.NoError(r.t, err)
	return string(b)
}

// await waits until the demo has written that.
func (r *running) await(what string) {
	r.t.Helper()
	for deadline := time.After(testbed.Patience); !strings.Contains(r.printed(), what); {
		select {
		case err := <-r.ended:
			r.t.Fatalf("the demo ended: %v\n%s", err, r.printed())
		case <-deadline:
			r.t.Fatalf("the demo does not come to %q:\n%s", what, r.printed())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	text, err := command(tmp, "--once").CombinedOutput()
	out := string(text)
	require.NoError(t, err, out)
	for _, row := range []string{
		`shop +10\.10\.0\.1 +public +any address`,
		`printer +10\.20\.0\.1 +office +any of pool office`,
		`mail +10\.10\.0\.25 +public +10\.10\.0\.25`,
		`dns-tcp +10\.10\.0\.53 +public +10\.10\.0\.53, to share it`,
		`dns-udp +10\.10\.0\.53 +public +10\.10\.0\.53, to share it`,
		`serviceLoadBalancerIPs:\n +- cidr: 10\.10\.0\.0/24\n +- cidr: 10\.20\.0\.0/24\n`,
		`kubectl fairlead explain service demo/wiki\n(.*\n)*? +AddressNotInPool: .*\n(.*\n)*? +demo/wiki has 10\.10\.0\.7`,
		`kubectl fairlead plan -f smaller.yaml\n(.*\n)*? +demo/dns-udp loses: 10\.10\.0\.53 -> none\n(.*\n)*? +Disruptive`,
		`kubectl fairlead doctor\n(.*\n)*? +Namespace metallb-system: 0 errors, 0 warnings\.`,
	} {
		assert.Regexp(t, regexp.MustCompile(row), out)
	}
	if os.Geteuid() == 0 { // speakers, and what the router of the demo has from Calico's own BIRD
		assert.Regexp(t, `after \d\.\d\d s the client's kernel knows 192\.0\.2\.10\d on n\d`, out)
		assert.Regexp(t, `show bgp ipv4 unicast\n(.*\n)*.*10\.10\.0\.0/24 +10\.6\.0\.11 `, out)
	}
	assertNarrow(t, out)
	assertPictures(t, out)
	assertNothingLeft(t, tmp, out)
}

// assertPictures checks that the pictures of the documentation show what the demo prints, but for the numbers.
func assertPictures(t *testing.T, out string) {
	t.Helper()
	numbers := regexp.MustCompile(`\d+`)
	normal := func(s string) string { return strings.Join(strings.Fields(numbers.ReplaceAllString(s, "#")), " ") }
	printed := map[string]bool{"": true}
	for line := range strings.Lines(out) {
		printed[normal(line)] = true
	}
	names := []string{"explain", "plan"}
	if os.Geteuid() == 0 {
		names = append(names, "failover")
	}
	for _, name := range names {
		svg, err := os.ReadFile(testbed.Folder("docs", "pictures", name+".svg"))
		require.NoError(t, err)
		lines := regexp.MustCompile(`(?s)<text .*?</text>`).FindAllString(string(svg), -1)
		require.NotEmpty(t, lines)
		for _, line := range lines {
			text := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(line, ""))
			if !strings.Contains(text, "lladdr") { // the kernel's states differ
				assert.True(t, printed[normal(text)], "%s.svg shows %q, the demo does not: run 'make pictures'", name, text)
			}
		}
	}
}

// assertNarrow checks that everything fits into 80 columns.
func assertNarrow(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "/") { // a path is copied, and not broken
			assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80, line)
		}
	}
}

// TestInterrupted lets the demo come to its end, uses the cluster through the kubectl lines it prints, and presses Ctrl-C.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	r := begin(t, command(tmp))
	r.await("controller's log is in")
	printed := r.printed()
	assert.NotEmpty(t, processes(t, tmp), "this is how they are found")
	link := regexp.MustCompile(`(?m)^  (http://127\.0\.0\.1:\S+)$`).FindStringSubmatch(printed)
	require.NotNil(t, link, printed)
	assert.Contains(t, string(testbed.ReadDashboard(t, link[1])), `"name": "public"`)
	// The lines that the demo tells the user to type.
	lines := regexp.MustCompile(`(?m)^  (export KUBECONFIG=\S+|\S*kubectl get .*)$`).FindAllStringSubmatch(printed, -1)
	require.Len(t, lines, 4)
	var script []string
	for _, l := range lines {
		script = append(script, l[1])
	}
	got, err := exec.Command("bash", "-ec", strings.Join(script, "\n")).CombinedOutput()
	require.NoError(t, err, "%s", got)
	for _, want := range []string{"10.10.0.25", "ipaddresspool.metallb.io/office", "configurationstate.metallb.io/controller", "cidr: 10.10.0.0/24", "kind: Backend"} {
		assert.Contains(t, string(got), want)
	}

	require.NoError(t, r.Process.Signal(os.Interrupt))
	require.NoError(t, <-r.ended)
	assertNothingLeft(t, tmp, printed)
}

// TestNobodyReads: a demo of which nobody reads the rest, as with "| head", leaves nothing.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	cmd := command(tmp, "--once")
	cmd.Stdout, cmd.Stderr = write, write
	require.NoError(t, cmd.Start())
	require.NoError(t, write.Close())
	lines := bufio.NewScanner(read)
	for lines.Scan() && !strings.Contains(lines.Text(), "[3/") {
		continue
	}
	require.NoError(t, read.Close())
	assert.Error(t, cmd.Wait())
	assertNothingLeft(t, tmp, "")
}

func TestFailureNamesTheStep(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	out, err := command(tmp, "--once", "--controller", filepath.Join(bin, "missing")).CombinedOutput()
	require.Error(t, err)
	assert.Regexp(t, `step 3 of \d+ \(start the controller with --backend=calico\): start the controller: `, string(out))
	assert.Contains(t, string(out), "build it with 'make build'")
	assertNothingLeft(t, tmp, string(out))
}

func TestCilium(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	out, err := command(tmp, "--once", "--backend=cilium").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, row := range []string{
		`shop +10\.10\.0\.1 +public +any address`,
		`printer +10\.20\.0\.1 +office +any of pool office`,
		`CiliumBGPAdvertisement fairlead-bgpadv-public\n +label to\.fairlead\.io/router=true\n +Service \[LoadBalancerIP\] where fairlead\.io/pool in \(public\)\n +communities \[1234:1\]\n`,
		`CiliumBGPPeerConfig fairlead-bgppeer-router\..*\n +CiliumBGPAdvertisements for ipv4/unicast where\n(.*\n)*? +to\.fairlead\.io/router in \(true\)\n +hold time 120 s\n`,
		`CiliumBGPClusterConfig fairlead-bgp-.*\n(.*\n)*? +AS 4200000000 with router: 10\.6\.0\.1, AS 64512\n +CiliumBGPPeerConfig fairlead-bgppeer-router\..*\n`,
		`CiliumL2AnnouncementPolicy fairlead-l2-office\n +\[LoadBalancerIPs\] of Services where fairlead\.io/pool in \(office\)\n`,
		`demo/wiki has 10\.10\.0\.7`,
	} {
		assert.Regexp(t, regexp.MustCompile(row), string(out))
	}
	if os.Geteuid() == 0 { // what the router of the demo has from Cilium's own agent
		assert.Regexp(t, `show bgp ipv4 unicast\n(.*\n)*.*10\.10\.0\.1/32 +10\.6\.0\.11 `, string(out))
	}
	assertNarrow(t, string(out))
	assertNothingLeft(t, tmp, string(out))
}

func TestBackendIsChecked(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	out, err := command(tmp, "--once", "--backend=metallb").CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), `backend "metallb": want one of calico, cilium, speaker`)
	assertNothingLeft(t, tmp, string(out))

	out, err = exec.Command(filepath.Join(bin, "kubectl-fairlead"), "__complete", "demo", "--backend", "").Output()
	require.NoError(t, err)
	assert.Equal(t, "calico\ncilium\nspeaker\n:4\n", string(out))
}

// TestAllocator: addresses from Cluster API's in-cluster provider, which is stopped and started again on the way.
func TestAllocator(t *testing.T) {
	tmp := t.TempDir()
	r := begin(t, command(tmp, "--allocator=cluster-api", "--once"))
	require.NoError(t, <-r.ended, "%s", r.printed())
	out := r.printed()
	assert.Contains(t, out, "demo/late says WaitingForAllocator: waiting for an allocator: pool \"shared\": its allocator has given no IPv4 address yet")
	assert.Regexp(t, `late has 10\.7\.0\.22`, out)
	assert.Regexp(t, `demo/shop +10\.7\.0\.2[01]`, out)
	assert.Contains(t, out, "- cidr: 10.7.0.0/24")
	assertNothingLeft(t, tmp, out)
}
