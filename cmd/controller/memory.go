package main

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// memoryTarget is what the controller keeps to, in bytes, where the cluster lets it: Go's collector works harder near it. The
	// most memory is needed while the caches are filled, most of it garbage.
	memoryTarget = 320 << 20
	// memoryRoom is how much of what is in use may be garbage, in percent, where more than the target is in use.
	memoryRoom = 50
)

// limitMemory sets the target, unless the user has set another by GOMEMLIMIT.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryTarget)
	}
}

// relaxMemory is called when the caches are full: it gives room to a cluster that is too large for the target, where the collector would
// never rest.
func relaxMemory(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	used := int64(m.HeapAlloc + m.StackInuse)
	limit := max(memoryTarget, used+used*memoryRoom/100)
	debug.SetMemoryLimit(limit)
	log.Info("caches are full", "heapMiB", used>>20, "limitMiB", limit>>20)
}
