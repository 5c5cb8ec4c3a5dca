package backends

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/integration/testbed"
)

var update = flag.Bool("update", false, "write the generated part of docs/delegation.md")

const (
	fieldsBegin = "<!-- fields: written by go test ./integration/backends -run TestDocs -update -->\n"
	fieldsEnd   = "<!-- end of fields -->\n"
)

// fieldTables returns what becomes of each field, a table for each kind.
func fieldTables(t *testing.T) string {
	mappings := [2][]backends.FieldMapping{calico.Mapping(), cilium.Mapping()}
	require.Len(t, mappings[1], len(mappings[0]))
	var out strings.Builder
	kind := ""
	for i, m := range mappings[0] {
		c := mappings[1][i]
		require.Equal(t, m.Kind+m.Field, c.Kind+c.Field, "both tables are in the same order")
		if m.Kind != kind {
			kind = m.Kind
			fmt.Fprintf(&out, "\n### %s\n\n| field | Calico | Cilium |\n|---|---|---|\n", kind)
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", m.Field, cell(m), cell(c))
	}
	return out.String() + "\n"
}

func cell(m backends.FieldMapping) string {
	text := string(m.How)
	if m.To != "" {
		text += ": " + m.To
	}
	text += "."
	if m.Note != "" {
		text += " " + m.Note
	}
	return text
}

// TestDocs keeps docs/delegation.md equal to the code.
func TestDocs(t *testing.T) {
	file := testbed.Folder("docs", "delegation.md")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(b), fieldsBegin)
	require.True(t, ok, "%s has no place for the fields", file)
	is, after, ok := strings.Cut(rest, fieldsEnd)
	require.True(t, ok, "%s has no end of the fields", file)
	want := fieldTables(t)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+fieldsBegin+want+fieldsEnd+after), 0o644))
		return
	}
	assert.Equal(t, want, is, "run: go test ./integration/backends -run TestDocs -update")

	for _, f := range []backends.FindingType{
		backends.UnsupportedField, backends.BackendInactive, backends.Contended, backends.IPAMConflict, backends.PeerExists, backends.CoveredByExisting,
		backends.ConfigFrozen, backends.HandingOver, backends.SharedAddress,
	} {
		assert.Contains(t, before, fmt.Sprintf("\n| `%s` |", f), "the condition is not explained")
	}
	for _, a := range calico.Aggregations {
		assert.Contains(t, before, fmt.Sprintf("\n| `%s` |", a), "the aggregation is not explained")
	}
	options, err := os.ReadFile(testbed.Folder("cmd", "controller", "options.go"))
	require.NoError(t, err)
	for _, name := range []string{"backend", "bgp-backend", "l2-backend", "manage-peers", "allow-wider-advertisement", "calico-aggregation", "cilium-namespace"} {
		assert.Contains(t, before, fmt.Sprintf("\n| `--%s` |", name))
		assert.Contains(t, string(options), fmt.Sprintf("%q", name), "there is no such flag")
	}
}
