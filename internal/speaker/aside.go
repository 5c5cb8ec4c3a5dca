package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// asideRetry is when it is tried again after a failure.
const asideRetry = time.Second

// aside keeps an AddressReservation for each address that somebody else on the local network has, for takenFor: the controller gives it to
// nobody meanwhile, and another one to the Service that has just been given it.
type aside struct {
	node, namespace string
	cache           cache.Cache
	client          client.Client
	log             *slog.Logger
	changed         wake.Signal

	mu   sync.Mutex
	want map[netip.Addr]takenBy
}

func newAside(o Options) *aside {
	return &aside{
		node: o.Node, namespace: o.Namespace, cache: o.Cache, client: o.Client, log: o.Log, changed: wake.New(), want: map[netip.Addr]takenBy{},
	}
}

func (a *aside) wake() { a.changed.Set() }

// add sets an address aside.
func (a *aside) add(addr netip.Addr, by takenBy) {
	a.mu.Lock()
	a.want[addr] = by
	a.mu.Unlock()
	a.wake()
}

// run writes and removes until ctx ends. What is there then stays until its time is over: another process of this node removes it, or,
// once the node is gone, the controller.
func (a *aside) run(ctx context.Context) error {
	if err := followMine(ctx, a.cache, a.node, a.wake, &v1alpha1.AddressReservation{}); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	a.wake()
	wake.Loop{News: a.changed, First: asideRetry, Last: asideRetry, Failed: func(err error) {
		a.log.Warn("addresses that others have are not set aside", "err", err)
	}}.Run(ctx, func(ctx context.Context) (time.Duration, error) {
		wait, err := a.write(ctx, time.Now())
		if err != nil {
			wait = 0
		}
		return wait, err
	})
	return nil
}

// write returns when there will be something to do, 0 for never.
func (a *aside) write(ctx context.Context, now time.Time) (wait time.Duration, err error) {
	var list v1alpha1.AddressReservationList
	if err := a.cache.List(ctx, &list, mine(a.namespace, a.node)...); err != nil {
		return 0, err
	}
	next := func(until time.Time) {
		if left := until.Sub(now); wait == 0 || left < wait {
			wait = max(left, time.Millisecond)
		}
	}
	var errs []error
	have := map[string]bool{}
	for i := range list.Items {
		o := &list.Items[i]
		have[o.Name] = true
		until, err := time.Parse(time.RFC3339, o.Annotations[config.AnnotationTakenUntil])
		if err == nil && now.Before(until) {
			next(until)
			continue
		}
		errs = append(errs, client.IgnoreNotFound(a.client.Delete(ctx, o)))
	}
	a.mu.Lock()
	want := make(map[netip.Addr]takenBy, len(a.want))
	for addr, by := range a.want {
		if !now.Before(by.until) {
			delete(a.want, addr)
			continue
		}
		want[addr] = by
	}
	a.mu.Unlock()
	for addr, by := range want {
		o := a.reservation(addr, by)
		if have[o.Name] {
			continue
		}
		if err := a.client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			errs = append(errs, fmt.Errorf("create AddressReservation %q: %w", o.Name, err))
			continue
		}
		next(by.until)
	}
	return wait, errors.Join(errs...)
}

func (a *aside) reservation(addr netip.Addr, by takenBy) *v1alpha1.AddressReservation {
	return &v1alpha1.AddressReservation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: a.namespace, Name: "taken-" + backends.Hash(a.node, addr.String()),
			Labels: map[string]string{labelNode: backends.LabelValue(a.node), backends.LabelManagedBy: backends.ManagedBy},
			Annotations: map[string]string{
				config.AnnotationTakenBy: by.err.By, config.AnnotationTakenUntil: by.until.UTC().Format(time.RFC3339),
			},
		},
		Spec: v1alpha1.AddressReservationSpec{Addresses: []string{addr.String()}},
	}
}
