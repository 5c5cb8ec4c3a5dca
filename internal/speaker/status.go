package speaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/presence"
)

// Reasons of events, and labels of status objects, are MetalLB's.
const (
	EventNodeAssigned   = "nodeAssigned"
	EventAnnounceFailed = "announceFailed"
	// EventPeerNotReady is ours: a BGPPeer is not served as it is asked for.
	EventPeerNotReady = "PeerNotReady"

	labelNode             = "metallb.io/node"
	labelServiceName      = "metallb.io/service-name"
	labelServiceNamespace = "metallb.io/service-namespace"
)

const (
	// statusPeriod is how often at most status objects are written.
	statusPeriod = 200 * time.Millisecond
	// statusRetry is when it is tried again after a failure.
	statusRetry = time.Second
)

// Owner is the pod of a speaker.
type Owner struct {
	Pod string
	UID types.UID
}

func (o *Owner) references() []metav1.OwnerReference {
	if o == nil {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: o.Pod, UID: o.UID}}
}

// view is what the status objects are to tell of.
type view struct {
	services  []announce.Service
	decision  announce.Decision
	announced map[netip.Addr]bool
	alive     map[string]bool
}

// statusWriter keeps one ServiceL2Status for each Service that is announced from this node, sends its event, and removes those of
// others: of the node that announced before, and, if this is the first of the nodes alive, of nodes that are gone.
type statusWriter struct {
	o       Options
	changed chan struct{}
	own     map[types.NamespacedName]*v1beta1.ServiceL2Status // as written last; touched by write alone

	mu    sync.Mutex // protects all the following
	view  *view
	links *presence.Links
	wrote *presence.Links    // the last that was written
	gone  map[types.UID]bool // objects of this node that were deleted, until write has seen that
}

func newStatusWriter(o Options) *statusWriter {
	return &statusWriter{o: o, changed: make(chan struct{}, 1), own: map[types.NamespacedName]*v1beta1.ServiceL2Status{}, gone: map[types.UID]bool{}}
}

func (w *statusWriter) set(v view) {
	w.mu.Lock()
	w.view = &v
	w.mu.Unlock()
	w.wake()
}

func (w *statusWriter) setLinks(links []backends.Link) {
	w.mu.Lock()
	w.links = &presence.Links{Links: links, SameSubnet: w.o.SameSubnet, IgnoreExclude: w.o.IgnoreExclude}
	w.mu.Unlock()
	w.wake()
}

func (w *statusWriter) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// failed sends an event about an address that could not be announced.
func (w *statusWriter) failed(name types.NamespacedName, addr netip.Addr, err error) {
	w.event(context.Background(), name, corev1.EventTypeWarning, EventAnnounceFailed, "Failed to announce %s from node %q: %v", addr, w.o.Node, err)
}

func (w *statusWriter) event(ctx context.Context, name types.NamespacedName, kind, reason, note string, args ...any) {
	var svc corev1.Service
	if err := w.o.Cache.Get(ctx, name, &svc); err != nil {
		return // it is gone
	}
	w.o.Recorder.Eventf(&svc, nil, kind, reason, "Announce", note, args...)
}

// prepare has the cache follow the status objects.
func (w *statusWriter) prepare(ctx context.Context) error {
	informer, err := w.o.Cache.GetInformer(ctx, &v1beta1.ServiceL2Status{})
	if err != nil {
		return fmt.Errorf("watch ServiceL2Status objects: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{DeleteFunc: func(o any) {
		if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = last.Obj
		}
		if x, ok := o.(*v1beta1.ServiceL2Status); ok && x.Labels[labelNode] == backends.LabelValue(w.o.Node) {
			w.mu.Lock()
			w.gone[x.UID] = true
			w.mu.Unlock()
			w.wake()
		}
	}})
	return err
}

// run writes until ctx ends, and then tells that this speaker does not run any more.
func (w *statusWriter) run(ctx context.Context) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return w.retract(context.WithoutCancel(ctx))
		case <-w.changed:
		case <-again:
		}
		again = nil
		if err := w.write(ctx); err != nil && ctx.Err() == nil {
			if !errors.Is(err, errNoState) {
				w.o.Log.Warn("status objects not written", "err", err)
			}
			again = time.After(statusRetry)
		}
		select {
		case <-ctx.Done():
		case <-time.After(statusPeriod):
		}
	}
}

func (w *statusWriter) write(ctx context.Context) error {
	w.mu.Lock()
	v, links, gone := w.view, w.links, w.gone
	w.gone = map[types.UID]bool{}
	w.mu.Unlock()
	// What somebody removed, or this speaker, is made again if it is needed.
	maps.DeleteFunc(w.own, func(_ types.NamespacedName, o *v1beta1.ServiceL2Status) bool { return gone[o.UID] })
	var errs []error
	if links != nil && (w.wrote == nil || !links.Equal(*w.wrote)) {
		value := links.String()
		err := w.annotate(ctx, &value)
		if err == nil {
			w.wrote = links
		}
		errs = append(errs, err)
	}
	if v != nil {
		errs = append(errs, w.writeServices(ctx, v))
	}
	return errors.Join(errs...)
}

// retract removes the annotation of a speaker that ends.
func (w *statusWriter) retract(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := w.annotate(ctx, nil); err != nil {
		w.o.Log.Debug("state not retracted", "err", err)
	}
	return nil
}

// errNoState: the ConfigurationState of this speaker has not been made yet; the configuration's watcher makes it.
var errNoState = errors.New("no ConfigurationState yet")

