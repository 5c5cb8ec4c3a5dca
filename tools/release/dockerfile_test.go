package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDockerfile: what the image of a release could not follow is refused.
func TestDockerfile(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"FROM scratch\nARG A=1\nLABEL a=${A} b=${B}\nARG B=2\nCOPY dist/x /\nCMD [\"/x\"]\n", ""},
		{"FROM debian\n", "want one stage, from scratch"},
		{"FROM scratch\nRUN [\"/x\"]\n", "the instruction RUN is not known here"},
		{"FROM scratch\nCOPY x /bin/\n", "want files of the repository that are copied to /"},
		{"FROM scratch\nCMD /x\n", "want a list in JSON"},
	} {
		path := filepath.Join(t.TempDir(), "Dockerfile")
		require.NoError(t, os.WriteFile(path, []byte(c.text), 0o644))
		r, err := readDockerfile(path, map[string]string{"B": "given"})
		if c.want != "" {
			assert.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err)
		got, err := json.Marshal(r.config.Labels)
		require.NoError(t, err)
		assert.JSONEq(t, `{"a": "1", "b": ""}`, string(got), "an argument counts below its ARG")
		assert.Equal(t, []string{"dist/x"}, r.files)
		assert.Equal(t, []string{"/x"}, r.config.Cmd)
	}
}
