package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// compareImage compares the image in a folder with the layout of OCI with the one that buildah makes of the Dockerfile of a repository.
func compareImage(t *testing.T, folder, source string) {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil || os.Geteuid() != 0 {
		t.Skip("buildah is not installed, or may not be used: the image is compared with the Dockerfile only")
	}
	store := t.TempDir()
	buildah := []string{"buildah", "--root", filepath.Join(store, "root"), "--runroot", filepath.Join(store, "run"), "--storage-driver", "vfs"}
	command(t, source, "make", "image", "VERSION="+version, "PLATFORM=linux/"+runtime.GOARCH, "IMAGE=localhost/fairlead:test", "BUILDER="+strings.Join(buildah, " "))
	var built struct {
		OCIv1 struct {
			Architecture, OS string
			Config           v1.Config
		}
	}
	inspected, err := exec.CommandContext(t.Context(), buildah[0], append(buildah[1:], "inspect", "--type", "image", "localhost/fairlead:test")...).Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(inspected, &built))
	delete(built.OCIv1.Config.Labels, "io.buildah.version")

	top, err := layout.ImageIndexFromPath(folder)
	require.NoError(t, err)
	manifest, err := top.IndexManifest()
	require.NoError(t, err)
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	platforms, err := index.IndexManifest()
	require.NoError(t, err)
	compared := false
	for _, m := range platforms.Manifests {
		if m.Platform.Architecture != runtime.GOARCH {
			continue
		}
		image, err := index.Image(m.Digest)
		require.NoError(t, err)
		ours, err := image.ConfigFile()
		require.NoError(t, err)
		assert.Equal(t, built.OCIv1.OS+"/"+built.OCIv1.Architecture, ours.OS+"/"+ours.Architecture)
		assert.Equal(t, built.OCIv1.Config.Labels, ours.Config.Labels)
		assert.Equal(t, built.OCIv1.Config.Cmd, ours.Config.Cmd)
		assert.Equal(t, built.OCIv1.Config.Entrypoint, ours.Config.Entrypoint)
		assert.Equal(t, built.OCIv1.Config.User, ours.Config.User)
		compared = true
	}
	assert.True(t, compared, "the image is not for linux/%s", runtime.GOARCH)
}