func (w *statusWriter) annotate(ctx context.Context, value *string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{presence.Annotation: value}}})
	if err != nil {
		return err
	}
	state := &v1beta1.ConfigurationState{ObjectMeta: metav1.ObjectMeta{Namespace: w.o.Namespace, Name: config.SpeakerState(w.o.Node)}}
	err = w.o.Client.Patch(ctx, state, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) {
		return errNoState
	}
	if err != nil {
		return fmt.Errorf("write the interfaces of node %q: %w", w.o.Node, err)
	}
	return nil
}

// announcer returns who tells of a Service: the node of its first address that is announced at all, with the interfaces.
func (v *view) announcer(s *announce.Service) (node string, addr netip.Addr, interfaces []string) {
	for _, addr := range s.Addrs {
		if p := v.decision.Placements[addr]; p != nil && p.Node != "" {
			return p.Node, addr, p.Interfaces
		}
	}
	return "", netip.Addr{}, nil
}

func (w *statusWriter) writeServices(ctx context.Context, v *view) error {
	var list v1beta1.ServiceL2StatusList
	if err := w.o.Cache.List(ctx, &list, client.InNamespace(w.o.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list ServiceL2Status objects: %w", err)
	}
	there := map[types.NamespacedName][]*v1beta1.ServiceL2Status{}
	for i := range list.Items {
		s := &list.Items[i]
		key := types.NamespacedName{Namespace: s.Labels[labelServiceNamespace], Name: s.Labels[labelServiceName]}
		there[key] = append(there[key], s)
	}
	mine := map[types.NamespacedName][]string{} // with the interfaces
	owned := map[types.NamespacedName]bool{}    // by anybody alive
	for i := range v.services {
		s := &v.services[i]
		key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		node, addr, interfaces := v.announcer(s)
		owned[key] = node != ""
		if node == w.o.Node && v.announced[addr] {
			mine[key] = interfaces
		}
	}
	var errs []error
	for key, interfaces := range mine {
		errs = append(errs, w.keep(ctx, key, interfaces, there[key]))
	}
	first, alive := true, map[string]bool{} // first of the nodes alive
	for node := range v.alive {
		first = first && w.o.Node <= node
		alive[backends.LabelValue(node)] = true
	}
	for key, objects := range there {
		for _, o := range objects {
			_, isMine := mine[key]
			node := o.Labels[labelNode]
			switch {
			case isMine && w.own[key] != nil && o.UID == w.own[key].UID:
			case isMine, node == backends.LabelValue(w.o.Node), first && !alive[node], first && !owned[key]:
				errs = append(errs, w.remove(ctx, o))
			}
		}
	}
	for key := range w.own {
		if _, still := mine[key]; !still {
			delete(w.own, key)
		}
	}
	return errors.Join(errs...)
}

// keep sees to it that there is one right object for a Service; it sends the event if there was none of this node.
func (w *statusWriter) keep(ctx context.Context, key types.NamespacedName, interfaces []string, there []*v1beta1.ServiceL2Status) error {
	own, node := w.own[key], backends.LabelValue(w.o.Node)
	for _, o := range there {
		if own == nil && o.Labels[labelNode] == node {
			own = o.DeepCopy() // of a process before this one
		}
	}
	created := false
	if own == nil {
		own = &v1beta1.ServiceL2Status{ObjectMeta: metav1.ObjectMeta{
			GenerateName: "l2-", Namespace: w.o.Namespace,
			Labels: map[string]string{labelNode: node, labelServiceName: key.Name, labelServiceNamespace: key.Namespace},
		}}
		own.OwnerReferences = w.o.Owner.references()
		if err := w.o.Client.Create(ctx, own); err != nil {
			return fmt.Errorf("create the ServiceL2Status of %s: %w", key, err)
		}
		created = true
	}
	w.own[key] = own
	want := v1beta1.ServiceL2StatusStatus{Node: w.o.Node, ServiceName: key.Name, ServiceNamespace: key.Namespace}
	for _, name := range interfaces {
		want.Interfaces = append(want.Interfaces, v1beta1.InterfaceInfo{Name: name})
	}
	if s := own.Status; s.Node != want.Node || s.ServiceName != want.ServiceName || s.ServiceNamespace != want.ServiceNamespace || !slices.Equal(s.Interfaces, want.Interfaces) {
		patch, err := json.Marshal(map[string]any{"status": map[string]any{
			"node": want.Node, "serviceName": want.ServiceName, "serviceNamespace": want.ServiceNamespace, "interfaces": want.Interfaces,
		}})
		if err != nil {
			return err
		}
		if err := w.o.Client.Status().Patch(ctx, own, client.RawPatch(types.MergePatchType, patch)); err != nil {
			if apierrors.IsNotFound(err) {
				delete(w.own, key) // somebody removed it; it is made again
			}
			return fmt.Errorf("write the ServiceL2Status of %s: %w", key, err)
		}
	}
	if created {
		w.event(ctx, key, corev1.EventTypeNormal, EventNodeAssigned, "announcing from node %q with protocol %q", w.o.Node, protocolLayer2)
	}
	return nil
}

func (w *statusWriter) remove(ctx context.Context, o *v1beta1.ServiceL2Status) error {
	err := w.o.Client.Delete(ctx, &v1beta1.ServiceL2Status{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}}, client.Preconditions{UID: &o.UID})
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("remove ServiceL2Status %s/%s: %w", o.Namespace, o.Name, err)
	}
	return nil
}
