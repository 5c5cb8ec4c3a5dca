package main

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestThrift: memory is given back once after garbage was collected, not while it is again and again, and not for nothing.
func TestThrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var collected, given uint64
		x := thrift{cycles: func() uint64 { return collected }, give: func() { given, collected = given+1, collected+1 }}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- x.Run(ctx) }()
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		pass(time.Hour)
		assert.Zero(t, given, "there was no garbage")
		for range 100 {
			collected++
			pass(restsAfter)
		}
		assert.Zero(t, given, "it is not at rest")
		pass(restsAfter)
		assert.Equal(t, uint64(1), given)
		pass(time.Hour)
		assert.Equal(t, uint64(1), given, "there is nothing more")
		collected++
		pass(2 * restsAfter)
		assert.Equal(t, uint64(2), given)
		stop()
		require.NoError(t, <-ended)
	})
}

// TestCycles: the runtime tells of each collection.
func TestCycles(t *testing.T) {
	before := cycles()
	runtime.GC()
	assert.Greater(t, cycles(), before)
}
