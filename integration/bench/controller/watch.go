package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// watcher notes when Services of one class get their addresses.
type watcher struct {
	class string
	end   context.CancelFunc
	ended chan struct{}
	news  wake.Signal // something was noted

	mu   sync.Mutex              // protects all the following
	seen map[types.UID]time.Time // when each living Service was first seen with an address
	err  error
}

// watch starts a watcher; the caller ends it with stop. It sees what exists already, too.
func (w *world) watch(ctx context.Context, class string) (*watcher, error) {
	var existing corev1.ServiceList
	if err := w.client.List(ctx, &existing, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	x := &watcher{class: class, end: end, ended: make(chan struct{}), news: wake.New(), seen: map[types.UID]time.Time{}}
	for i := range existing.Items {
		x.note(watch.Added, &existing.Items[i])
	}
	go func() {
		defer close(x.ended)
		if err := x.follow(ctx, w.client, existing.ResourceVersion); err != nil && ctx.Err() == nil {
			x.fail(err)
		}
	}()
	return x, nil
}

// follow notes every event after version. The API server may end a watch at any time: the next one goes on where it stood.
func (x *watcher) follow(ctx context.Context, c client.WithWatch, version string) error {
	for ctx.Err() == nil {
		stream, err := c.Watch(ctx, &corev1.ServiceList{}, client.InNamespace(namespace),
			&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true}})
		if err != nil {
			return err
		}
		for e := range stream.ResultChan() {
			s, ok := e.Object.(*corev1.Service)
			if !ok {
				stream.Stop()
				return fmt.Errorf("watch: %v", e.Object)
			}
			version = s.ResourceVersion
			if e.Type != watch.Bookmark {
				x.note(e.Type, s)
			}
		}
	}
	return nil
}

func (x *watcher) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err = err
}

func (x *watcher) note(kind watch.EventType, s *corev1.Service) {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case s.Spec.LoadBalancerClass == nil || *s.Spec.LoadBalancerClass != x.class:
		return
	case kind == watch.Deleted:
		delete(x.seen, s.UID)
	case address(s) == "" || !x.seen[s.UID].IsZero():
		return
	default:
		x.seen[s.UID] = now
	}
	x.news.Set()
}

func (x *watcher) stop() {
	x.end()
	<-x.ended
}

// wait waits until n Services have addresses and returns when each was seen, in order of time. It fails if nothing happens for
// testbed.Patience.
func (x *watcher) wait(ctx context.Context, n int) ([]time.Time, error) {
	idle := time.NewTimer(testbed.Patience)
	defer idle.Stop()
	for {
		x.mu.Lock()
		have, err := len(x.seen), x.err
		x.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if have == n {
			return x.times(), nil
		}
		select {
		case <-x.news.C():
			idle.Reset(testbed.Patience)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-x.ended:
			x.mu.Lock()
			defer x.mu.Unlock()
			return nil, fmt.Errorf("the watch ended after %d of %d addresses: %w", len(x.seen), n, x.err)
		case <-idle.C:
			return nil, fmt.Errorf("%d Services have addresses, want %d, and nothing has happened for %v", have, n, testbed.Patience)
		}
	}
}

func (x *watcher) times() []time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []time.Time
	for _, t := range x.seen {
		out = append(out, t)
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// at returns when a Service was first seen with an address, zero if it was not.
func (x *watcher) at(uid types.UID) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen[uid]
}
