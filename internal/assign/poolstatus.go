package assign

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/service"
)

// poolStatusPeriod is how often at most the counters of a pool are written.
const poolStatusPeriod = time.Second

// poolStatus writes the counters of IPAddressPools: at most once a period for each pool, and only when they have changed.
type poolStatus struct {
	Client    client.Client
	Assigner  *Assigner
	Namespace string
	Log       *slog.Logger

	mu    sync.Mutex // protects dirty
	dirty map[string]bool
	wake  chan struct{} // holds one token while dirty is not empty
}

// newPoolStatus returns a poolStatus for the pools of a namespace.
func newPoolStatus(c client.Client, namespace string, log *slog.Logger) *poolStatus {
	return &poolStatus{Client: c, Namespace: namespace, Log: log, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// Mark notes that the counters of a pool may have changed. It does not block.
func (p *poolStatus) Mark(pool string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty[pool] = true
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Start writes until ctx ends.
func (p *poolStatus) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
		for _, pool := range p.take() {
			if err := p.write(ctx, pool); err != nil && ctx.Err() == nil {
				p.Log.Warn("pool counters not written", "pool", pool, "err", err)
				p.Mark(pool)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(poolStatusPeriod):
		}
	}
}

func (p *poolStatus) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]string, 0, len(p.dirty))
	for pool := range p.dirty {
		out = append(out, pool)
	}
	clear(p.dirty)
	return out
}

func (p *poolStatus) write(ctx context.Context, pool string) error {
	stats, ok := p.Assigner.Stats(pool)
	if !ok {
		return nil
	}
	var o v1beta1.IPAddressPool
	if err := p.Client.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: pool}, &o); err != nil {
		return client.IgnoreNotFound(err)
	}
	want := v1beta1.IPAddressPoolStatus{
		AssignedIPv4: stats.AssignedIPv4, AssignedIPv6: stats.AssignedIPv6,
		AvailableIPv4: stats.AvailableIPv4, AvailableIPv6: stats.AvailableIPv6,
	}
	if o.Status == want {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": want})
	if err != nil {
		return fmt.Errorf("encode the counters: %w", err)
	}
	err = p.Client.Status().Patch(ctx, &o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(service.FieldManager))
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
