package calico

import (
	"testing"

	"github.com/fairlead/fairlead/integration/cni"
)

// TestRoutes goes through the table of package cni on Calico.
func TestRoutes(t *testing.T) {
	c := New()
	cni.Run(t, c, c.Rows()...)
}
