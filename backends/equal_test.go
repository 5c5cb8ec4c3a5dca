package backends_test

import (
	"testing"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
)

func TestLinkEqual(t *testing.T) { backendtest.EveryField(t, backends.Link.Equal) }
