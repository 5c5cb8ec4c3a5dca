package backends

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLabelValue(t *testing.T) {
	assert.Equal(t, "primary", LabelValue("primary"))
	long := strings.Repeat("a", 64)
	got := LabelValue(long)
	assert.Len(t, got, 63)
	assert.Equal(t, strings.Repeat("a", 46)+"-ffe054fe7ae0cb6d", got)
	assert.NotEqual(t, got, LabelValue(long+"b"))
}
