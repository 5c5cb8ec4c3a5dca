package assign

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// conflictRetry is how long to wait for the event that a conflicting write must bring, before looking again regardless.
const conflictRetry = time.Second

// reconciler brings each Service to its Verdict.
type reconciler struct {
	Client   client.Client
	Assigner *Assigner
	Holds    *holdKeeper
	Adopted  *adopted
	Recorder events.EventRecorder
	Metrics  *Metrics
	Log      *slog.Logger
	Now      func() time.Time
	// ReportOtherClasses tells a Service of a class that is not served so, by one event.
	ReportOtherClasses bool

	// Advertised says whether what a Service holds is advertised, nil if nobody is asked to advertise, and why the CNI's own
	// allocator would replace it, empty if it would not. It may be nil.
	Advertised func(svc *corev1.Service, held allocator.Assignment) (advertised *service.Advertised, claimed string)
	// Pacer says how fast the CNI can follow. It may be nil.
	Pacer Pacer
	// Await waits until changes of the configuration that came before are in force. It may be nil.
	Await func(context.Context)

	contention contention
	paces      paces
	reported   sync.Map // types.UID -> the class of which the Service was told
	written    sync.Map // types.NamespacedName -> string, the resourceVersion of our last write until the cache has seen it
}

// Reconcile decides on one Service and writes the decision, if it changes anything.
func (r *reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	r.Metrics.updates.Inc()
	result, err := r.reconcile(ctx, req)
	if err != nil {
		r.Metrics.failures.Inc()
	}
	return result, err
}

func (r *reconciler) reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	start := time.Now()
	if r.Await != nil {
		r.Await(ctx)
	}
	var svc corev1.Service
	if err := r.Client.Get(ctx, req.NamespacedName, &svc); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		gone, err := r.Adopted.gone(ctx, req.NamespacedName, &corev1.Service{})
		if gone {
			r.written.Delete(req.NamespacedName)
			r.contention.forget(req.NamespacedName)
			r.paces.forget(req.NamespacedName)
			r.Assigner.Forget(allocator.Owner(req.NamespacedName))
		}
		return reconcile.Result{}, err
	}
	r.Adopted.seen(req.NamespacedName)
	if r.behind(req.NamespacedName, &svc) {
		return reconcile.Result{}, nil // the event of our own write is on its way
	}
	namespace, err := namespaceLabels(ctx, r.Client, svc.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	verdict := r.Assigner.Decide(&svc, namespace)
	if verdict.Ours && r.Advertised != nil {
		verdict.Advertised, verdict.Claimed = r.Advertised(&svc, verdict.Held)
	}
	if !verdict.Ours {
		r.reportClass(&svc)
	}
	if verdict.Ours {
		if err := r.Holds.ensure(ctx, &svc, verdict); err != nil {
			return reconcile.Result{}, err
		}
	}
	if verdict.Claimed != "" {
		r.contention.forget(req.NamespacedName) // it is known who empties the status, and when that ends
	}
	pause := r.contention.pause(&svc, r.Now())
	verdict.Contended = pause > 0
	if r.Pacer != nil {
		pause = sooner(pause, r.paces.pace(&svc, &verdict, r.Pacer, r.Now()))
	}
	change := Plan(&svc, verdict)
	if change == nil {
		return reconcile.Result{RequeueAfter: sooner(pause, verdict.Again)}, nil
	}
	if verdict.Lost != nil {
		r.Metrics.conflicts.Inc()
	}
	result, err := r.write(ctx, &svc, change, start)
	if err == nil && result.IsZero() {
		result.RequeueAfter = sooner(pause, verdict.Again)
	}
	return result, err
}

// sooner returns the shorter of two times, of which 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func (r *reconciler) write(ctx context.Context, svc *corev1.Service, change *Change, start time.Time) (reconcile.Result, error) {
	had := service.ShownAddresses(svc)
	patched := svc.DeepCopy()
	err := r.Client.Status().Patch(ctx, patched, client.RawPatch(types.MergePatchType, change.Patch), client.FieldOwner(service.FieldManager))
	switch {
	case apierrors.IsConflict(err):
		r.Metrics.writes.WithLabelValues(writeConflict).Inc()
		return reconcile.Result{RequeueAfter: conflictRetry}, nil
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil
	case err != nil:
		r.Metrics.writes.WithLabelValues(writeError).Inc()
		return reconcile.Result{}, fmt.Errorf("write the status of service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	r.Metrics.writes.WithLabelValues(writeOK).Inc()
	r.written.Store(client.ObjectKeyFromObject(svc), patched.ResourceVersion)
	if change.AddressesChanged {
		r.contention.wrote(svc, r.Now())
		r.Metrics.latency.Observe(time.Since(start).Seconds())
		r.Log.Info("addresses changed", "service", ownerOf(svc).String(), "from", joinAddrs(had),
			"to", joinAddrs(service.ShownAddresses(patched)), "pool", patched.Annotations[service.AnnotationFromPool])
	}
	for _, e := range change.Events {
		r.Recorder.Eventf(patched, nil, e.Type, e.Reason, "Assign", "%s", e.Message)
		if e.Type == corev1.EventTypeWarning {
			r.Log.Warn("service not served as asked", "service", ownerOf(svc).String(), "reason", e.Reason, "err", e.Message)
		}
	}
	return reconcile.Result{}, nil
}

// reportClass tells a Service that nobody here serves its class, once for each class that it has.
func (r *reconciler) reportClass(svc *corev1.Service) {
	if !r.ReportOtherClasses || svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	class := "a Service without spec.loadBalancerClass"
	if c := svc.Spec.LoadBalancerClass; c != nil {
		class = fmt.Sprintf("spec.loadBalancerClass %q", *c)
	}
	if told, _ := r.reported.Swap(svc.UID, class); told == class {
		return
	}
	var served []string
	for _, c := range r.Assigner.rules.Classes {
		if c == "" {
			served = append(served, "Services without a class")
		} else {
			served = append(served, fmt.Sprintf("class %q", c))
		}
	}
	r.Recorder.Eventf(svc, nil, corev1.EventTypeNormal, service.EventClassNotServed, "Assign",
		"%s is not served here; served are %s", class, strings.Join(served, " and "))
}

// behind reports whether the cache has yet to see our own last write to svc (resource versions can be ordered: KEP-5504).
func (r *reconciler) behind(name types.NamespacedName, svc *corev1.Service) bool {
	written, ok := r.written.Load(name)
	if !ok {
		return false
	}
	if order, err := resourceversion.CompareResourceVersion(svc.ResourceVersion, written.(string)); err == nil && order < 0 {
		return true
	}
	r.written.Delete(name)
	return false
}

// namespaceLabels returns the labels of a namespace, none if it does not exist.
func namespaceLabels(ctx context.Context, c client.Reader, name string) (labels.Set, error) {
	ns := metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := c.Get(ctx, types.NamespacedName{Name: name}, &ns); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read namespace %q: %w", name, err)
	}
	return ns.Labels, nil
}
