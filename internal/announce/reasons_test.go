package announce

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReasonsAreDocumented keeps docs/reasons.md equal to the constants.
func TestReasonsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/reasons.md")
	require.NoError(t, err)
	for _, reason := range Reasons {
		assert.Contains(t, string(b), "`"+reason+"`")
	}
}
