package yield_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/process/yield"
)

// server serves one request after the other on each of its processors; latency is what a request takes beside.
type server struct {
	processors chan struct{}
	work       time.Duration
	latency    atomic.Int64 // nanoseconds
}

func newServer(processors int) *server {
	s := &server{processors: make(chan struct{}, processors), work: 4 * time.Millisecond}
	s.latency.Store(int64(time.Millisecond))
	return s
}

func (s *server) request() (took time.Duration) {
	began := time.Now()
	s.processors <- struct{}{}
	time.Sleep(s.work)
	<-s.processors
	time.Sleep(time.Duration(s.latency.Load()))
	return time.Since(began)
}

// repeat has so many do something again and again, until it fails or stop is called; stop returns when none does any more.
func repeat(t *testing.T, n int, do func(context.Context) error) (stop func(), count *atomic.Int64) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	count = new(atomic.Int64)
	for range n {
		all.Go(func() {
			for ctx.Err() == nil && do(ctx) == nil {
				count.Add(1)
			}
		})
	}
	return func() { cancel(); all.Wait() }, count
}

// clients are so many that make requests as soon as the last one is answered.
func clients(t *testing.T, s *server, n int) (stop func(), count *atomic.Int64) {
	return repeat(t, n, func(context.Context) error {
		s.request()
		return nil
	})
}

// report has a Pacer do jobs of one request all the time.
func report(t *testing.T, s *server, p *yield.Pacer, rank yield.Rank) (stop func(), count *atomic.Int64) {
	return repeat(t, 16, func(ctx context.Context) error {
		end, err := p.Begin(ctx, rank)
		if err == nil {
			p.Took(rank, s.request())
			end()
		}
		return err
	})
}

// during returns how much is counted in a time.
func during(d time.Duration, count *atomic.Int64) int {
	before := count.Load()
	time.Sleep(d)
	return int(count.Load() - before)
}

// TestAlone: where nobody else asks for anything, reports have the whole API server, with two processors 500 requests a second; two processes
// have it together.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(2)
		stop, first := report(t, s, yield.New(), yield.Status)
		defer stop()
		time.Sleep(time.Second)
		assert.Greater(t, during(10*time.Second, first), 4500)
		stop2, second := report(t, s, yield.New(), yield.Status)
		defer stop2()
		time.Sleep(time.Second)
		a := first.Load()
		b := during(10*time.Second, second)
		assert.Greater(t, int(first.Load()-a)+b, 4500)
	})
}

// TestBusy: clients that keep the API server busy keep nearly all of it. Reports go on, and have it back soon after.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(2)
		stop, reports := report(t, s, yield.New(), yield.Status)
		defer stop()
		time.Sleep(5 * time.Second)
		leave, requests := clients(t, s, 16)
		time.Sleep(time.Second)
		before := reports.Load()
		assert.Greater(t, during(20*time.Second, requests), 9_500, "of 10,000")
		assert.Greater(t, reports.Load()-before, int64(150), "they go on")
		leave()
		time.Sleep(2 * time.Second)
		assert.Greater(t, during(time.Second, reports), 450)
	})
}

// TestSlow: what takes long because the API server is far away is not what others make it wait for.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(8)
		s.latency.Store(int64(100 * time.Millisecond))
		stop, reports := report(t, s, yield.New(), yield.Status)
		defer stop()
		time.Sleep(time.Second)
		assert.Greater(t, during(10*time.Second, reports), 1_400, "16 at a time")
		s.latency.Store(int64(400 * time.Millisecond)) // as after a move; it has to be believed in the end
		time.Sleep(15 * time.Minute)
		assert.Greater(t, during(10*time.Second, reports), 350)
	})
}

// TestFirst: on an API server that has nothing else to do, a job begins at once, also after one slow request.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := yield.New()
		for _, took := range []time.Duration{2, 3, 2, 500, 3, 2} {
			began := time.Now()
			end, err := p.Begin(t.Context(), yield.Status)
			require.NoError(t, err)
			assert.Zero(t, time.Since(began))
			time.Sleep(took * time.Millisecond)
			p.Took(yield.Status, took*time.Millisecond)
			end()
		}
	})
}

// TestRanks: while there is something to say of a higher rank, the lower one has one turn in 17, and all when there is not.
func TestRanks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newServer(2), yield.New()
		stop, events := report(t, s, p, yield.Event)
		defer stop()
		leave, statuses := report(t, s, p, yield.Status)
		time.Sleep(time.Second)
		before := events.Load()
		assert.Greater(t, during(10*time.Second, statuses), 4200, "16 of 17, of 5,000")
		assert.InDelta(t, 5000/17, events.Load()-before, 50)
		leave()
		assert.Greater(t, during(10*time.Second, events), 4500)
	})
}

// TestGivesUp: who waits goes on when its context ends, and so does who waited for it.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := yield.New()
		var last func()
		for range 16 {
			end, err := p.Begin(t.Context(), yield.Status)
			require.NoError(t, err)
			last = end
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var lower atomic.Bool
		go func() {
			_, err := p.Begin(t.Context(), yield.Event)
			lower.Store(assert.NoError(t, err))
		}()
		_, err := p.Begin(ctx, yield.Status)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		require.False(t, lower.Load(), "16 are under way")
		last()
		synctest.Wait()
		assert.True(t, lower.Load())
	})
}

// TestNil: without a Pacer nothing waits.
func TestNil(t *testing.T) {
	var p *yield.Pacer
	p.Took(yield.Status, time.Hour)
	end, err := p.Begin(t.Context(), yield.Status)
	require.NoError(t, err)
	end()
}
