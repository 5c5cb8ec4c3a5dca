package chart

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// released returns a copy of the chart as it is in a release, with the digest of its image.
func released(t *testing.T, digest string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(folder)))
	path := filepath.Join(to, "Chart.yaml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), "0.0.0-devel")
	text = bytes.ReplaceAll(text, []byte("0.0.0-devel"), []byte("1.2.3"))
	write(t, path, bytes.Replace(text, []byte(`image-digest: ""`), []byte("image-digest: "+digest), 1))
	return to
}

// TestPublished: the chart of a release has its image by digest, unless a tag says otherwise; of the image of another chart it is said
// that it is published nowhere.
func TestPublished(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	other := strings.Repeat("f", 64)
	release := released(t, digest)
	const nowhere = "NO POD WILL RUN unless you have pushed this image yourself"
	for _, c := range []struct{ name, chart, values, image, missing string }{
		{"no release", folder, "", "ghcr.io/fairlead/fairlead:v0.0.0-devel", "ghcr.io/fairlead/fairlead:v0.0.0-devel"},
		{"no release, another registry", folder, "controller.image.registry=registry.example", "registry.example/fairlead/fairlead:v0.0.0-devel", "registry.example/fairlead/fairlead:v0.0.0-devel"},
		{"no release, a tag", folder, "controller.image.tag=v9", "ghcr.io/fairlead/fairlead:v9", ""},
		{"no release, a digest", folder, "controller.image.digest=" + digest, "ghcr.io/fairlead/fairlead@" + digest, ""},
		{"no release, only the speakers' image is missing", folder, "controller.image.digest=" + digest + ",speaker.enabled=true,speaker.image.repository=other.example/lb", "ghcr.io/fairlead/fairlead@" + digest, "other.example/lb:v0.0.0-devel"},
		{"a release", release, "", "ghcr.io/fairlead/fairlead@" + digest, ""},
		{"a release, a mirror", release, "global.imageRegistry=registry.example", "registry.example/fairlead/fairlead@" + digest, ""},
		{"a release, a tag", release, "controller.image.tag=v9", "ghcr.io/fairlead/fairlead:v9", ""},
		{"a release, another digest", release, "controller.image.digest=sha256:" + other, "ghcr.io/fairlead/fairlead@sha256:" + other, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := mustHelm(t, "install", "fairlead", c.chart, "--namespace", "metallb-system", "--dry-run=client", "--set", c.values, "--set", "crds.enabled=false")
			manifests, notes, found := strings.Cut(out, "\nNOTES:\n")
			require.True(t, found, out)
			assert.Contains(t, manifests, "image: "+c.image+"\n")
			if c.missing == "" {
				assert.NotContains(t, notes, nowhere)
			} else {
				assert.Contains(t, notes, nowhere)
				assert.Contains(t, notes, "\n     "+c.missing+"\n")
			}
		})
	}
}
