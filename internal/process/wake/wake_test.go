package wake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/internal/process/wake"
)

func there(s wake.Signal) bool {
	select {
	case <-s.C():
		return true
	default:
		return false
	}
}

// TestSignal: what is said often is heard once, whoever said it, and what is taken is gone.
func TestSignal(t *testing.T) {
	s := wake.New()
	assert.False(t, there(s))
	s.Clear() // there is nothing to forget, and nothing to wait for
	for range 3 {
		s.Set()
	}
	assert.True(t, there(s))
	assert.False(t, there(s))
	copied := s
	copied.Set()
	assert.True(t, there(s), "a copy is the same Signal")
	s.Set()
	s.Clear()
	assert.False(t, there(s))
}

// TestLoop tells when steps are done: with news, after a rest, when they have said so, and again when they fail, later each time.
func TestLoop(t *testing.T) {
	failed := errors.New("no API server")
	type step struct {
		at    time.Duration
		again time.Duration
		err   error
	}
	for _, tc := range []struct {
		name   string
		gather time.Duration
		rest   time.Duration
		news   []time.Duration
		steps  []step // when each is to be done, and what it returns
		told   int
	}{
		{name: "no news"},
		{name: "news", news: []time.Duration{time.Second, 3 * time.Second}, steps: []step{{at: time.Second}, {at: 3 * time.Second}}},
		{name: "much news", rest: time.Second, news: []time.Duration{0, 100 * time.Millisecond, 900 * time.Millisecond, 5 * time.Second},
			steps: []step{{}, {at: time.Second}, {at: 5 * time.Second}}},
		{name: "news that waits for more", gather: time.Second, news: []time.Duration{0, 900 * time.Millisecond, 5 * time.Second},
			steps: []step{{at: time.Second, again: time.Second}, {at: 2 * time.Second}, {at: 6 * time.Second}}},
		{name: "again", news: []time.Duration{0},
			steps: []step{{again: time.Minute}, {at: time.Minute, again: time.Second}, {at: time.Minute + time.Second}}},
		{name: "news before it is to be done again", news: []time.Duration{0, time.Second},
			steps: []step{{again: time.Minute}, {at: time.Second}}},
		{name: "again, but not before the rest is over", rest: time.Second, news: []time.Duration{0},
			steps: []step{{again: time.Millisecond}, {at: time.Second}}},
		{name: "later each time", news: []time.Duration{0, time.Minute}, told: 5, steps: []step{
			{err: failed}, {at: time.Second, err: failed}, {at: 3 * time.Second, err: failed}, {at: 7 * time.Second, err: failed},
			{at: 11 * time.Second},
			{at: time.Minute, err: failed}, {at: time.Minute + time.Second},
		}},
		{name: "sooner than that", news: []time.Duration{0}, told: 1,
			steps: []step{{again: time.Millisecond, err: failed}, {at: time.Millisecond}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := 0
				l := wake.Loop{News: wake.New(), Gather: tc.gather, Rest: tc.rest, First: time.Second, Last: 4 * time.Second}
				l.Failed = func(err error) {
					assert.Equal(t, failed, err)
					told++
				}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				for _, at := range tc.news {
					time.AfterFunc(at, l.News.Set)
				}
				start, done := time.Now(), 0
				go l.Run(ctx, func(context.Context) (time.Duration, error) {
					if !assert.Less(t, done, len(tc.steps), "at %s", time.Since(start)) {
						return 0, nil
					}
					s := tc.steps[done]
					done++
					assert.Equal(t, s.at, time.Since(start), "step %d", done)
					return s.again, s.err
				})
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.Len(t, tc.steps, done)
				assert.Equal(t, tc.told, told)
			})
		})
	}
}

// TestEase: a step that takes its time is not done again at once, however much news there is.
func TestEase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		l := wake.Loop{News: wake.New(), Ease: 9, EaseMost: 500 * time.Millisecond}
		took := []time.Duration{10 * time.Millisecond, 10 * time.Millisecond, time.Second, 0, 0}
		var began []time.Duration
		start := time.Now()
		l.News.Set()
		go l.Run(ctx, func(context.Context) (time.Duration, error) {
			began = append(began, time.Since(start))
			if len(began) < len(took) {
				l.News.Set()
			}
			time.Sleep(took[len(began)-1])
			return 0, nil
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 1700 * time.Millisecond, 1700 * time.Millisecond}, began)
	})
}

func TestSooner(t *testing.T) {
	assert.Equal(t, time.Second, wake.Sooner(time.Second, time.Minute))
	assert.Equal(t, time.Second, wake.Sooner(time.Minute, time.Second))
	assert.Equal(t, time.Second, wake.Sooner(0, time.Second))
	assert.Equal(t, time.Second, wake.Sooner(time.Second, 0))
	assert.Zero(t, wake.Sooner(0, 0))
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		assert.Zero(t, wake.Until(time.Time{}))
		assert.Equal(t, time.Second, wake.Until(time.Now().Add(time.Second)))
		assert.Positive(t, wake.Until(time.Now().Add(-time.Second)), "what is over is done at once, not never")
	})
}
