package cilium

import (
	"testing"

	"github.com/fairlead/fairlead/integration/cni"
)

// TestRoutes goes through the table of package cni, and the rows of Cilium's own.
func TestRoutes(t *testing.T) {
	c := New()
	cni.Run(t, c, c.Rows()...)
}
