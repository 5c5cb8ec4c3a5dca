package assign

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/process/keep"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/service"
)

// poolStatusPeriod is how often at most the counters of a pool are written.
const poolStatusPeriod = time.Second

// poolStatus keeps the counters of IPAddressPools: it writes them at most once a period for each pool, and only when they have changed.
type poolStatus struct {
	Cache     cache.Cache
	Assigner  *Assigner
	Namespace string
	Log       *slog.Logger

	keep *keep.Keeper[types.UID, v1beta1.IPAddressPoolStatus, *v1beta1.IPAddressPool]
	said map[string]counters // by pool; touched by follow alone

	mu    sync.Mutex // protects dirty
	dirty map[string]bool
	wake  wake.Signal // dirty is not empty
}

// counters are those of one IPAddressPool; another one of its name has others.
type counters struct {
	of types.UID
	v1beta1.IPAddressPoolStatus
}

// newPoolStatus returns a poolStatus for the pools of a namespace.
func newPoolStatus(c client.Client, from cache.Cache, namespace string, log *slog.Logger) *poolStatus {
	return &poolStatus{
		Cache: from, Namespace: namespace, Log: log, said: map[string]counters{}, dirty: map[string]bool{}, wake: wake.New(),
		keep: keep.New(keep.Options[types.UID, v1beta1.IPAddressPoolStatus, *v1beta1.IPAddressPool]{
			Client: client.WithFieldOwner(c, service.FieldManager), Cache: from, Log: log, Every: poolStatusPeriod, Theirs: true,
			Mine:   func(o *v1beta1.IPAddressPool) bool { return o.Namespace == namespace },
			Key:    func(o *v1beta1.IPAddressPool) types.UID { return o.UID },
			New:    func(types.UID) *v1beta1.IPAddressPool { return &v1beta1.IPAddressPool{} },
			Status: func(o *v1beta1.IPAddressPool) *v1beta1.IPAddressPoolStatus { return &o.Status },
		}),
	}
}

// Mark notes that the counters of a pool may have changed. It does not block.
func (p *poolStatus) Mark(pool string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty[pool] = true
	p.wake.Set()
}

// Start writes until ctx ends.
func (p *poolStatus) Start(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.keep.Serve(ctx) })
	g.Go(func() error { return p.follow(ctx) })
	return g.Wait()
}

// follow has said what the counters are, at most once a period.
func (p *poolStatus) follow(ctx context.Context) error {
	wake.Loop{News: p.wake, Rest: poolStatusPeriod}.Run(ctx, func(ctx context.Context) (time.Duration, error) {
		for pool := range p.take() {
			if err := p.look(ctx, pool); err != nil && ctx.Err() == nil {
				p.Log.Warn("pool counters not written", "pool", pool, "err", err)
				p.Mark(pool)
			}
		}
		want := make(map[types.UID]v1beta1.IPAddressPoolStatus, len(p.said))
		for _, x := range p.said {
			want[x.of] = x.IPAddressPoolStatus
		}
		p.keep.Set(want, nil)
		return 0, nil
	})
	return nil
}

func (p *poolStatus) take() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := maps.Clone(p.dirty)
	clear(p.dirty)
	return out
}

// look works out what the counters of a pool are.
func (p *poolStatus) look(ctx context.Context, pool string) error {
	stats, known := p.Assigner.Stats(pool)
	var o v1beta1.IPAddressPool
	if err := p.Cache.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: pool}, &o); apierrors.IsNotFound(err) {
		known = false
	} else if err != nil {
		return err
	}
	if !known {
		delete(p.said, pool)
		return nil
	}
	p.said[pool] = counters{of: o.UID, IPAddressPoolStatus: v1beta1.IPAddressPoolStatus{
		AssignedIPv4: stats.AssignedIPv4, AssignedIPv6: stats.AssignedIPv6,
		AvailableIPv4: stats.AvailableIPv4, AvailableIPv6: stats.AvailableIPv6,
	}}
	return nil
}
