package assign

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// workers is how many status writes are under way at once.
const workers = 32

// listPage is how many Services are asked for at once when existing addresses are adopted.
const listPage = 1000

type requestQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Options are what a Task needs.
type Options struct {
	Manager   manager.Manager
	Namespace string // of the configuration objects
	Rules     Rules
	// ReportOtherClasses tells a Service of a class that is not served so, by an event.
	ReportOtherClasses bool
	Registry           prometheus.Registerer
	Recorder           events.EventRecorder
	// Providers give out the addresses of pools that name them, by the name that pools have for them (config.Allocators).
	Providers map[string]allocator.Provider
	Log       *slog.Logger
}

// Task is the running whole of this package: it adopts what exists, then serves Services until it is stopped.
type Task struct {
	manager    manager.Manager
	assigner   *Assigner
	pools      *poolStatus
	reconciler *reconciler
	controller controller.Controller
	holds      controller.Controller
	namespace  string
	log        *slog.Logger
	queue      atomic.Pointer[requestQueue]
	providers  map[string]*provider
	faults     func([]config.Fault)

	nodesChanged func()
}

// NewTask returns a Task; it starts nothing.
func NewTask(o Options) (*Task, error) {
	c := o.Manager.GetClient()
	t := &Task{manager: o.Manager, log: o.Log, namespace: o.Namespace, pools: newPoolStatus(c, o.Manager.GetCache(), o.Namespace, o.Log)}
	o.Rules.Allocators = providers(o.Providers)
	t.assigner = New(o.Rules, Notify{Service: t.enqueue, Pool: t.pools.Mark, Claim: t.lookAtClaim})
	t.assigner.LetLeave(time.Now)
	t.assigner.AwaitCNI()
	t.pools.Assigner = t.assigner
	live := o.Manager.GetAPIReader()
	holds := &holdKeeper{Client: c, Assigner: t.assigner, Namespace: o.Namespace, Log: o.Log, Now: time.Now, adopted: adopted{reader: live}}
	m := NewMetrics(t.assigner)
	if err := o.Registry.Register(m); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if err := t.addProviders(o); err != nil {
		return nil, err
	}
	t.reconciler = &reconciler{
		Client: c, Assigner: t.assigner, Holds: holds, Adopted: &adopted{reader: live}, Recorder: o.Recorder, Metrics: m, Log: o.Log,
		Now:                time.Now,
		ReportOtherClasses: o.ReportOtherClasses,
	}
	var err error
	t.controller, err = controller.NewUnmanaged("service", controller.Options{
		Reconciler: t.reconciler, MaxConcurrentReconciles: workers,
	})
	if err != nil {
		return nil, fmt.Errorf("service controller: %w", err)
	}
	if t.holds, err = controller.NewUnmanaged("hold", controller.Options{Reconciler: holds}); err != nil {
		return nil, fmt.Errorf("hold controller: %w", err)
	}
	return t, t.watch()
}

// EventSource is the name under which events are reported; it is MetalLB's.
const EventSource = "metallb-controller"

func (t *Task) watch() error {
	cache := t.manager.GetCache()
	if err := t.controller.Watch(source.Kind(cache, &corev1.Service{}, &handler.TypedEnqueueRequestForObject[*corev1.Service]{})); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := t.controller.Watch(source.Kind(cache, namespace, handler.TypedEnqueueRequestsFromMapFunc(t.servicesOf))); err != nil {
		return fmt.Errorf("watch namespaces: %w", err)
	}
	if err := t.holds.Watch(source.Kind(cache, &v1alpha1.AddressReservation{},
		&handler.TypedEnqueueRequestForObject[*v1alpha1.AddressReservation]{})); err != nil {
		return fmt.Errorf("watch reservations: %w", err)
	}
	if err := t.holds.Watch(source.Kind(cache, &corev1.Service{}, handler.TypedEnqueueRequestsFromMapFunc(t.holdOf))); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	if err := t.controller.Watch(t.reconciler.Adopted.source()); err != nil {
		return fmt.Errorf("look at adopted services: %w", err)
	}
	if err := t.holds.Watch(t.reconciler.Holds.adopted.source()); err != nil {
		return fmt.Errorf("look at adopted reservations: %w", err)
	}
	if err := t.watchNodes(); err != nil {
		return err
	}
	// The queue itself, so that decisions on one Service can wake another.
	return t.controller.Watch(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		t.queue.Store(&q)
		return nil
	}))
}

// holdOf returns the hold of a Service that came, went or changed its type.
func (t *Task) holdOf(_ context.Context, svc *corev1.Service) []reconcile.Request {
	if _, ok := svc.Annotations[service.AnnotationHold]; !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: t.namespace, Name: holdName(ownerOf(svc))}}}
}

