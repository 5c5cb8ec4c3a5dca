package keep_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/process/keep"
)

// TestChange: what is said of some changes, and of no others; whoever waits for it is told.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		k := keep.New(options(d, "a"))
		start(t, k)
		k.Set(say("a", "web", "db"), nil)
		settle()
		before := d.Writes("")
		change := func(want map[string]*says) {
			t.Helper()
			done := false
			k.Change(want, func() { done = true })
			settle()
			assert.True(t, done)
		}
		change(map[string]*says{"web": nil, "new": {Node: "a", ServiceName: "new"}, "never": nil})
		assert.Equal(t, say("a", "db", "new"), said(t, d, "a"))
		assert.Equal(t, before+3, d.Writes(""), "one is removed, one made")
		change(map[string]*says{"db": {Node: "a", ServiceName: "db"}})
		change(nil)
		assert.Equal(t, before+3, d.Writes(""), "nothing is new")
		change(map[string]*says{"db": {Node: "b", ServiceName: "db"}})
		assert.Equal(t, "b", said(t, d, "a")["db"].Node)
		ended := keep.New(options(d, "other"))
		require.NoError(t, ended.Finish(t.Context(), nil))
		ended.Change(map[string]*says{"late": {Node: "other"}}, nil) // of a task that has not noticed yet that nobody writes any more
		assert.Equal(t, before+4, d.Writes(""))
	})
}

// TestFinish: what a process leaves behind that ends.
func TestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		k := keep.New(options(d, "a"))
		require.NoError(t, k.Follow(t.Context()))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		k.Set(say("a", "web", "db"), nil)
		settle()
		d.Freeze()
		k.Set(say("a", "web", "db", "dns"), nil)
		settle()
		stop()
		require.NoError(t, <-ended)
		require.NoError(t, k.Finish(t.Context(), map[string]says{"web": {Node: "a", ServiceName: "down"}}))
		assert.Equal(t, map[string]says{"web": {Node: "a", ServiceName: "down"}}, said(t, d, "a"))
	})
}
