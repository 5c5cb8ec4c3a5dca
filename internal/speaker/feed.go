package speaker

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// Feed is what all tasks of a speaker decide on: the configuration, what the controller has published, and the cluster. It tells them
// of each change.
type Feed struct {
	cache     cache.Cache
	namespace string
	changed   wake.Bell

	mu        sync.Mutex // protects all the following
	cluster   *observe.Cluster
	snapshot  *config.Snapshot
	published *v1alpha1.Backend
	ready     chan struct{} // closed when all is known
	closed    bool
}

// NewFeed returns a Feed for the installation in namespace; it starts nothing.
func NewFeed(c cache.Cache, namespace string) *Feed {
	return &Feed{cache: c, namespace: namespace, ready: make(chan struct{})}
}

// Listen has f called after each change; it must not block. All calls come before Run.
func (f *Feed) Listen(do func()) { f.changed.Listen(do) }

// SetSnapshot puts a new configuration in force.
func (f *Feed) SetSnapshot(_ context.Context, s *config.Snapshot) error {
	f.mu.Lock()
	f.snapshot = s
	f.settleLocked()
	f.mu.Unlock()
	f.changed.Ring()
	return nil
}

// settleLocked notes when all is known.
func (f *Feed) settleLocked() {
	if f.snapshot != nil && f.cluster != nil && !f.closed {
		f.closed = true
		close(f.ready)
	}
}

// Run has the cache followed; it returns when what there is has been taken in.
func (f *Feed) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return f.followBackend(ctx) })
	cluster, err := observe.Follow(ctx, f.cache, f.changed.Ring)
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	f.mu.Lock()
	f.cluster = cluster
	f.settleLocked()
	f.mu.Unlock()
	return nil
}

// wait waits until all is known.
func (f *Feed) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ready:
		return nil
	}
}

// current returns what is known; only after wait.
func (f *Feed) current() (*config.Snapshot, *v1alpha1.Backend, *observe.Cluster) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot, f.published, f.cluster
}

// followBackend keeps the Backend object in which the controller publishes what the speakers serve.
func (f *Feed) followBackend(ctx context.Context) error {
	return follow.Handle(ctx, f.cache, func(was, is client.Object) {
		gone := is == nil
		if gone {
			is = was
		}
		b, ok := is.(*v1alpha1.Backend)
		if !ok || b.Name != announce.SpeakerBackend || b.Annotations[backends.LabelInstallation] != f.namespace {
			return
		}
		f.mu.Lock()
		f.published = b
		if gone {
			f.published = nil
		}
		f.mu.Unlock()
		f.changed.Ring()
	}, &v1alpha1.Backend{})
}
