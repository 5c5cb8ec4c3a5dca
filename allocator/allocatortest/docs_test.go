package allocatortest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDocs: the example in docs/allocators.md is the one that is compiled and passes the suite.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/allocators.md")
	require.NoError(t, err)
	for file, from := range map[string]string{"table_test.go": "// table gives out", "example_test.go": "allocatortest.Run("} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		_, example, found := strings.Cut(string(source), from)
		require.True(t, found)
		if file == "example_test.go" {
			example = strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(example), "\n}"), "\n\t", "\n")
		}
		assert.Contains(t, string(doc), strings.TrimSpace(from+example), file)
	}
}
