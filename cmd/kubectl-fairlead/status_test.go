package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// TestFollow: once, until everything is ready, or for ever.
func TestFollow(t *testing.T) {
	waits, ready := &status.Report{}, &status.Report{Ready: true}
	for _, tc := range []struct {
		name        string
		wait, watch bool
		timeout     time.Duration
		readyAfter  time.Duration
		fails       error // until it is ready
		printed     int
		took        time.Duration
		err         error
	}{
		{name: "once", readyAfter: time.Hour, printed: 1},
		{name: "once, and it fails", readyAfter: time.Hour, fails: errors.New("refused"), err: errors.New("refused")},
		{name: "until it is ready", wait: true, timeout: time.Minute, readyAfter: 7 * time.Second, printed: 1, took: 8 * time.Second},
		{name: "it is ready already", wait: true, timeout: time.Minute, printed: 1},
		{name: "not in time", wait: true, timeout: 5 * time.Second, readyAfter: time.Hour, printed: 1, took: 5 * time.Second, err: exitCode(exitFound)},
		{name: "now or never", wait: true, readyAfter: time.Hour, printed: 1, err: exitCode(exitFound)},
		{name: "the API server comes back", wait: true, timeout: time.Minute, readyAfter: 3 * time.Second, fails: errors.New("refused"), printed: 1, took: 4 * time.Second},
		{name: "the API server does not come back", wait: true, timeout: 3 * time.Second, readyAfter: time.Hour, fails: errors.New("refused"), took: 3 * time.Second, err: exitCode(exitFound)},
		{name: "it is not installed", wait: true, timeout: time.Minute, readyAfter: time.Hour, fails: survey.ErrNotInstalled, err: survey.ErrNotInstalled},
		{name: "changes until it is ready", wait: true, watch: true, timeout: time.Minute, readyAfter: 7 * time.Second, printed: 2, took: 8 * time.Second},
		{name: "for ever", watch: true, readyAfter: 7 * time.Second, printed: 2, took: time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				start, printed := time.Now(), 0
				f := follower{wait: tc.wait, watch: tc.watch, timeout: tc.timeout, complain: func(error) {}, print: func(*status.Report) error { printed++; return nil }}
				f.look = func(context.Context) (*status.Report, time.Duration, error) {
					switch {
					case time.Since(start) >= tc.readyAfter:
						return ready, every, nil
					case tc.fails != nil:
						return nil, every, tc.fails
					}
					return waits, every, nil
				}
				err := f.follow(ctx)
				assert.Equal(t, tc.err, err)
				assert.Equal(t, tc.printed, printed)
				assert.Equal(t, tc.took, time.Since(start))
			})
		})
	}
}

// TestFollowChanges: with somebody who tells of changes, nobody looks in between; many changes become one, and what has not changed is not
// printed again.
func TestFollowChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		changed := make(chan struct{}, 1)
		var looks, faults atomic.Int64
		var mu sync.Mutex // protects seen
		var seen []int
		printed := func() []int {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(seen)
		}
		f := follower{watch: true, changed: func() <-chan struct{} { return changed }, complain: func(err error) { t.Error(err) }}
		f.print = func(r *status.Report) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, r.Faults)
			return nil
		}
		f.look = func(context.Context) (*status.Report, time.Duration, error) {
			if looks.Add(1) == 1 {
				return nil, time.Hour, errReading
			}
			return &status.Report{Faults: int(faults.Load())}, time.Hour, nil
		}
		done := make(chan error)
		go func() { done <- f.follow(ctx) }()
		tell := func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		tell()
		time.Sleep(10 * time.Minute)
		require.EqualValues(t, 2, looks.Load())
		for i := range 100 {
			faults.Store(int64(i))
			tell()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
		assert.Equal(t, []int{0, 99}, printed())
		assert.LessOrEqual(t, looks.Load(), int64(4), "many changes are one")
		tell()
		time.Sleep(time.Second)
		assert.Len(t, printed(), 2, "nothing is new")
		faults.Store(5)
		time.Sleep(2 * time.Hour)
		assert.Equal(t, []int{0, 99, 5}, printed(), "what changes with time is seen, too")
		cancel()
		assert.NoError(t, <-done)
	})
}

func TestStatusScreens(t *testing.T) {
	golden(t, "status", func(s *screen.Screen) { showStatus(s, status.Of(surveytest.Model(t, surveytest.Shop), nil), false) })
	golden(t, "version", func(s *screen.Screen) {
		v := &versions{Kubernetes: "v1.36.3", Controller: &process{Namespace: "metallb-system", Workload: "fairlead-controller", Version: "v1.2.3", Image: "example.org/fairlead:v1.2.3"}}
		v.Client.Version, v.Client.Commit, v.Client.Go = "v1.2.4", "abc", "go1.26"
		showVersions(s, v)
	})
}

// TestVersionOf: the tag of an image, whatever is around it.
func TestVersionOf(t *testing.T) {
	labels := map[string]string{"app.kubernetes.io/version": "0.9"}
	for image, want := range map[string]string{
		"ghcr.io/fairlead/fairlead:v1": "v1", "localhost:5000/fairlead:v1": "v1", "localhost:5000/fairlead": "0.9", "x/fairlead:v1@sha256:abc": "v1", "x/fairlead@sha256:abc": "0.9", "": "0.9",
	} {
		require.Equal(t, want, survey.VersionOf(image, labels), image)
	}
}
