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

// heldFor is how long the Lease stays taken where a controller ran: time enough to remove it. Who waits for a Lease counts from when it
// first sees it, so one that is started later waits that long from its own start.
const heldFor = 60 * time.Second

const (
	// lastWrite is how long it may take to give the Lease back.
	lastWrite = 5 * time.Second
	// candidates is within which time one that waits for the Lease takes it, or one that has it renews it.
	candidates = 3 * time.Second
	// lookAgain is how often it is looked whether one does.
	lookAgain = 200 * time.Millisecond
)

// prefix begins the identity of a cleanup: one that came before leaves no controller that writes.
const prefix = "cleanup_"

// take takes the Lease from whoever holds it, and waits until that one has stopped. Until release is called, it is renewed. After that it
// runs out by itself, as long as a controller may be there that would begin anew; where none was, the Lease is given back, and the next
// controller leads at once.
func (l Lease) take(ctx context.Context, o *Options) (release func(), err error) {
	runs, cleaned, err := l.held(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("read the controller's Lease %s/%s: %w", o.Namespace, l.Name, err)
	}
	me := prefix + string(uuid.NewUUID())
	seconds := int32(heldFor / time.Second)
	renew := func() error {
		return l.change(ctx, o, func(spec *coordinationv1.LeaseSpec) {
			now := metav1.NowMicro()
			spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = &me, &seconds, &now
		})
	}
	if err := renew(); err != nil {
		return nil, fmt.Errorf("take the controller's Lease %s/%s: %w", o.Namespace, l.Name, err)
	}
	if runs {
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
		if runs || cleaned {
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

// held looks whether a controller runs: it renews the Lease, or takes it, within some seconds. cleaned is set if another cleanup holds it,
// after which one may run that waits. A Lease that nobody renews any more is waited for until it has run out.
func (l Lease) held(ctx context.Context, o *Options) (runs, cleaned bool, err error) {
	read := func() (spec coordinationv1.LeaseSpec, err error) {
		var lease coordinationv1.Lease
		err = o.Client.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: l.Name}, &lease)
		return lease.Spec, client.IgnoreNotFound(err)
	}
	first, err := read()
	if err != nil || first.RenewTime == nil || first.LeaseDurationSeconds == nil {
		return false, false, err
	}
	now := time.Now()
	lasts := time.Duration(*first.LeaseDurationSeconds) * time.Second
	until := first.RenewTime.Add(lasts)
	if by(&first, prefix) {
		return false, now.Before(until), nil
	}
	until = until.Add(candidates)
	if by(&first, "") { // clocks may differ
		until = latest(until, now.Add(candidates))
	}
	until = earliest(until, now.Add(lasts+candidates))
	for time.Now().Before(until) {
		select {
		case <-ctx.Done():
			return false, false, ctx.Err()
		case <-time.After(lookAgain):
		}
		next, err := read()
		if err != nil {
			return false, false, err
		}
		if next.RenewTime != nil && !next.RenewTime.Equal(first.RenewTime) {
			return by(&next, "") && !by(&next, prefix), by(&next, prefix), nil
		}
	}
	return false, false, nil
}

// by reports whether somebody holds a Lease whose identity begins so.
func by(s *coordinationv1.LeaseSpec, prefix string) bool {
	return s.HolderIdentity != nil && *s.HolderIdentity != "" && strings.HasPrefix(*s.HolderIdentity, prefix)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
