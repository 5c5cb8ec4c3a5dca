package speaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/text"
)

const (
	// sessionPeriod is how often at most a BGPSession is written when its state changes, countersPeriod when only its counters do.
	sessionPeriod  = time.Second
	countersPeriod = time.Minute
	// maxError bounds what is shown of an error.
	maxError = 512
)

// bgpView is what the status objects are to tell of.
type bgpView struct {
	services []announce.Service
	peers    map[int][]string  // who hears a Service, by its index
	faults   map[string]string // why a peer cannot be set up, by its name
}

// bgpStatus keeps a ServiceBGPStatus for each Service that this node advertises, and a BGPSession for each session.
type bgpStatus struct {
	o       BGPOptions
	changed chan struct{}

	services map[types.NamespacedName]*v1beta1.ServiceBGPStatus // as written last; touched by write alone
	sessions map[string]*v1alpha1.BGPSession                    // as written last, by name; touched by write alone
	counted  time.Time                                          // when the counters were written last; touched by write alone

	mu   sync.Mutex // protects view
	view *bgpView
}

func newBGPStatus(o BGPOptions) *bgpStatus {
	return &bgpStatus{
		o: o, changed: make(chan struct{}, 1), services: map[types.NamespacedName]*v1beta1.ServiceBGPStatus{}, sessions: map[string]*v1alpha1.BGPSession{},
	}
}

func (w *bgpStatus) set(v bgpView) {
	w.mu.Lock()
	w.view = &v
	w.mu.Unlock()
	w.wake()
}

func (w *bgpStatus) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// prepare takes over the objects of a process before this one, and has the cache follow them.
func (w *bgpStatus) prepare(ctx context.Context) error {
	if err := followMine(ctx, w.o.Cache, w.o.Node, w.wake, &v1beta1.ServiceBGPStatus{}, &v1alpha1.BGPSession{}); err != nil {
		return err
	}
	var services v1beta1.ServiceBGPStatusList
	if err := w.o.Cache.List(ctx, &services, mine(w.o.Namespace, w.o.Node)...); err != nil {
		return fmt.Errorf("list ServiceBGPStatus objects: %w", err)
	}
	for i := range services.Items {
		s := &services.Items[i]
		w.services[types.NamespacedName{Namespace: s.Labels[labelServiceNamespace], Name: s.Labels[labelServiceName]}] = s
	}
	var sessions v1alpha1.BGPSessionList
	if err := w.o.Cache.List(ctx, &sessions, mine(w.o.Namespace, w.o.Node)...); err != nil {
		return fmt.Errorf("list BGPSession objects: %w", err)
	}
	for i := range sessions.Items {
		w.sessions[sessions.Items[i].Name] = &sessions.Items[i]
	}
	return nil
}

// run writes until ctx ends; then it removes what tells of this node.
func (w *bgpStatus) run(ctx context.Context) error {
	counters := time.NewTicker(countersPeriod)
	defer counters.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return w.retract(context.WithoutCancel(ctx))
		case <-w.changed:
		case <-counters.C:
		case <-again:
		}
		again = nil
		if err := w.write(ctx); err != nil && ctx.Err() == nil {
			w.o.Log.Warn("status objects not written", "err", err)
			again = time.After(statusRetry)
		}
		select {
		case <-ctx.Done():
		case <-time.After(sessionPeriod):
		}
	}
}

// retract removes what says that this node advertises. BGPSessions stay, and say that the session is down.
func (w *bgpStatus) retract(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := errors.Join(w.writeServices(ctx, &bgpView{}), w.writeSessions(ctx, &bgpView{})); err != nil {
		w.o.Log.Debug("state not retracted", "err", err)
	}
	return nil
}

func (w *bgpStatus) write(ctx context.Context) error {
	w.mu.Lock()
	v := w.view
	w.mu.Unlock()
	if v == nil {
		return nil
	}
	// In this order: who reads that a Service is advertised can tell whether it really is.
	return errors.Join(w.writeSessions(ctx, v), w.writeServices(ctx, v))
}