func (t *Task) enqueue(owner allocator.Owner) {
	if q := t.queue.Load(); q != nil {
		(*q).Add(reconcile.Request{NamespacedName: types.NamespacedName(owner)})
	}
}

// servicesOf returns the Services of a namespace whose labels have changed, if those labels matter to any pool.
func (t *Task) servicesOf(ctx context.Context, ns *metav1.PartialObjectMetadata) []reconcile.Request {
	if !t.assigner.SelectsNamespaces() {
		return nil
	}
	var list corev1.ServiceList
	if err := t.manager.GetClient().List(ctx, &list, client.InNamespace(ns.Name)); err != nil {
		t.log.Error("services of a namespace not listed", "namespace", ns.Name, "err", err)
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if list.Items[i].Spec.Type == corev1.ServiceTypeLoadBalancer {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Adopt takes over what exists under the given configuration. The list comes from the API server itself, not from a cache that
// may be behind: an address that a cache does not show yet must not be given out.
func (t *Task) Adopt(ctx context.Context, s *config.Snapshot) error {
	if err := t.adoptNodes(ctx); err != nil {
		return err
	}
	var services []*corev1.Service
	for next, more := "", true; more; more = next != "" {
		var page corev1.ServiceList
		if err := t.manager.GetAPIReader().List(ctx, &page, client.Limit(listPage), client.Continue(next)); err != nil {
			return fmt.Errorf("list services to adopt their addresses: %w", err)
		}
		for i := range page.Items {
			service.TrimService(&page.Items[i])
			services = append(services, &page.Items[i])
			t.reconciler.Adopted.add(client.ObjectKeyFromObject(&page.Items[i]))
		}
		next = page.Continue
	}
	var holds v1alpha1.AddressReservationList
	if err := t.manager.GetAPIReader().List(ctx, &holds, client.InNamespace(t.namespace)); err != nil {
		return fmt.Errorf("list reservations in namespace %q: %w", t.namespace, err)
	}
	t.reconciler.Holds.adopt(holds.Items)
	if err := t.assigner.Adopt(s, services, reservedBy(holds.Items), t.namespaceLabels(ctx)); err != nil {
		return err
	}
	t.log.Info("existing addresses adopted", "services", len(services))
	return nil
}

// SetSnapshot puts a new configuration in force.
func (t *Task) SetSnapshot(ctx context.Context, s *config.Snapshot) error {
	err := t.assigner.SetSnapshot(s, t.namespaceLabels(ctx))
	for _, p := range t.providers {
		p.pools.Set()
	}
	t.reportFaults()
	return err
}

func (t *Task) namespaceLabels(ctx context.Context) NamespaceLabels {
	return func(name string) labels.Set {
		set, err := namespaceLabels(ctx, t.manager.GetClient(), name)
		if err != nil {
			t.log.Error("labels of a namespace not read", "namespace", name, "err", err)
		}
		return set
	}
}

// Advertised sets who knows whether addresses are advertised. It must be called before Run.
func (t *Task) Advertised(f func(*corev1.Service, allocator.Assignment) (*service.Advertised, string)) {
	t.reconciler.Advertised = f
}

// Paced sets who knows how fast the CNI can follow. It must be called before Run.
func (t *Task) Paced(p Pacer) { t.reconciler.Pacer = p }

// AfterConfiguration sets what waits until changes of the configuration that came before are in force. It must be called before Run.
func (t *Task) AfterConfiguration(await func(context.Context)) { t.reconciler.Await = await }

// CNIKnown says that the CNI has been looked at, so that new addresses can be given out. It must not be called before Adopt has returned.
func (t *Task) CNIKnown(ctx context.Context) { t.assigner.OpenGate(t.namespaceLabels(ctx)) }

// Reconsider has a Service looked at again.
func (t *Task) Reconsider(owner allocator.Owner) { t.enqueue(owner) }

// RunAllocators asks allocators for what Services want of them, until ctx ends. CNIKnown must have been called.
func (t *Task) RunAllocators(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range t.providers {
		g.Go(func() error { return p.Run(ctx) })
	}
	return g.Wait()
}

// Faults sets who is told of the faults of pools that their allocators know of. It must be called before Run, and must not block.
func (t *Task) Faults(f func([]config.Fault)) { t.faults = f }

// Run serves Services until ctx ends. Adopt must have returned before. Until CNIKnown is called, nothing new is given out.
func (t *Task) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.controller.Start(ctx) })
	g.Go(func() error { return t.holds.Start(ctx) })
	return g.Wait()
}

// RunPoolStatus writes the counters of pools until ctx ends.
func (t *Task) RunPoolStatus(ctx context.Context) error { return t.pools.Start(ctx) }
