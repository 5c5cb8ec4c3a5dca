package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestThrift: memory is given back once after garbage was collected, not while it is again and again, and not for nothing.
func TestThrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var collected, given atomic.Uint64
		x := thrift{cycles: collected.Load, give: func() {
			given.Add(1)
			collected.Add(1)
		}}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- x.Run(ctx) }()
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		pass(time.Hour)
		assert.Zero(t, given.Load(), "there was no garbage")
		for range 100 {
			collected.Add(1)
			pass(restsAfter)
		}
		assert.Zero(t, given.Load(), "it is not at rest")
		pass(restsAfter)
		assert.Equal(t, uint64(1), given.Load())
		pass(time.Hour)
		assert.Equal(t, uint64(1), given.Load(), "there is nothing more")
		collected.Add(1)
		pass(2 * restsAfter)
		assert.Equal(t, uint64(2), given.Load())
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
