package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// gcPercent has less garbage than Go's default: there is a speaker on every node, and it rarely makes any.
const gcPercent = 50

// restsAfter is for how long no garbage is collected by a speaker at rest, beside what the runtime does every two minutes.
const restsAfter = 10 * time.Second

func limitGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// thrift gives memory back that the node has use for. The runtime keeps what it may need for as much garbage again, which a process that has
// come to rest does not make.
type thrift struct {
	cycles func() uint64 // how often garbage has been collected
	give   func()        // collects garbage, and gives back what is free
}

func newThrift() thrift { return thrift{cycles: cycles, give: debug.FreeOSMemory} }

// Run gives memory back whenever garbage has been collected and then has not been for some time, until ctx ends.
func (t thrift) Run(ctx context.Context) error {
	tick := time.NewTicker(restsAfter)
	defer tick.Stop()
	var last, given uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := t.cycles()
		if now == last && now != given {
			t.give()
			now = t.cycles()
			given = now
		}
		last = now
	}
}

// cycles asks the runtime.
func cycles() uint64 {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
