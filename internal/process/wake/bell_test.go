package wake

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBell(t *testing.T) {
	var b Bell
	b.Ring() // nobody listens
	var heard []string
	b.Listen(func() { heard = append(heard, "a") })
	b.Listen(func() {
		heard = append(heard, "b")
		b.Listen(func() {}) // a listener may have others listen
	})
	b.Ring()
	assert.Equal(t, []string{"a", "b"}, heard)
}
