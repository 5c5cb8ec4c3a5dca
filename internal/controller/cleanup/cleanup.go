// Package cleanup takes back what an installation has written outside its own namespace: what the CNI was told, the Backend
// objects, and the marks on Services. It is for the moment before an installation is removed.
package cleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/controller/ledger"
	"github.com/fairlead/fairlead/internal/service"
)

// listPage is how many Services are asked for at once.
const listPage = 500

// again is how long to wait where a CNI can only be emptied step by step.
const again = 2 * time.Second

// Options are what Run needs.
type Options struct {
	Config          *rest.Config
	Client          client.Client // reads from the API server, not from a cache
	Namespace       string        // of the installation
	CiliumNamespace string
	FieldManager    string
	Classes         []string // of the Services that the installation serves; an empty one stands for those without a class
	// ReleaseIPs takes the addresses from the Services, too; else they keep them, without the marks.
	ReleaseIPs bool
	Lease      Lease
	// Progress is told what is done, in one line each.
	Progress func(format string, args ...any)
}

// Run does it. It is idempotent, goes on after a failure, and returns all that failed. A CNI whose API is gone has nothing left to
// take back.
func Run(ctx context.Context, o Options) error {
	release, err := o.Lease.take(ctx, &o)
	if err != nil {
		return err
	}
	defer release()
	return errors.Join(o.backends(ctx), o.services(ctx), o.holds(ctx))
}

func (o *Options) backends(ctx context.Context) error {
	d, err := discovery.NewDiscoveryClientForConfig(o.Config)
	if err != nil {
		return err
	}
	dyn, err := dynamic.NewForConfig(o.Config)
	if err != nil {
		return err
	}
	state := func(name string) *apply.State {
		return &apply.State{Client: o.Client, Name: name, Installation: o.Namespace}
	}
	withdraw := func(name string, b backends.ClusterBackend) error {
		for b != nil {
			err := b.Apply(ctx, backends.Desired{})
			if errors.Is(err, backends.ErrInProgress) {
				o.Progress("%s: not everything may go at once; going on in %s", name, again)
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(again):
				}
				continue
			}
			if err != nil && !missing(err) && !errors.Is(err, apply.ErrTaken) {
				return fmt.Errorf("%s: %w", name, err)
			}
			break
		}
		if err := state(name).Forget(ctx); err != nil && !missing(err) {
			return fmt.Errorf("%s: %w", name, err)
		}
		o.Progress("%s: nothing of this installation is left", name)
		return nil
	}
	return errors.Join(
		delegate.RemoveQuestions(ctx, d, dyn, o.Namespace),
		withdraw(delegate.Calico, calico.New(calico.Config{
			Discovery: d, Client: dyn, Ledger: &ledger.Ledger{State: state(delegate.Calico)}, Installation: o.Namespace,
			FieldManager: o.FieldManager,
			Settle:       calico.Settle,
		})),
		withdraw(delegate.Cilium, cilium.New(cilium.Config{
			Discovery: d, Client: dyn, Namespace: o.CiliumNamespace, Installation: o.Namespace, FieldManager: o.FieldManager,
		})),
		withdraw(delegate.Speaker, nil), // they withdraw when it is gone
		withdraw(delegate.None, nil),
	)
}

// missing reports whether err says that a kind does not exist: then there is no object of it either.
func missing(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

func (o *Options) services(ctx context.Context) error {
	var failed []error
	done := 0
	for next, more := "", true; more; more = next != "" {
		var page corev1.ServiceList
		if err := o.Client.List(ctx, &page, client.Limit(listPage), client.Continue(next)); err != nil {
			return fmt.Errorf("list services: %w", err)
		}
		for i := range page.Items {
			changed, err := o.service(ctx, &page.Items[i])
			if err != nil {
				failed = append(failed, fmt.Errorf("service %s/%s: %w", page.Items[i].Namespace, page.Items[i].Name, err))
			}
			if changed {
				done++
			}
		}
		if next = page.Continue; next != "" {
			o.Progress("Services: %d changed so far", done)
		}
	}
	what := "marks removed, addresses kept"
	if o.ReleaseIPs {
		what = "addresses released"
	}
	o.Progress("Services: %d changed (%s)", done, what)
	return errors.Join(failed...)
}

func (o *Options) service(ctx context.Context, svc *corev1.Service) (changed bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		patch := service.Leave(svc, o.Classes, o.ReleaseIPs)
		if patch == nil {
			return nil
		}
		err := o.Client.Status().Patch(ctx, svc.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(o.FieldManager))
		if apierrors.IsConflict(err) {
			if err := o.Client.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
				return client.IgnoreNotFound(err)
			}
			return err
		}
		changed = err == nil
		return client.IgnoreNotFound(err)
	})
	return changed, err
}

// holds deletes the reservations that were made for Services, if their addresses are released.
func (o *Options) holds(ctx context.Context) error {
	if !o.ReleaseIPs {
		return nil
	}
	var list v1alpha1.AddressReservationList
	if err := o.Client.List(ctx, &list, client.InNamespace(o.Namespace)); err != nil {
		if missing(err) {
			return nil
		}
		return fmt.Errorf("list reservations: %w", err)
	}
	var failed []error
	for i := range list.Items {
		if h := &list.Items[i]; config.Hold(h) {
			if err := client.IgnoreNotFound(o.Client.Delete(ctx, h)); err != nil {
				failed = append(failed, fmt.Errorf("delete hold %q: %w", h.Name, err))
			}
		}
	}
	return errors.Join(failed...)
}
