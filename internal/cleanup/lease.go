package cleanup

import (
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Lease is the Lease of the controller. To hold it keeps a controller that still runs from writing what is taken back.
type Lease struct {
	Name string
	// Stops is how long after its last renewal a leader may still write.
	Stops time.Duration
}

// heldFor is how long the Lease stays taken after the last renewal here: time enough to remove the controller.
const heldFor = 60 * time.Second

// prefix begins the identity of a cleanup: one that came before leaves no controller that writes.
const prefix = "cleanup_"

// take takes the Lease from whoever holds it, and waits until that one has stopped. Until release is called, it is renewed; after
// that it runs out by itself.
func (l Lease) take(ctx context.Context, o *Options) (release func(), err error) {
	me := prefix + string(uuid.NewUUID())
	seconds := int32(heldFor / time.Second)
	held := false
	renew := func() error {
		return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			var lease coordinationv1.Lease
			err := o.Client.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: l.Name}, &lease)
			if client.IgnoreNotFound(err) != nil {
				return err
			}
			now := metav1.NowMicro()
			holder := lease.Spec.HolderIdentity
			held = holder != nil && *holder != "" && !strings.HasPrefix(*holder, prefix) && lease.Spec.RenewTime != nil &&
				lease.Spec.LeaseDurationSeconds != nil && now.Sub(lease.Spec.RenewTime.Time) < time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second
			lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &me, &seconds, &now
			if apierrors.IsNotFound(err) {
				lease.Namespace, lease.Name = o.Namespace, l.Name
				return o.Client.Create(ctx, &lease)
			}
			return o.Client.Update(ctx, &lease)
		})
	}
	if err := renew(); err != nil {
		return nil, fmt.Errorf("take the controller's Lease %s/%s: %w", o.Namespace, l.Name, err)
	}
	if held {
		o.Progress("a controller runs; waiting %s until it has stopped writing", l.Stops)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(l.Stops):
		}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(heldFor / 4)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				if err := renew(); err != nil {
					o.Progress("the Lease was not renewed: %v", err)
				}
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}, nil
}
