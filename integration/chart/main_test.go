// Package chart tests the Helm chart: what it renders, that a real API server takes it, and that the controller and the speaker can do
// their work with the permissions it gives, and need them.
package chart

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

var bed *testbed.Bed

func TestMain(m *testing.M) { os.Exit(testbed.Main(m, &bed)) }

var folder = testbed.Folder("charts", "fairlead")

// helm runs Helm, without the user's settings, and returns what it prints and whether it succeeded.
func helm(t testing.TB, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	config := filepath.Join(home, "kubeconfig")
	require.NoError(t, os.WriteFile(config, bed.Kubeconfig, 0o600))
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), testbed.Folder("bin", "helm"), args...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + config, "TZ=" + os.Getenv("TZ")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String() + stderr.String(), err
	}
	return stdout.String(), nil
}

// mustHelm is helm that has to succeed.
func mustHelm(t testing.TB, args ...string) string {
	t.Helper()
	out, err := helm(t, args...)
	require.NoError(t, err, "helm %s: %s", strings.Join(args, " "), out)
	return out
}
