package migrate

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfirm(t *testing.T) {
	m := New(nil, Options{In: strings.NewReader("y\n Yes \nno\n\n"), Out: io.Discard})
	var got []bool
	for range 5 {
		got = append(got, m.confirm(t.Context(), "?") == nil)
	}
	assert.Equal(t, []bool{true, true, false, false, false}, got, "nothing is said at the end of the input")
	require.NoError(t, New(nil, Options{Yes: true}).confirm(t.Context(), "?"))

	// Interrupted while nobody answers.
	silent, w := io.Pipe()
	defer w.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	require.ErrorIs(t, New(nil, Options{In: silent, Out: io.Discard}).confirm(ctx, "?"), errNotConfirmed)
}

// TestSay: what objects say commands no terminal.
func TestSay(t *testing.T) {
	var out strings.Builder
	New(nil, Options{Out: &out}).say("\nHelm release %s\n  next", "a\x1b[31m\u202e")
	assert.Equal(t, "\nHelm release a[31m\n  next\n", out.String())
}
