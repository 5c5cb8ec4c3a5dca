package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/krew/pkg/index"
	"sigs.k8s.io/yaml"
)

// validate has krew's own validator look at a manifest, without installing anything.
func validate(t *testing.T, path string) {
	t.Helper()
	command(t, ".", "go", "tool", "validate-krew-manifest", "-skip-install", "-manifest", path)
}

// TestKrew: krew takes a manifest for all platforms.
func TestKrew(t *testing.T) {
	r := &release{version: version, out: t.TempDir(), archives: map[platform]string{}}
	for _, name := range allPlatforms {
		os, arch, _ := strings.Cut(name, "/")
		r.platforms = append(r.platforms, platform{os, arch})
	}
	for _, p := range r.platforms {
		r.archives[p] = r.base(plugin, p)
		require.NoError(t, os.WriteFile(r.file(r.archives[p]), []byte(p.String()), 0o644))
	}
	require.NoError(t, r.writeKrew(t.Context()))
	validate(t, r.file("fairlead.yaml"))
	text, err := os.ReadFile(r.file("fairlead.yaml"))
	require.NoError(t, err)
	var p index.Plugin
	require.NoError(t, yaml.UnmarshalStrict(text, &p))
	require.Len(t, p.Spec.Platforms, len(allPlatforms))
	for i, of := range p.Spec.Platforms {
		assert.Equal(t, allPlatforms[i], of.Selector.MatchLabels["os"]+"/"+of.Selector.MatchLabels["arch"])
		assert.Equal(t, of.Selector.MatchLabels["os"] == "windows", filepath.Ext(of.Bin) == ".exe")
		sum, err := digestOf(r.file(filepath.Base(of.URI)))
		require.NoError(t, err)
		assert.Equal(t, sum, of.Sha256)
	}
}
