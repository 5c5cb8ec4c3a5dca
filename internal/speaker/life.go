package speaker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/presence"
)

// lifeRetry is when a Lease is renewed again that could not be.
const lifeRetry = 2 * time.Second

// Life renews the Lease of this speaker: without it nobody could tell what a node says from what it said before it was lost.
type Life struct {
	Node, Namespace string
	Client          client.Client
	Log             *slog.Logger
}

// Run renews until ctx ends, and then removes the Lease.
func (l *Life) Run(ctx, inner context.Context) error {
	failing := false
	for {
		wait := presence.RenewEvery
		if err := l.renew(ctx); err != nil && ctx.Err() == nil {
			if !failing {
				l.Log.Warn("Lease not renewed; what this speaker tells is not believed for long", "err", err)
			}
			wait = lifeRetry
			failing = true
		} else {
			failing = false
		}
		select {
		case <-ctx.Done():
			l.end(inner)
			return nil
		case <-time.After(wait):
		}
	}
}

func (l *Life) lease() *coordinationv1.Lease {
	return presence.Lease(l.Namespace, config.SpeakerState(l.Node), l.Node, time.Now())
}

func (l *Life) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, presence.RenewEvery)
	defer cancel()
	lease := l.lease()
	patch, err := json.Marshal(lease)
	if err != nil {
		return err
	}
	err = l.Client.Patch(ctx, lease, client.RawPatch(types.ApplyPatchType, patch), client.FieldOwner("fairlead-speaker"), client.ForceOwnership)
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
