package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRefused: what is wrong is said before anything is built, all of it at once.
func TestRefused(t *testing.T) {
	source := t.TempDir()
	command(t, source, "git", "init", "--quiet")
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(source, name), []byte(text), 0o644))
	}
	write("CHANGELOG.md", "# Changelog\n\n## v1.2.3 (2026-01-02)\n\nThis.\n\n## v1.2.2\n\nThat.\n")
	command(t, source, "git", "add", ".")
	command(t, source, "git", "commit", "--quiet", "--message", "all")
	helm, err := os.Executable() // any file
	require.NoError(t, err)
	good := options{version: version, source: source, out: filepath.Join(source, "out"), helm: helm, platforms: "linux/amd64"}

	r, err := good.release(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "This.", r.notes)
	require.NoError(t, os.Remove(r.work))

	for _, c := range []struct {
		name   string
		change func(*options)
		want   string
	}{
		{"no version", func(o *options) { o.version = "" }, "VERSION is missing: want such as v1.2.3"},
		{"no v", func(o *options) { o.version = "1.2.3" }, `VERSION "1.2.3": want v, three numbers`},
		{"two numbers", func(o *options) { o.version = "v1.2" }, `VERSION "v1.2": want v, three numbers`},
		{"build metadata", func(o *options) { o.version = "v1.2.3+x" }, `VERSION "v1.2.3+x": want v, three numbers`},
		{"not in the changelog", func(o *options) { o.version = "v1.2.4" }, `says nothing of v1.2.4: want a section "## v1.2.4", or "## Unreleased"`},
		{"unknown platform", func(o *options) { o.platforms = "linux/amd64,plan9/amd64" }, `--platforms: "plan9/amd64": want some of linux/amd64`},
		{"no Linux", func(o *options) { o.platforms = "darwin/arm64" }, `--platforms: "darwin/arm64": want one of Linux at least`},
		{"no helm", func(o *options) { o.helm = "nowhere" }, "'make tools' builds it"},
		{"two at once", func(o *options) { o.version, o.platforms = "x", "y" }, "VERSION \"x\": want v, three numbers, and what marks a version before it, if any: v1.2.3 or v1.2.3-rc.1\n--platforms: \"y\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good
			c.change(&o)
			assert.ErrorContains(t, run(t.Context(), o), c.want)
			assert.NoDirExists(t, o.out)
		})
	}
	foreign := good
	foreign.out = source
	assert.ErrorContains(t, run(t.Context(), foreign), source+" holds files and is no release")
	assert.FileExists(t, filepath.Join(source, "CHANGELOG.md"))
	write("checksums.txt", "")
	assert.ErrorContains(t, replaceable(source), "of which its checksums.txt says nothing")
	require.NoError(t, os.Remove(filepath.Join(source, "checksums.txt")))
	old := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(old, "fairlead.yaml"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(old, "checksums.txt"), []byte(strings.Repeat("0", 64)+"  fairlead.yaml\n"), 0o644))
	assert.NoError(t, replaceable(old), "a release is replaced")
	require.NoError(t, os.WriteFile(filepath.Join(old, "mine"), nil, 0o644))
	assert.ErrorContains(t, replaceable(old), old+" holds mine, of which its checksums.txt says nothing")
	write("new", "")
	assert.ErrorContains(t, run(t.Context(), good), "these files are not as committed; commit them, or try it with RELEASE_ARGS=--dirty:\n?? new")
	dirty := good
	dirty.dirty = true
	r, err = dirty.release(t.Context())
	require.NoError(t, err)
	assert.Regexp(t, "^[0-9a-f]{40}-dirty$", r.commit)
	require.NoError(t, os.Remove(r.work))
}
