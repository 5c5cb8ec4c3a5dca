package membership

import (
	"testing"

	"github.com/fairlead/fairlead/backends/backendtest"
)

// TestAboutEqual: what a speaker says of itself is said anew if any of it has changed; the number under which it is said is no part of that.
func TestAboutEqual(t *testing.T) {
	backendtest.EveryField(t, func(a, b about) bool { return a.equal(&b) }, "Seq")
	backendtest.EveryField(t, equalLinks)
}
