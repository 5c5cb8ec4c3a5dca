// Package bgp tests the built-in BGP against real routers, FRR and BIRD, in network namespaces.
package bgp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
)

// socketEnv names the socket on which a copy of this test serves as a speaker.
const socketEnv = "FAIRLEAD_TEST_SPEAKER"

func TestMain(m *testing.M) {
	if path := os.Getenv(socketEnv); path != "" {
		if err := speak(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// order is what a speaker is told to do; one of the fields is set.
type order struct {
	Apply    *backends.NodeDesired
	Down     string
	Shutdown *backends.Leave
	Memory   bool
}

// report is what comes of it.
type report struct {
	Errors   []string
	Sessions []bgp.Session
	Heap     uint64
	Changes  int
}

// speak runs a Backend and does what it is told, one JSON object after the other, until SIGTERM.
func speak(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return err
	}
	changes := 0
	var c bgp.Config
	if err := json.Unmarshal([]byte(os.Getenv(socketEnv+"_CONFIG")), &c); err != nil {
		return err
	}
	c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Changed = func() { changes++ }
	b := bgp.New(c)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go obey(ctx, b, conn)
		}
	}()
	return b.Run(ctx)
}

func obey(ctx context.Context, b *bgp.Backend, conn net.Conn) {
	defer conn.Close()
	in, out := json.NewDecoder(bufio.NewReader(conn)), json.NewEncoder(conn)
	for {
		var o order
		if in.Decode(&o) != nil {
			return
		}
		var r report
		switch {
		case o.Apply != nil:
			if err := b.Apply(ctx, *o.Apply); err != nil {
				for _, e := range backends.Flatten(err) {
					r.Errors = append(r.Errors, e.Error())
				}
			}
		case o.Down != "":
			b.Down(o.Down)
		case o.Shutdown != nil:
			b.Shutdown(ctx, *o.Shutdown)
		case o.Memory:
			debug.FreeOSMemory()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			r.Heap = m.HeapAlloc
		}
		r.Sessions = b.Sessions()
		if out.Encode(r) != nil {
			return
		}
	}
}