func (w *bgpStatus) writeServices(ctx context.Context, v *bgpView) error {
	var errs []error
	wanted := map[types.NamespacedName][]string{}
	for i, peers := range v.peers {
		if len(peers) > 0 {
			wanted[types.NamespacedName{Namespace: v.services[i].Namespace, Name: v.services[i].Name}] = peers
		}
	}
	there, err := w.servicesThere(ctx)
	if err != nil {
		return err
	}
	for key, peers := range wanted {
		err := w.keep(ctx, key, peers, there)
		if apierrors.IsNotFound(err) { // somebody removed it; it is made again
			delete(w.services, key)
			err = w.keep(ctx, key, peers, there)
		}
		errs = append(errs, err)
	}
	for key, o := range w.services {
		if wanted[key] != nil {
			continue
		}
		err := client.IgnoreNotFound(w.o.Client.Delete(ctx, &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}}))
		if err == nil {
			delete(w.services, key)
		}
		errs = append(errs, err)
	}
	for uid, o := range there { // what a process before this one left twice
		key := types.NamespacedName{Namespace: o.Labels[labelServiceNamespace], Name: o.Labels[labelServiceName]}
		if own := w.services[key]; wanted[key] != nil && own != nil && own.UID != uid {
			errs = append(errs, client.IgnoreNotFound(w.o.Client.Delete(ctx, &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}})))
		}
	}
	return errors.Join(errs...)
}

