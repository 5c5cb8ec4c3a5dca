package reference

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/reference anew")

const chart = "../../../charts/fairlead/"

// values returns the chart's.
func values(t testing.TB) []Value {
	t.Helper()
	s, err := os.ReadFile(chart + "values.schema.json")
	require.NoError(t, err)
	v, err := os.ReadFile(chart + "values.yaml")
	require.NoError(t, err)
	out, err := Values(v, s)
	require.NoError(t, err)
	return out
}

// TestValuesReference keeps docs/reference/values.md true: every value of values.yaml is in the schema, and the other way round.
func TestValuesReference(t *testing.T) {
	Check(t, "../../../docs/reference/values.md", "# Reference: values of the chart\n\nWritten by `make reference` from `values.yaml` and its schema.\n\n"+
		valuesTable(values(t)), *update)
}

// TestChartReference keeps the chart's README true.
func TestChartReference(t *testing.T) {
	c, err := os.ReadFile(chart + "Chart.yaml")
	require.NoError(t, err)
	text, err := ChartReadme(c, values(t))
	require.NoError(t, err)
	Check(t, chart+"README.md", text, *update)
}

// TestValues: what one file knows, and the other does not, is found, and so is what the comment at a value says.
func TestValues(t *testing.T) {
	const s = `{"properties": {"a": {"type": "string"}, "b": {"properties": {"c": {"enum": ["", "x", "y"]}, "d": {"type": ["integer", "string"]}}}}}`
	got, err := Values([]byte("# Of the file.\n\n# Of a,\n# on two lines.\na: x\n# Of b.\nb:\n  c: \"\"\n  # This | that.\n  d: 1\n"), []byte(s))
	require.NoError(t, err)
	assert.Equal(t, []Value{
		{Name: "a", Takes: "string", Default: "`x`", Text: "Of a, on two lines."}, {Name: "b", Text: "Of b.", Section: true},
		{Name: "b.c", Takes: "`x`, `y`"}, {Name: "b.d", Takes: "integer or string", Default: "`1`", Text: `This \| that.`},
	}, got)
	text, err := ChartReadme([]byte("name: x\ndescription: Does it\nhome: https://example.org"), got)
	require.NoError(t, err)
	assert.Contains(t, text, "\n## General\n\n| value | takes | default | |\n|---|---|---|---|\n| `a` | string | `x` | Of a, on two lines. |\n\n## b\n")
	_, err = Values([]byte("a: x\nz: 1\nb: {c: x}\n"), []byte(s))
	assert.EqualError(t, err, "z is not in values.schema.json\nb.d is in values.schema.json, but not in values.yaml")
}
