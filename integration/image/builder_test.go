package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBuilder: 'make image' takes the first builder that is there and works, or the one that is named.
func TestBuilder(t *testing.T) {
	dir := checkout(t)
	needed := t.TempDir()
	for _, name := range []string{"make", "bash", "go", "git"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(needed, name)))
	}
	const works, idle = 0, 1
	for _, c := range []struct {
		name    string
		there   map[string]int // how 'info' of each builder ends
		builder string
		takes   string // empty: none
		says    string
	}{
		{name: "docker", there: map[string]int{"docker": works, "podman": works, "buildah": works}, takes: "docker"},
		{name: "docker without a daemon", there: map[string]int{"docker": idle, "podman": works}, takes: "podman"},
		{name: "buildah", there: map[string]int{"buildah": works}, takes: "buildah"},
		{name: "named", there: map[string]int{"docker": works, "buildah": idle}, builder: "buildah --root /x", takes: "buildah --root /x"},
		{name: "none", says: "none of docker podman buildah is there and answers to 'info'"},
		{name: "none works", there: map[string]int{"docker": idle}, says: "none of docker podman buildah is there and answers to 'info'"},
		{name: "named, and not there", there: map[string]int{"docker": works}, builder: "kaniko", says: "BUILDER kaniko is not there; take one of docker podman buildah"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin := t.TempDir()
			for name, code := range c.there {
				require.NoError(t, os.WriteFile(filepath.Join(bin, name), fmt.Appendf(nil, "#!/bin/sh\nexit %d\n", code), 0o755))
			}
			run := func(args ...string) (string, error) {
				if c.builder != "" {
					args = append(args, "BUILDER="+c.builder)
				}
				cmd := exec.CommandContext(t.Context(), "make", append([]string{"-C", dir, "VERSION=" + version, "COMMIT=" + commit, "IMAGE=x/y:z"}, args...)...)
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+needed)
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := run("builder")
			if c.takes == "" {
				require.Error(t, err)
				assert.Contains(t, out, "no image can be built: "+c.says)
				return
			}
			require.NoError(t, err, out)
			out, err = run("--dry-run", "image")
			require.NoError(t, err, out)
			assert.Contains(t, out, "\n"+c.takes+" build --platform linux/amd64 --build-arg VERSION="+version+" --build-arg COMMIT="+commit+" --tag x/y:z .\n")
		})
	}
}
