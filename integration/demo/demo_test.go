// Package demo runs the demo as a user does and reads what it prints.
package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

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
	build := exec.Command("go", "build", "-o", bin, testbed.Folder("cmd", "controller"), testbed.Folder("cmd", "kubectl-fairlead"))
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

// leftovers returns the files that a demo has left behind.
func leftovers(t *testing.T, tmp string) []string {
	entries, err := os.ReadDir(tmp)
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestOnce(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	out, err := command(tmp, "--once").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, row := range []string{
		`any-pool +10\.6\.0\.0 +pool1 +any address`,
		`one-pool +10\.5\.0\.0 +primary `,
		`one-address +10\.10\.0\.25 +pool2 `,
		`shared-http +10\.10\.0\.0 +pool2 `,
		`shared-https +10\.10\.0\.0 +pool2 `,
		`serviceLoadBalancerIPs:\n +- cidr: 10\.5\.0\.0/16\n +- cidr: 10\.6\.0\.0/16\n +- cidr: 10\.10\.0\.0/16\n`,
	} {
		assert.Regexp(t, regexp.MustCompile(row), string(out))
	}
	assert.Empty(t, leftovers(t, tmp))
}

// TestInterrupted lets the demo come to its end, uses the cluster through the kubectl lines it prints, and presses Ctrl-C.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	cmd := command(tmp)
	file := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(file)
	require.NoError(t, err)
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	printed := ""
	for deadline := time.After(testbed.Patience); !strings.Contains(printed, "controller's log is in"); {
		select {
		case err := <-ended:
			t.Fatalf("the demo ended: %v\n%s", err, printed)
		case <-deadline:
			t.Fatalf("the demo does not come to its end:\n%s", printed)
		case <-time.After(50 * time.Millisecond):
		}
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		printed = string(b)
	}
	// The lines that the demo tells the user to type.
	lines := regexp.MustCompile(`(?m)^  (export KUBECONFIG=\S+|\S*kubectl get .*)$`).FindAllStringSubmatch(printed, -1)
	require.Len(t, lines, 4)
	var script []string
	for _, l := range lines {
		script = append(script, l[1])
	}
	got, err := exec.Command("bash", "-ec", strings.Join(script, "\n")).CombinedOutput()
	require.NoError(t, err, "%s", got)
	for _, want := range []string{"10.10.0.25", "ipaddresspool.metallb.io/primary", "configurationstate.metallb.io/controller", "cidr: 10.10.0.0/16", "kind: Backend"} {
		assert.Contains(t, string(got), want)
	}

	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, <-ended)
	assert.Empty(t, leftovers(t, tmp))
}

func TestFailureNamesTheStep(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	out, err := command(tmp, "--once", "--controller", filepath.Join(bin, "missing")).CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "step 3 of 6 (start the controller with --backend=calico): start the controller: ")
	assert.Contains(t, string(out), "build it with 'make build'")
	assert.Empty(t, leftovers(t, tmp))
}
