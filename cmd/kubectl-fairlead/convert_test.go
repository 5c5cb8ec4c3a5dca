package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestConvertHostile: what a file says commands no terminal.
func TestConvertHostile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vars.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`"metallb_\e[31mfoo": 1`+"\n"), 0o600))
	cmd := command()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs([]string{"convert", "-f", path})
	require.ErrorContains(t, cmd.Execute(), "nothing is written")
	assert.Contains(t, errs.String(), "metallb_[31mfoo: unknown variable")
	assert.NotContains(t, errs.String(), "\x1b")
	assert.Empty(t, out.String())
}

// TestConvertMode: passwords of peers are for nobody else to read, not even in files that were there before.
func TestConvertMode(t *testing.T) {
	dir := t.TempDir()
	vars := filepath.Join(dir, "vars.yaml")
	require.NoError(t, os.WriteFile(vars, []byte("peers:\n- {peer-address: 10.0.0.1, peer-asn: 64501, my-asn: 64500, password: secret}\n"), 0o600))
	objects := filepath.Join(dir, "objects.yaml")
	require.NoError(t, os.WriteFile(objects, nil, 0o644))
	cmd := command()
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs([]string{"convert", "-f", vars, "--output-dir", dir})
	require.NoError(t, cmd.Execute())
	info, err := os.Stat(objects)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(objects)
	require.NoError(t, err)
	assert.Contains(t, string(text), "password: secret")
}

// TestConvertStale: objects of an earlier conversion are not left beside the values of this one.
func TestConvertStale(t *testing.T) {
	dir := t.TempDir()
	vars := filepath.Join(dir, "vars.yaml")
	require.NoError(t, os.WriteFile(vars, []byte("metallb_enabled: true\nmetallb_speaker_enabled: false\n"), 0o600))
	objects := filepath.Join(dir, "objects.yaml")
	require.NoError(t, os.WriteFile(objects, []byte("kind: Old\n"), 0o600))
	cmd := command()
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs([]string{"convert", "-f", vars, "--output-dir", dir})
	require.ErrorContains(t, cmd.Execute(), "there is a file "+objects+" already, and no objects come of this input")
	assert.NoFileExists(t, filepath.Join(dir, "values.yaml"))
}
