package document_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/tool/document"
)

// TestCount: a count is a number as long as everybody reads it as one, and comes back whole.
func TestCount(t *testing.T) {
	for n, want := range map[document.Count]string{
		0: "0", 16: "16", 1<<53 - 1: "9007199254740991", 1 << 53: `"9007199254740992"`, 1<<53 + 1: `"9007199254740993"`, math.MaxInt64: `"9223372036854775807"`,
	} {
		b, err := json.Marshal(n)
		require.NoError(t, err)
		assert.Equal(t, want, string(b))
		var back document.Count
		require.NoError(t, json.Unmarshal(b, &back))
		assert.Equal(t, n, back)
	}
	for _, wrong := range []string{`"x"`, `-1`, `1.5`, `""`, `true`, `"9223372036854775808"`} {
		assert.Error(t, json.Unmarshal([]byte(wrong), new(document.Count)), wrong)
	}
}

func TestDocument(t *testing.T) {
	type report struct {
		Text string          `json:"text,omitempty"`
		Free *document.Count `json:"free,omitempty"`
	}
	b, err := document.JSON(document.PoolList, report{Text: "a\x1b[2J<b>", Free: new(document.Count(1 << 62))})
	require.NoError(t, err)
	assert.Equal(t, `{
  "apiVersion": "tool.fairlead.io/v1",
  "kind": "PoolList",
  "text": "a\u001b[2J<b>",
  "free": "4611686018427387904"
}
`, string(b))
	b, err = document.JSON(document.PoolList, report{})
	require.NoError(t, err)
	assert.JSONEq(t, `{"apiVersion": "tool.fairlead.io/v1", "kind": "PoolList"}`, string(b))
	b, err = document.YAML(document.PoolList, report{Free: new(document.Count(1 << 62))})
	require.NoError(t, err)
	assert.Equal(t, "apiVersion: tool.fairlead.io/v1\nfree: \"4611686018427387904\"\nkind: PoolList\n", string(b))
	_, err = document.JSON(document.PoolList, []string{"a"})
	assert.EqualError(t, err, "a PoolList is no object")
}
