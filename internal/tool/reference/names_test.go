package reference

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	named = regexp.MustCompile(`^(fairlead\.io|metallb\.io|peer\.fairlead\.io|lbipam\.cilium\.io|io\.cilium)/[a-zA-Z][a-zA-Z-]*$`)
	// elsewhere are strings of the same form that are no annotations, labels or conditions: API versions.
	elsewhere = map[string]bool{"fairlead.io/v": true, "metallb.io/v": true}
)

// TestNamesReference: docs/reference/annotations.md has every annotation, label and condition that the code reads or writes.
func TestNamesReference(t *testing.T) {
	text, err := os.ReadFile("../../../docs/reference/annotations.md")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, dir := range []string{"allocator", "api", "backends", "cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", "..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if s, err := strconv.Unquote(l.Value); err == nil && named.MatchString(s) && !elsewhere[s] {
						seen[s] = true
					}
				}
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
	require.Greater(t, len(seen), 8)
	for name := range seen {
		assert.Contains(t, string(text), "`"+name+"`", "docs/reference/annotations.md")
	}
	for _, ask := range []string{"address-pool", "loadBalancerIPs", "allow-shared-ip"} { // put together in the code
		assert.Contains(t, string(text), "`metallb.io/"+ask+"`")
	}
}
