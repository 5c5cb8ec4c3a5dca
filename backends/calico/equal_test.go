package calico

import (
	"testing"

	"github.com/fairlead/fairlead/backends/backendtest"
)

func TestRecordEqual(t *testing.T) {
	backendtest.EveryField(t, Record.Equal)
	backendtest.EveryField(t, Tag.equal)
}
