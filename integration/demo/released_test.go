package demo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

// TestReleased: the demo takes released binaries of kube-apiserver and etcd where there are any, and is none the worse where there are none.
func TestReleased(t *testing.T) {
	t.Parallel()
	archive := released(t, map[string]string{"kube-apiserver": "an API server", "etcd": "a store", "kubectl": "kubectl"})
	name := fmt.Sprintf("envtest-v1.36.2-%s-%s.tar.gz", runtime.GOOS, runtime.GOARCH)
	var here string
	mux := http.NewServeMux()
	mux.HandleFunc("/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "releases:\n  v1.36.2:\n    %s:\n      hash: %x\n      selfLink: %s/%[1]s\n", name, sha512.Sum512(archive), here)
	})
	mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) })
	server := httptest.NewServer(mux)
	defer server.Close()
	here = server.URL

	for _, c := range []struct{ name, index, says string }{
		{"there are", here + "/index.yaml", "they are in "},
		{"there are none", here + "/nothing", "there are none to be had: they are built, once"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command("make", "released", "BIN="+dir, "ASSETS="+dir, "ENVTEST_INDEX="+c.index)
			cmd.Dir = testbed.Folder()
			t.Cleanup(func() { // setup-envtest makes what it unpacks read-only
				_ = filepath.Walk(dir, func(path string, _ os.FileInfo, _ error) error { return os.Chmod(path, 0o755) })
			})
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			assert.Contains(t, string(out), c.says)
			b, err := os.ReadFile(filepath.Join(dir, "kube-apiserver"))
			if c.name == "there are none" {
				assert.ErrorIs(t, err, os.ErrNotExist)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "an API server", string(b))
			assert.FileExists(t, filepath.Join(dir, "etcd"))
		})
	}
}

// released returns an archive as controller-tools publishes them.
func released(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "controller-tools/envtest/" + name, Mode: 0o755, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return out.Bytes()
}
