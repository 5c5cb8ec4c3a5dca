package bgp

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/backends"
)

// flushWait is how long withdrawals may take to get to the wire.
const flushWait = time.Second

// Shutdown goes away without losing a packet (RFC 8326): it tells every route again with the community GRACEFUL_SHUTDOWN, so that
// routers prefer other nodes, waits, withdraws everything, and closes the sessions with Cease, administrative shutdown (RFC 4486). If
// the node will be back, sessions with graceful restart are closed without a word instead. If ctx ends it goes on at once with what
// comes next. Without an established session it does not wait. There are no sessions afterwards, whatever is applied, until Run is
// called anew.
func (b *Backend) Shutdown(ctx context.Context, how backends.Leave) {
	b.mu.Lock()
	if b.gone || !b.running {
		b.mu.Unlock()
		return
	}
	b.gone = true
	kept := map[*session]bool{} // the router keeps the routes
	told := 0
	for _, s := range b.sessions {
		if x := s.snapshot(); how.Back && x.State == Established && x.GracefulRestart {
			kept[s] = true
			continue
		}
		told += s.drain()
	}
	b.mu.Unlock() // sessions may be looked at meanwhile, or Run may end
	if told > 0 {
		pause(ctx, how.Wait)
	}
	b.mu.Lock()
	var wg sync.WaitGroup
	ended := map[*session]*fault{}
	for k, s := range b.sessions {
		delete(b.sessions, k)
		if kept[s] {
			ended[s] = nil
			continue
		}
		ended[s] = &fault{code: codeCease, subcode: ceaseShutdown}
		wg.Go(func() { s.withdrawAll(ctx) })
	}
	b.ends.Add(1) // Run waits for these, too
	b.mu.Unlock()
	wg.Wait()
	b.mu.Lock()
	b.endLocked(ended)
	err := b.listenLocked()
	b.mu.Unlock()
	b.ends.Done()
	b.ends.Wait()
	if err != nil {
		b.config.Log.Error("cannot stop listening", "err", err)
	}
}

// drain marks every route, and returns how many a router knows.
func (s *session) drain() int {
	s.mu.Lock()
	s.draining = true
	if err := s.syncLocked(); err != nil {
		s.log.Error("cannot mark every route for shutdown", "peer", s.name, "err", err)
	}
	s.mu.Unlock()
	return s.snapshot().Prefixes
}

// withdrawAll withdraws every route and waits until that has been sent.
func (s *session) withdrawAll(ctx context.Context) {
	s.mu.Lock()
	s.want = nil
	if err := s.syncLocked(); err != nil {
		s.log.Error("cannot withdraw every route", "peer", s.name, "err", err)
	}
	s.mu.Unlock()
	s.flushed(ctx, flushWait)
}
