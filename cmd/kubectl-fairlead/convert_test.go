package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// convertRun runs convert on a text.
func convertRun(t *testing.T, text string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := command()
	var out, errs bytes.Buffer
	cmd.SetIn(strings.NewReader(text))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(append([]string{"convert", "-f", "-"}, args...))
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

const pools = "address-pools:\n- {name: a, protocol: layer2, addresses: [192.0.2.0/28]}\n- {name: b, protocol: bgp, addresses: [\"2001:db8::/120\"]}\n"

// TestConvertFiles: what was written is told, file by file and object by object, and no file is overwritten unasked.
func TestConvertFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "converted")
	objects, values := filepath.Join(dir, "objects.yaml"), filepath.Join(dir, "values.yaml")
	wrote := "wrote " + objects + ", for kubectl apply -f:\n  IPAddressPool metallb-system/a\n  IPAddressPool metallb-system/b\n" +
		"  L2Advertisement metallb-system/l2advertisement1\n  BGPAdvertisement metallb-system/bgpadvertisement1\n" +
		"wrote " + values + ", for helm install --values\n"
	stdout, stderr, err := convertRun(t, pools, "--output-dir", dir)
	require.NoError(t, err)
	assert.Equal(t, wrote, stdout)
	assert.Empty(t, stderr)
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	assert.Equal(t, 4, strings.Count(read(objects), "kind: "))
	assert.Equal(t, "backend: speaker\nspeaker:\n  enabled: true\n", read(values))

	// Each of the files alone is reason enough to write nothing.
	for _, kept := range []string{objects, values} {
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(kept, []byte("mine\n"), 0o600))
		stdout, _, err := convertRun(t, pools, "--output-dir", dir)
		require.ErrorContains(t, err, "there is a file "+kept+" already: overwrite it with --force, or name another --output-dir")
		assert.Empty(t, stdout)
		assert.Equal(t, "mine\n", read(kept))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 1)
	}
	stdout, _, err = convertRun(t, pools, "--output-dir", dir, "--force")
	require.NoError(t, err)
	assert.Equal(t, wrote, stdout)
	assert.Contains(t, read(values), "backend: speaker")

	stdout, _, err = convertRun(t, "speaker: {tolerateMaster: false}\n", "--output-dir", filepath.Join(dir, "values-only"))
	require.NoError(t, err)
	assert.Equal(t, "wrote "+filepath.Join(dir, "values-only", "values.yaml")+", for helm install --values\n", stdout)
}

// TestConvertOutput: -o writes the values or the objects alone, as they can be used; without it the values are comments, which is told.
func TestConvertOutput(t *testing.T) {
	const values = "backend: speaker\nspeaker:\n  enabled: true\n"
	stdout, stderr, err := convertRun(t, pools, "-o", "values")
	require.NoError(t, err)
	assert.Equal(t, values, stdout)
	assert.Empty(t, stderr)

	objects, stderr, err := convertRun(t, pools, "-o", "objects")
	require.NoError(t, err)
	assert.Empty(t, stderr)
	assert.True(t, strings.HasPrefix(objects, "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n"), objects)
	assert.Equal(t, 4, strings.Count(objects, "kind: "))
	assert.NotContains(t, objects, "#")

	stdout, stderr, err = convertRun(t, pools)
	require.NoError(t, err)
	assert.Equal(t, "# objects.yaml: kubectl apply -f\n"+objects+"---\n# values.yaml: helm install --values\n"+comment([]byte(values)), stdout)
	assert.Contains(t, stderr, "the values are comments in this output; -o values writes them alone")

	stdout, stderr, err = convertRun(t, "speaker: {tolerateMaster: false}\n", "-o", "objects")
	require.NoError(t, err)
	assert.Empty(t, stdout)
	assert.Equal(t, "note: no objects come of this input\n", stderr)

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "json"}, `--output: "json" is not something to write; use one of values, objects`},
		{[]string{"-o", "values", "--output-dir", "x"}, "if any flags in the group [output output-dir] are set none of the others can be"},
		{[]string{"--force"}, "--force needs --output-dir"},
	} {
		_, _, err := convertRun(t, pools, c.args...)
		require.ErrorContains(t, err, c.want)
	}
}

// TestConvertCompletion: the shell offers what the flags take.
func TestConvertCompletion(t *testing.T) {
	for flag, want := range map[string][]string{
		"--output": {"values", "objects"}, "--from": {"kubespray", "configmap", "values", "objects"}, "--backend": {"auto", "calico", "cilium", "speaker", "none"},
	} {
		cmd := command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&bytes.Buffer{})
		cmd.SetArgs([]string{"__complete", "convert", flag, ""})
		require.NoError(t, cmd.Execute())
		assert.Equal(t, append(want, ":4", ""), strings.Split(out.String(), "\n"), flag)
	}
}

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
	cmd.SetOut(&bytes.Buffer{})
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs([]string{"convert", "-f", vars, "--output-dir", dir, "--force"})
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