// servicesThere returns the objects of this node that the cache has.
func (w *bgpStatus) servicesThere(ctx context.Context) (map[types.UID]*v1beta1.ServiceBGPStatus, error) {
	var list v1beta1.ServiceBGPStatusList
	if err := w.o.Cache.List(ctx, &list, append(mine(w.o.Namespace, w.o.Node), client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("list ServiceBGPStatus objects: %w", err)
	}
	out := make(map[types.UID]*v1beta1.ServiceBGPStatus, len(list.Items))
	for i := range list.Items {
		out[list.Items[i].UID] = &list.Items[i]
	}
	return out, nil
}

// keep sees to it that there is one right object for a Service; it sends the event if there was none. The error is NotFound if the object
// has been removed.
func (w *bgpStatus) keep(ctx context.Context, key types.NamespacedName, peers []string, there map[types.UID]*v1beta1.ServiceBGPStatus) error {
	own, created, seen := w.services[key], false, false
	if own != nil {
		var cached *v1beta1.ServiceBGPStatus
		if cached, seen = there[own.UID]; seen {
			own = newest(own, cached)
			w.services[key] = own
		}
	}
	if own == nil {
		own = &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{
			GenerateName: "bgp-", Namespace: w.o.Namespace,
			Labels: map[string]string{labelNode: backends.LabelValue(w.o.Node), labelServiceName: key.Name, labelServiceNamespace: key.Namespace},
		}}
		own.OwnerReferences = w.o.Owner.references()
		if err := w.o.Client.Create(ctx, own); err != nil {
			return fmt.Errorf("create the ServiceBGPStatus of %s: %w", key, err)
		}
		created = true
		w.services[key] = own
	}
	want := v1beta1.ServiceBGPStatusStatus{Node: w.o.Node, ServiceName: key.Name, ServiceNamespace: key.Namespace, Peers: peers}
	s := own.Status
	same := s.Node == want.Node && s.ServiceName == want.ServiceName && s.ServiceNamespace == want.ServiceNamespace && slices.Equal(s.Peers, want.Peers)
	if same && (seen || created) { // what the cache does not have may have been removed
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": want})
	if err != nil {
		return err
	}
	if err := w.o.Client.Status().Patch(ctx, own, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("write the ServiceBGPStatus of %s: %w", key, err)
	}
	if created {
		var svc corev1.Service
		if err := w.o.Cache.Get(ctx, key, &svc); err == nil {
			w.o.Recorder.Eventf(&svc, nil, corev1.EventTypeNormal, EventNodeAssigned, "Announce", "announcing from node %q with protocol %q", w.o.Node, protocolBGP)
		}
	}
	return nil
}

func (w *bgpStatus) writeSessions(ctx context.Context, v *bgpView) error {
	wanted := map[string]v1alpha1.BGPSessionStatus{}
	watched := w.o.BFD.states()
	for _, s := range w.o.Router.Sessions() {
		x := v1alpha1.BGPSessionStatus{
			Node: w.o.Node, Peer: s.Peer, Address: s.Interface, State: string(s.State), Since: &metav1.Time{Time: s.Since.Truncate(time.Second)},
			PrefixesSent: int64(s.Prefixes), LastError: s.LastError,
		}
		if s.Address.IsValid() {
			x.Address = s.Address.String()
		}
		if b, is := watched[s.Peer]; is {
			x.BFD = b.State.String()
		}
		wanted[sessionName(w.o.Node, s.Peer)] = x
	}
	for peer, fault := range v.faults {
		x, exists := wanted[sessionName(w.o.Node, peer)]
		if !exists {
			x = v1alpha1.BGPSessionStatus{Node: w.o.Node, Peer: peer, State: string(bgp.Idle)}
		}
		x.LastError = fault
		wanted[sessionName(w.o.Node, peer)] = x
	}
	var list v1alpha1.BGPSessionList
	if err := w.o.Cache.List(ctx, &list, append(mine(w.o.Namespace, w.o.Node), client.UnsafeDisableDeepCopy)...); err != nil {
		return fmt.Errorf("list BGPSession objects: %w", err)
	}
	there := make(map[types.UID]*v1alpha1.BGPSession, len(list.Items))
	for i := range list.Items {
		there[list.Items[i].UID] = &list.Items[i]
	}
	counters := time.Since(w.counted) >= countersPeriod
	var errs []error
	for name, x := range wanted {
		x.LastError = text.Cut(x.LastError, maxError)
		err := w.keepSession(ctx, name, x, there, counters)
		if apierrors.IsNotFound(err) { // somebody removed it; it is made again
			delete(w.sessions, name)
			err = w.keepSession(ctx, name, x, there, counters)
		}
		errs = append(errs, err)
	}
	if counters {
		w.counted = time.Now()
	}
	for name, o := range w.sessions {
		if _, still := wanted[name]; still {
			continue
		}
		err := client.IgnoreNotFound(w.o.Client.Delete(ctx, &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}}))
		if err == nil {
			delete(w.sessions, name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// keepSession writes what has changed; a change of nothing but counters only if counters is set. The error is NotFound if the object has
// been removed.
func (w *bgpStatus) keepSession(ctx context.Context, name string, want v1alpha1.BGPSessionStatus, there map[types.UID]*v1alpha1.BGPSession, counters bool) error {
	own, seen := w.sessions[name], false
	if own != nil {
		var cached *v1alpha1.BGPSession
		if cached, seen = there[own.UID]; seen {
			own = newest(own, cached)
			w.sessions[name] = own
		}
	}
	if own == nil {
		own = &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: w.o.Namespace, Labels: map[string]string{labelNode: backends.LabelValue(w.o.Node)}, OwnerReferences: w.o.Owner.references(),
		}}
		err := w.o.Client.Create(ctx, own)
		if apierrors.IsAlreadyExists(err) { // of an older speaker of another node, whose names could meet; that node will remove it
			return fmt.Errorf("create BGPSession %q of node %q: an object of another node has that name", name, w.o.Node)
		}
		if err != nil {
			return fmt.Errorf("create BGPSession %q: %w", name, err)
		}
		w.sessions[name] = own
		counters, seen = true, true
	}
	was := own.Status
	was.Since, want.Since = seconds(was.Since), seconds(want.Since)
	same := was
	same.PrefixesSent = want.PrefixesSent
	if seen && (equalSession(was, want) || !counters && equalSession(same, want)) { // what the cache does not have may have been removed
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"node": want.Node, "peer": want.Peer, "address": want.Address, "state": want.State, "since": want.Since, "bfd": want.BFD,
		"prefixesSent": want.PrefixesSent, "lastError": want.LastError,
	}})
	if err != nil {
		return err
	}
	if err := w.o.Client.Status().Patch(ctx, own, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("write BGPSession %q: %w", name, err)
	}
	return nil
}

func seconds(t *metav1.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	out := metav1.NewTime(t.UTC().Truncate(time.Second))
	return &out
}

func equalSession(a, b v1alpha1.BGPSessionStatus) bool {
	since := a.Since.Equal(b.Since)
	a.Since, b.Since = nil, nil
	return since && a == b
}
