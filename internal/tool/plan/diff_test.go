package plan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/internal/tool/plan"
)

// TestLines: an object is YAML, without what commands a terminal.
func TestLines(t *testing.T) {
	assert.Nil(t, plan.Lines(nil))
	got := plan.Lines(map[string]any{"spec": map[string]any{"a": int64(1), "b": "x\u202ey"}})
	assert.Equal(t, []string{"spec:", "  a: 1"}, got[:2])
	assert.NotContains(t, got[2], "\u202e")
}
