package cilium

import (
	"testing"

	"github.com/fairlead/fairlead/integration/cni"
)

// TestRoutes goes through the table of package cni.
func TestRoutes(t *testing.T) { cni.Run(t, New()) }
