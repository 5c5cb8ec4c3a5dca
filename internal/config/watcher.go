package config

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Watcher keeps a Snapshot in step with the objects of one namespace, reports their faults, and passes every new Snapshot on.
type Watcher struct {
	reader     client.Reader // the cache: BGPPeers are read untyped, which a client would not do from the cache
	namespace  string
	reporter   *reporter
	controller controller.Controller
	publish    func(context.Context, *Snapshot) error
	metrics    *Metrics
	last       *Snapshot // touched by Load, then by the single worker of controller
}

// WatcherOptions are what a Watcher needs.
type WatcherOptions struct {
	Manager   manager.Manager
	Namespace string
	// Node is the node of the speaker that watches; empty for the controller. Only the controller sends events of faults.
	Node     string
	Recorder events.EventRecorder
	Registry prometheus.Registerer
	Log      *slog.Logger
	// Publish is called with each new Snapshot, one at a time. If it fails, it is called again later.
	Publish func(context.Context, *Snapshot) error
}

// NewWatcher returns a Watcher; it starts nothing.
func NewWatcher(o WatcherOptions) (*Watcher, error) {
	w := &Watcher{
		metrics: &Metrics{},
		reader:  o.Manager.GetCache(), namespace: o.Namespace, publish: o.Publish,
		reporter: &reporter{client: o.Manager.GetClient(), namespace: o.Namespace, node: o.Node, recorder: o.Recorder, log: o.Log},
	}
	if o.Node != "" {
		w.reporter.recorder = nil
	}
	if err := o.Registry.Register(w.metrics); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	var err error
	w.controller, err = controller.NewUnmanaged("configuration", controller.Options{Reconciler: w, MaxConcurrentReconciles: 1})
	if err != nil {
		return nil, fmt.Errorf("configuration controller: %w", err)
	}
	// Our own writes of a status are no news; labels are, because advertisements select pools by them.
	news := predicate.And(
		predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}),
		predicate.NewPredicateFuncs(func(o client.Object) bool {
			r, is := o.(*v1alpha1.AddressReservation)
			return !is || !Hold(r)
		}),
	)
	for _, kind := range Kinds() {
		if err := w.controller.Watch(source.Kind(o.Manager.GetCache(), kind, handler.EnqueueRequestsFromMapFunc(everything), news)); err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	// The first look is taken even if there is no object: an empty configuration has to be put in force too.
	return w, w.controller.Watch(source.Func(func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.Add(everything(ctx, nil)[0])
		return nil
	}))
}

// everything maps each event to the one request there is: the snapshot is made anew as a whole.
func everything(context.Context, client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "configuration"}}}
}

// Load builds the first Snapshot. It must return before Run is called.
func (w *Watcher) Load(ctx context.Context) (*Snapshot, error) {
	objects, err := List(ctx, w.reader, w.namespace)
	if err != nil {
		return nil, err
	}
	w.last = Build(objects, w.last)
	return w.last, nil
}

// Reconcile builds, publishes and reports a new Snapshot.
func (w *Watcher) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	s, err := w.Load(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := w.publish(ctx, s); err != nil {
		return reconcile.Result{}, err
	}
	w.metrics.inForce(s)
	return reconcile.Result{}, w.reporter.report(ctx, s)
}

// Run follows the objects until ctx ends.
func (w *Watcher) Run(ctx context.Context) error { return w.controller.Start(ctx) }
