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
