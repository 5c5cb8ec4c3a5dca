// Package documenttest holds documents against their published schemas.
package documenttest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/tool/document"
)

// Schema returns the published schema of a kind.
func Schema(t testing.TB, root string, kind document.Kind) *jsonschema.Schema {
	t.Helper()
	published, err := os.Open(filepath.Join(root, "docs/reference/schema", string(kind)+".json"))
	require.NoError(t, err)
	defer published.Close()
	text, err := jsonschema.UnmarshalJSON(published)
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(string(kind), text))
	schema, err := c.Compile(string(kind))
	require.NoError(t, err)
	return schema
}

// Validate fails t if a document, in JSON, is not what the schema of its kind says; root is the folder of the repository. It returns the
// document without apiVersion and kind.
func Validate(t testing.TB, root string, text []byte) (document.Kind, []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err, "%s", text)
	fields, ok := value.(map[string]any)
	require.True(t, ok, "%s", text)
	require.Equal(t, document.APIVersion, fields["apiVersion"], "%s", text)
	kind, _ := fields["kind"].(string)
	require.Contains(t, document.Sources, document.Kind(kind))
	assert.NoError(t, Schema(t, root, document.Kind(kind)).Validate(value), "%s", text)
	delete(fields, "apiVersion")
	delete(fields, "kind")
	rest, err := json.Marshal(fields)
	require.NoError(t, err)
	return document.Kind(kind), rest
}
