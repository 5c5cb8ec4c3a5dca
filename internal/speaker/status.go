package speaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

	labelNode             = presence.LabelStatusNode
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
}

// statusWriter keeps one ServiceL2Status for each Service that is announced from this node, and sends its event.
type statusWriter struct {
	o       Options
	changed chan struct{}
	own     map[types.NamespacedName]*v1beta1.ServiceL2Status // as written last; touched by write alone

	mu    sync.Mutex // protects all the following
	view  *view
	links *presence.Links
}

func newStatusWriter(o Options) *statusWriter {
	return &statusWriter{o: o, changed: make(chan struct{}, 1), own: map[types.NamespacedName]*v1beta1.ServiceL2Status{}}
}

func (w *statusWriter) set(v view) {
	w.mu.Lock()
	w.view = &v
	w.mu.Unlock()
	w.wake()
}

func (w *statusWriter) setLinks(links []backends.Link) {
	told := presence.Of(w.o.Node, links)
	told.SameSubnet, told.IgnoreExclude = w.o.SameSubnet, w.o.IgnoreExclude
	w.mu.Lock()
	w.links = &told
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
	reason := EventAnnounceFailed
	if _, taken := errors.AsType[*TakenError](err); taken {
		reason = announce.ReasonAddressTaken
	}
	w.event(context.Background(), name, corev1.EventTypeWarning, reason, "Failed to announce %s from node %q: %v", addr, w.o.Node, err)
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
	return followMine(ctx, w.o.Cache, w.o.Node, w.wake, &v1beta1.ServiceL2Status{}, &v1beta1.ConfigurationState{})
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
	v, links := w.view, w.links
	w.mu.Unlock()
	var errs []error
	if links != nil {
		errs = append(errs, w.present(ctx, links.String()))
	}
	if v != nil {
		errs = append(errs, w.writeServices(ctx, v))
	}
	return errors.Join(errs...)
}

// retract removes what a speaker that ends has told of itself.
func (w *statusWriter) retract(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := errors.Join(w.annotate(ctx, nil), w.writeServices(ctx, &view{})); err != nil {
		w.o.Log.Debug("state not retracted", "err", err)
	}
	return nil
}

// errNoState: the ConfigurationState of this speaker has not been made yet; the configuration's watcher makes it.
var errNoState = errors.New("no ConfigurationState yet")

// present sees to it that the ConfigurationState tells of this speaker, also if it was removed and made anew.
func (w *statusWriter) present(ctx context.Context, value string) error {
	var state v1beta1.ConfigurationState
	err := w.o.Cache.Get(ctx, types.NamespacedName{Namespace: w.o.Namespace, Name: config.SpeakerState(w.o.Node)}, &state)
	if apierrors.IsNotFound(err) {
		return errNoState
	}
	if err != nil {
		return fmt.Errorf("read the ConfigurationState of node %q: %w", w.o.Node, err)
	}
	if state.Annotations[presence.Annotation] == value {
		return nil
	}
	return w.annotate(ctx, &value)
}

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
	if err := w.o.Cache.List(ctx, &list, append(mine(w.o.Namespace, w.o.Node), client.UnsafeDisableDeepCopy)...); err != nil {
		return fmt.Errorf("list ServiceL2Status objects: %w", err)
	}
	there := map[types.NamespacedName][]*v1beta1.ServiceL2Status{}
	for i := range list.Items {
		s := &list.Items[i]
		key := types.NamespacedName{Namespace: s.Labels[labelServiceNamespace], Name: s.Labels[labelServiceName]}
		there[key] = append(there[key], s)
	}
	wanted := map[types.NamespacedName][]string{} // with the interfaces
	for i := range v.services {
		s := &v.services[i]
		if node, addr, interfaces := v.announcer(s); node == w.o.Node && v.announced[addr] {
			wanted[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = interfaces
		}
	}
	var errs []error
	for key, interfaces := range wanted {
		err := w.keep(ctx, key, interfaces, there[key])
		if apierrors.IsNotFound(err) { // somebody removed it; it is made again
			delete(w.own, key)
			err = w.keep(ctx, key, interfaces, nil)
		}
		errs = append(errs, err)
	}
	for key, o := range w.own {
		if _, still := wanted[key]; !still {
			delete(w.own, key)
			if !slices.ContainsFunc(there[key], func(x *v1beta1.ServiceL2Status) bool { return x.UID == o.UID }) {
				errs = append(errs, w.remove(ctx, o)) // the cache does not have it yet
			}
		}
	}
	for key, objects := range there {
		for _, o := range objects {
			if own := w.own[key]; own == nil || own.UID != o.UID {
				errs = append(errs, w.remove(ctx, o))
			}
		}
	}
	return errors.Join(errs...)
}

// keep sees to it that there is one right object for a Service; it sends the event if there was none. there are those of this node that
// the cache has. The error is NotFound if the object has been removed.
func (w *statusWriter) keep(ctx context.Context, key types.NamespacedName, interfaces []string, there []*v1beta1.ServiceL2Status) error {
	own, created, seen := w.own[key], false, false
	for _, o := range there {
		if own == nil {
			own = o.DeepCopy() // of a process before this one
		}
		if o.UID == own.UID {
			own, seen = newest(own, o), true
		}
	}
	if own == nil {
		own = &v1beta1.ServiceL2Status{ObjectMeta: metav1.ObjectMeta{
			GenerateName: "l2-", Namespace: w.o.Namespace,
			Labels: map[string]string{labelNode: backends.LabelValue(w.o.Node), labelServiceName: key.Name, labelServiceNamespace: key.Namespace},
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
	s := own.Status
	same := s.Node == want.Node && s.ServiceName == want.ServiceName && s.ServiceNamespace == want.ServiceNamespace && slices.Equal(s.Interfaces, want.Interfaces)
	if !same || !created && !seen { // what the cache does not have may have been removed
		patch, err := json.Marshal(map[string]any{"status": map[string]any{
			"node": want.Node, "serviceName": want.ServiceName, "serviceNamespace": want.ServiceNamespace, "interfaces": want.Interfaces,
		}})
		if err != nil {
			return err
		}
		if err := w.o.Client.Status().Patch(ctx, own, client.RawPatch(types.MergePatchType, patch)); err != nil {
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
