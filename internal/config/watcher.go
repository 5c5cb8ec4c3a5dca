package config

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// Watcher keeps a Snapshot in step with the objects of one namespace, reports their faults, and passes every new Snapshot on.
type Watcher struct {
	reader     client.Reader // the cache: BGPPeers are read untyped, which a client would not do from the cache
	namespace  string
	reporter   *reporter
	controller controller.Controller
	publish    func(context.Context, *Snapshot) error
	remarks    func(*Snapshot) []Remark
	queue      atomic.Pointer[queue]
	metrics    *Metrics
	last       *Snapshot // touched by Load, then by the single worker of controller
	pending    pending

	// What last was made from; touched as last.
	peers        []v1beta2.BGPPeer
	reservations []v1alpha1.AddressReservation

	mu    sync.Mutex // protects all the following
	waits []Fault
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
	// Remarks says what there is to tell of objects that have no fault, once a Snapshot is in force; it may be nil.
	Remarks func(*Snapshot) []Remark
}

// NewWatcher returns a Watcher; it starts nothing.
func NewWatcher(o WatcherOptions) (*Watcher, error) {
	w := &Watcher{
		metrics: &Metrics{},
		reader:  o.Manager.GetCache(), namespace: o.Namespace, publish: o.Publish, remarks: o.Remarks,
		reporter: &reporter{client: o.Manager.GetClient(), namespace: o.Namespace, node: o.Node, recorder: o.Recorder, log: o.Log},
	}
	if o.Node == "" {
		w.reporter.readiness = w.reporter.newReadiness(o.Manager.GetCache())
		w.reporter.about = w.withWaits
	} else {
		w.reporter.recorder, w.reporter.about = nil, w.aboutNode
	}
	w.reporter.states = w.reporter.newStates(o.Manager.GetCache())
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
		if err := w.controller.Watch(source.Kind(o.Manager.GetCache(), kind, w.pending.handler(), news)); err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	if err := w.watchNode(o); err != nil {
		return nil, err
	}
	// The first look is taken even if there is no object: an empty configuration has to be put in force too.
	return w, w.controller.Watch(source.Func(func(_ context.Context, q queue) error {
		w.queue.Store(&q)
		q.Add(everything)
		return nil
	}))
}

// watchNode has the ConfigurationState told anew when the labels of the speaker's node change, by which BGPPeers select it.
func (w *Watcher) watchNode(o WatcherOptions) error {
	if o.Node == "" {
		return nil
	}
	toState := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{stateRequest}
	})
	node := predicate.And(predicate.LabelChangedPredicate{},
		predicate.NewPredicateFuncs(func(x client.Object) bool { return x.GetName() == o.Node }))
	if err := w.controller.Watch(source.Kind[client.Object](o.Manager.GetCache(), &corev1.Node{}, toState, node)); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	return nil
}

// stateRequest has it worked out what the ConfigurationState says, and nothing else.
var stateRequest = reconcile.Request{NamespacedName: types.NamespacedName{Name: "state"}}

// SetWaits says which objects cannot be served before something outside them is mended: a speaker's BGPPeers without their Secret, pools
// whose allocator does not know them. It does not block.
func (w *Watcher) SetWaits(waits []Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.waits, waits) {
		return
	}
	w.waits = waits
	if q := w.queue.Load(); q != nil {
		(*q).Add(stateRequest)
	}
}

// aboutNode returns the faults that concern the node of this speaker, with those that only its speaker knows of.
func (w *Watcher) aboutNode(ctx context.Context, faults []Fault) []Fault {
	var node corev1.Node
	if err := w.reader.Get(ctx, types.NamespacedName{Name: w.reporter.node}, &node); err == nil {
		faults = about(faults, w.peers, node.Labels)
	}
	return w.withWaits(ctx, faults)
}

// withWaits returns the faults with those that were set as SetWaits says.
func (w *Watcher) withWaits(_ context.Context, faults []Fault) []Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Concat(faults, w.waits)
}

// Load builds the first Snapshot. It must return before Run is called.
func (w *Watcher) Load(ctx context.Context) (*Snapshot, error) {
	objects, err := List(ctx, w.reader, w.namespace)
	if err != nil {
		return nil, err
	}
	w.last, w.peers, w.reservations = Build(objects, w.last), objects.BGPPeers, objects.Reservations
	return w.last, nil
}

// Reconcile builds, publishes and reports a new Snapshot, or, for stateRequest, reports the last one again.
func (w *Watcher) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	if r == stateRequest {
		if w.last == nil {
			return reconcile.Result{}, nil // it will be reported
		}
		w.reporter.tell(ctx, w.last)
		w.reporter.setState(ctx, w.last)
		return reconcile.Result{}, nil
	}
	inForce := w.pending.take()
	s, err := w.Load(ctx)
	if err == nil {
		err = w.publish(ctx, s)
	}
	inForce()
	if err != nil {
		return reconcile.Result{}, err
	}
	w.metrics.inForce(s)
	var remarks []Remark
	if w.remarks != nil {
		remarks = w.remarks(s)
	}
	w.reporter.report(ctx, s, w.reservations, remarks)
	return reconcile.Result{}, nil
}

// Await waits until the changes that have come in so far are in force: who decides on what came after them, as in one `kubectl apply`,
// decides by them. It does not wait for long if they cannot be put in force.
func (w *Watcher) Await(ctx context.Context) { w.pending.wait(ctx) }

// Reconsider has the configuration looked at again, because there may be something else to remark.
func (w *Watcher) Reconsider() {
	if q := w.queue.Load(); q != nil {
		(*q).AddAfter(everything, coalesce)
	}
}

// Run follows the objects until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.controller.Start(ctx) })
	g.Go(func() error { return w.reporter.keep(ctx) })
	return g.Wait()
}
