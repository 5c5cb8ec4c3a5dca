package layer2

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wire records when announcements are sent.
type wire struct {
	mu    sync.Mutex
	began time.Time
	at    map[place][]time.Duration
	busy  int // how many times it says that it is
	told  int
}

func newWire() *wire { return &wire{began: time.Now(), at: map[place][]time.Duration{}} }

func (w *wire) send(p place) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy > 0 {
		w.busy--
		return 0, errBusy
	}
	w.at[p] = append(w.at[p], time.Since(w.began))
	if p.addr.Is4() {
		return 2, nil
	}
	return 1, nil
}

func (w *wire) sent(_ netip.Addr, frames int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told += frames
}

// schedule runs a scheduler on a wire in a bubble of its own.
func schedule(t *testing.T, interval time.Duration, steps func(s *scheduler, w *wire)) *wire {
	var w *wire
	synctest.Test(t, func(t *testing.T) {
		w = newWire()
		s := newScheduler(interval, w.send, w.sent)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.run(ctx) })
		steps(s, w)
		cancel()
		wg.Wait()
	})
	return w
}

func at(ms ...int) []time.Duration {
	var out []time.Duration
	for _, m := range ms {
		out = append(out, time.Duration(m)*time.Millisecond)
	}
	return out
}

func TestSeries(t *testing.T) {
	p4, p6 := place{2, vip4}, place{2, vip6}
	for _, tc := range []struct {
		name     string
		interval time.Duration
		steps    func(s *scheduler, w *wire)
		want     map[place][]time.Duration
	}{
		{
			name:  "takeover",
			steps: func(s *scheduler, _ *wire) { s.start(p4); s.start(p6); time.Sleep(time.Hour) },
			want:  map[place][]time.Duration{p4: at(0, 100, 300, 1000, 2000, 4000), p6: at(0, 100, 300, 1000, 2000, 4000)},
		}, {
			name: "withdrawn",
			steps: func(s *scheduler, _ *wire) {
				s.start(p4)
				s.start(p6)
				time.Sleep(500 * time.Millisecond)
				s.stop(p4)
				time.Sleep(time.Hour)
				s.stop(p4)
			},
			want: map[place][]time.Duration{p4: at(0, 100, 300), p6: at(0, 100, 300, 1000, 2000, 4000)},
		}, {
			name: "repeated",
			steps: func(s *scheduler, _ *wire) {
				s.start(p4)
				time.Sleep(500 * time.Millisecond)
				s.repeat(nil)
				time.Sleep(time.Minute)
				s.repeat(nil)
				time.Sleep(150 * time.Millisecond)
			},
			want: map[place][]time.Duration{p4: at(0, 100, 300, 500, 600, 800, 1500, 2500, 4500, 60500, 60600)},
		}, {
			name:     "at an interval",
			interval: 10 * time.Second,
			steps:    func(s *scheduler, _ *wire) { s.start(p6); time.Sleep(30 * time.Second) },
			want:     map[place][]time.Duration{p6: at(0, 100, 300, 1000, 2000, 4000, 14000, 24000)},
		}, {
			name: "defended, at most every 10 s",
			steps: func(s *scheduler, _ *wire) {
				s.defend(p4) // not announced: nothing
				s.start(p4)
				time.Sleep(20 * time.Second)
				for range 80 {
					s.defend(p4)
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(3 * time.Second)
				s.defend(p4)
				time.Sleep(1050 * time.Millisecond)
			},
			want: map[place][]time.Duration{p4: at(0, 100, 300, 1000, 2000, 4000, 21000, 21100, 21300, 22000, 23000, 25000, 32000)},
		}, {
			name: "withdrawn before it is defended",
			steps: func(s *scheduler, _ *wire) {
				s.start(p4)
				time.Sleep(20 * time.Second)
				s.defend(p4)
				time.Sleep(500 * time.Millisecond)
				s.stop(p4)
				time.Sleep(time.Minute)
			},
			want: map[place][]time.Duration{p4: at(0, 100, 300, 1000, 2000, 4000)},
		}, {
			name:  "a full send buffer",
			steps: func(s *scheduler, w *wire) { w.busy = 3; s.start(p4); time.Sleep(50 * time.Millisecond) },
			want:  map[place][]time.Duration{p4: at(3)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, schedule(t, tc.interval, tc.steps).at)
		})
	}
}

func TestSeriesOfManyIsPaced(t *testing.T) {
	for _, tc := range []struct {
		name   string
		first  netip.Addr
		frames int // for each announcement
	}{{"IPv4", netip.MustParseAddr("192.0.2.0"), 2}, {"IPv6", netip.MustParseAddr("2001:db8::"), 1}} {
		t.Run(tc.name, func(t *testing.T) {
			const n = 1000
			w := schedule(t, 0, func(s *scheduler, _ *wire) {
				for i, a := 0, tc.first; i < n; i, a = i+1, a.Next() {
					s.start(place{2, a})
				}
				time.Sleep(time.Minute)
			})
			require.Len(t, w.at, n)
			var all []time.Duration
			last := time.Duration(0)
			for _, times := range w.at {
				require.Len(t, times, len(series))
				all = append(all, times...)
				last = max(last, times[0])
			}
			assert.LessOrEqual(t, last, time.Duration(n*tc.frames/burst+1)*time.Millisecond, "every address is announced once, first")
			perInstant := map[time.Duration]int{}
			for _, d := range all {
				perInstant[d] += tc.frames
			}
			for _, frames := range perInstant {
				require.LessOrEqual(t, frames, burst)
			}
			assert.Equal(t, n*len(series)*tc.frames, w.told)
			moments := slices.Sorted(maps.Keys(perInstant))
			for i := 1; i < len(moments); i++ {
				require.GreaterOrEqual(t, moments[i]-moments[i-1], pause)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	var c claims
	now := time.Now()
	k := claim{vip4, otherMAC}
	assert.True(t, c.log(k, now))
	assert.False(t, c.log(k, now.Add(59*time.Second)))
	assert.True(t, c.log(claim{vip6, otherMAC}, now), "another address")
	assert.True(t, c.log(claim{vip4, ownMAC}, now), "another MAC")
	assert.True(t, c.log(k, now.Add(61*time.Second)))
	for i := range 3 * maxClaims {
		c.log(claim{vip4, mac{1, 1, 1, 1, byte(i >> 8), byte(i)}}, now.Add(time.Minute))
	}
	assert.LessOrEqual(t, len(c.logged), maxClaims)
	assert.True(t, c.log(claim{vip6, mac{2, 9}}, now.Add(10*time.Minute)), "memory is free again")
	assert.Less(t, len(c.logged), 10, fmt.Sprint(len(c.logged)))
}
