package delegate

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
)

// TestFirstLook: a look that fails counts as looked, and one that does not end is given up; what the others found counts.
func TestFirstLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, end := time.Now(), make(chan struct{})
		claims := backends.Outcome{Claims: []string{""}}
		quick := func(context.Context) (backends.Outcome, error) { return claims, nil }
		seen := firstLook(t.Context(), slog.New(slog.DiscardHandler), map[string]looker{
			Calico: func(context.Context) (backends.Outcome, error) { return backends.Outcome{}, errors.New("not there") },
			Cilium: quick,
		})
		assert.Zero(t, time.Since(start))
		assert.Equal(t, map[string]*backends.Outcome{Calico: {}, Cilium: &claims}, seen)

		seen = firstLook(t.Context(), slog.New(slog.DiscardHandler), map[string]looker{
			Calico: func(context.Context) (backends.Outcome, error) { <-end; return backends.Outcome{}, nil },
			Cilium: quick,
		})
		assert.Equal(t, firstLookTimeout, time.Since(start))
		assert.Equal(t, &claims, seen[Cilium])
		close(end)
	})
}

// TestClaimedBeforeABackendWorks: what the first look found decides until a backend has been at work.
func TestClaimedBeforeABackendWorks(t *testing.T) {
	task := &Task{results: map[string]announce.Result{}}
	svc := &corev1.Service{}
	_, why := task.Verdict(svc, allocator.Assignment{})
	assert.Empty(t, why)
	for _, name := range []string{Calico, Cilium} {
		task.seen = map[string]*backends.Outcome{name: {Claims: []string{""}, Findings: []backends.Finding{{Type: backends.IPAMConflict, Message: "is on"}}}}
		_, why = task.Verdict(svc, allocator.Assignment{})
		assert.Contains(t, why, "is on", name)
		class := "other"
		_, why = task.Verdict(&corev1.Service{Spec: corev1.ServiceSpec{LoadBalancerClass: &class}}, allocator.Assignment{})
		assert.Empty(t, why, name)
		task.results = map[string]announce.Result{name: {Outcome: &backends.Outcome{}}}
		_, why = task.Verdict(svc, allocator.Assignment{})
		assert.Empty(t, why, "the backend knows better")
		task.results = map[string]announce.Result{}
	}
}
