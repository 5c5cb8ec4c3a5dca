package speaker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// lifeRetry is when a Lease is renewed again that could not be.
const lifeRetry = 2 * time.Second

// Life renews the Lease of this speaker, which also says on which links it can announce: without it nobody could tell what a node says from
// what it said before it was lost.
type Life struct {
	Node, Namespace string
	Cache           cache.Cache
	Client          client.Client
	Log             *slog.Logger

	changed wake.Signal // the Lease is to be renewed at once

	mu    sync.Mutex // protects all the following
	links *presence.Links
	last  time.Time // when it was renewed
}

// NewLife returns a Life that says nothing of links; it starts nothing.
func NewLife(node, namespace string, c cache.Cache, w client.Client, log *slog.Logger) *Life {
	return &Life{Node: node, Namespace: namespace, Cache: c, Client: w, Log: log, changed: wake.New()}
}

// tell takes in what the speaker says of its links; nil: it does not announce.
func (l *Life) tell(links *presence.Links) {
	l.mu.Lock()
	l.links = links
	l.mu.Unlock()
	l.wake()
}

func (l *Life) wake() { l.changed.Set() }

// Run renews until ctx ends, and then removes the Lease.
func (l *Life) Run(ctx context.Context) error {
	go l.follow(ctx)
	l.wake()
	failing := false
	wake.Loop{News: l.changed, First: lifeRetry, Last: lifeRetry}.Run(ctx, func(ctx context.Context) (time.Duration, error) {
		err := l.renew(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			l.Log.Warn("Lease not renewed; what this speaker tells is not believed for long", "err", err)
		}
		failing = err != nil
		return presence.RenewEvery, err
	})
	l.end(context.WithoutCancel(ctx))
	return nil
}

// follow has the Lease renewed at once that somebody has edited or removed.
func (l *Life) follow(ctx context.Context) {
	err := follow.Handle(ctx, l.Cache, func(_, is client.Object) {
		l.mu.Lock()
		defer l.mu.Unlock()
		lease, ok := is.(*coordinationv1.Lease)
		if !ok {
			l.wake()
			return
		}
		node, renewed := presence.HolderOf(lease)
		if value := l.links.String(); node != l.Node || lease.Annotations[presence.Annotation] != value &&
			!renewed.Before(l.last.Truncate(time.Microsecond)) {
			l.wake()
		}
	}, &coordinationv1.Lease{})
	if err != nil && ctx.Err() == nil {
		l.Log.Warn("own Lease not watched; it is renewed in time", "err", err)
	}
}

// lease returns the Lease as it is to be now.
func (l *Life) lease() *coordinationv1.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	lease := presence.Lease(l.Namespace, config.SpeakerState(l.Node), l.Node, l.last)
	if value := l.links.String(); value != "" {
		lease.Annotations = map[string]string{presence.Annotation: value}
	}
	return lease
}

func (l *Life) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, presence.RenewEvery)
	defer cancel()
	lease := l.lease()
	patch, err := json.Marshal(lease)
	if err != nil {
		return err
	}
	err = l.Client.Patch(ctx, lease, client.RawPatch(types.ApplyPatchType, patch), client.FieldOwner("fairlead-speaker"),
		client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("renew the Lease %s/%s: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}

// end removes the Lease: this speaker is gone on purpose.
func (l *Life) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := l.Client.Delete(ctx, l.lease()); client.IgnoreNotFound(err) != nil {
		l.Log.Debug("Lease not removed", "err", err)
	}
}
