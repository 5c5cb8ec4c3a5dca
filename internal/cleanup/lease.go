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

// heldFor is how long the Lease stays taken where a controller ran: time enough to remove it. Who waits for a Lease counts from when it first
// sees it, so one that is started later waits that long from its own start.
const heldFor = 60 * time.Second

// lastWrite is how long it may take to give the Lease back.
const lastWrite = 5 * time.Second

// prefix begins the identity of a cleanup: one that came before leaves no controller that writes.
const prefix = "cleanup_"

// take takes the Lease from whoever holds it, and waits until that one has stopped. Until release is called, it is renewed. After that it
// runs out by itself, as long as a controller may be there that would begin anew; where none was, the Lease is given back, and the next
// controller leads at once.
func (l Lease) take(ctx context.Context, o *Options) (release func(), err error) {
	me := prefix + string(uuid.NewUUID())
	seconds := int32(heldFor / time.Second)
	first, held, taken := true, false, false
	renew := func() error {
		return l.change(ctx, o, func(spec *coordinationv1.LeaseSpec) {
			now := metav1.NowMicro()
			if first {
				taken = valid(spec, now.Time)
				held = taken && !strings.HasPrefix(*spec.HolderIdentity, prefix)
			}
			spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = &me, &seconds, &now
		})
	}
	if err := renew(); err != nil {
		return nil, fmt.Errorf("take the controller's Lease %s/%s: %w", o.Namespace, l.Name, err)
	}
	first = false
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
		if taken {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
		defer cancel()
		err := l.change(ctx, o, func(spec *coordinationv1.LeaseSpec) {
			if spec.HolderIdentity != nil && *spec.HolderIdentity == me {
				spec.HolderIdentity = new("") // as a controller does that stops
			}
		})
		if err != nil {
			o.Progress("the Lease was not given back; the next controller leads after %s: %v", heldFor, err)
		}
	}, nil
}

// change writes the Lease, which is made if there is none.
func (l Lease) change(ctx context.Context, o *Options, set func(*coordinationv1.LeaseSpec)) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var lease coordinationv1.Lease
		err := o.Client.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: l.Name}, &lease)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		set(&lease.Spec)
		if apierrors.IsNotFound(err) {
			lease.Namespace, lease.Name = o.Namespace, l.Name
			return o.Client.Create(ctx, &lease)
		}
		return o.Client.Update(ctx, &lease)
	})
}

// valid reports whether somebody holds a Lease that has not run out.
func valid(s *coordinationv1.LeaseSpec, now time.Time) bool {
	return s.HolderIdentity != nil && *s.HolderIdentity != "" && s.RenewTime != nil && s.LeaseDurationSeconds != nil &&
		now.Sub(s.RenewTime.Time) < time.Duration(*s.LeaseDurationSeconds)*time.Second
}
