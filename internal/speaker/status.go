package speaker

import (
	"context"
	"errors"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/process/keep"
	"github.com/fairlead/fairlead/internal/process/presence"
)

// Reasons of events, and labels of status objects, are MetalLB's.
const (
	eventNodeAssigned   = "nodeAssigned"
	eventAnnounceFailed = "announceFailed"
	// eventPeerNotReady is ours: a BGPPeer is not served as it is asked for.
	eventPeerNotReady = "PeerNotReady"

	labelNode             = presence.LabelStatusNode
	labelServiceName      = "metallb.io/service-name"
	labelServiceNamespace = "metallb.io/service-namespace"
)

// statusPeriod is how often at most a status object is written.
const statusPeriod = 200 * time.Millisecond

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
	o    Options
	keep *keep.Keeper[types.NamespacedName, v1beta1.ServiceL2StatusStatus, *v1beta1.ServiceL2Status]
}

func newStatusWriter(o Options) *statusWriter {
	w := &statusWriter{o: o}
	w.keep = keep.New(keep.Options[types.NamespacedName, v1beta1.ServiceL2StatusStatus, *v1beta1.ServiceL2Status]{
		Client: o.Client, Cache: o.Cache, Log: o.Log, Every: statusPeriod,
		Mine: func(x *v1beta1.ServiceL2Status) bool { return isMine(x, o.Node) },
		Key:  func(x *v1beta1.ServiceL2Status) types.NamespacedName { return serviceOf(x) },
		New: func(svc types.NamespacedName) *v1beta1.ServiceL2Status {
			return &v1beta1.ServiceL2Status{ObjectMeta: statusMeta("l2-", o.Namespace, o.Node, o.Owner, svc)}
		},
		Status: func(x *v1beta1.ServiceL2Status) *v1beta1.ServiceL2StatusStatus { return &x.Status },
		Created: func(ctx context.Context, svc types.NamespacedName) {
			w.event(ctx, svc, corev1.EventTypeNormal, eventNodeAssigned, "announcing from node %q with protocol %q", o.Node, protocolLayer2)
		},
	})
	return w
}

// serviceOf returns the Service that a status object is about.
func serviceOf(o client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetLabels()[labelServiceNamespace], Name: o.GetLabels()[labelServiceName]}
}

// statusMeta returns the metadata of a status object about a Service.
func statusMeta(prefix, namespace, node string, owner *Owner, svc types.NamespacedName) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		GenerateName: prefix, Namespace: namespace, OwnerReferences: owner.references(),
		Labels: map[string]string{labelNode: backends.LabelValue(node), labelServiceName: svc.Name, labelServiceNamespace: svc.Namespace},
	}
}

// set has the objects tell of v from now on.
func (w *statusWriter) set(v view) {
	want := map[types.NamespacedName]v1beta1.ServiceL2StatusStatus{}
	for i := range v.services {
		s := &v.services[i]
		node, addr, interfaces := v.announcer(s)
		if node != w.o.Node || !v.announced[addr] {
			continue
		}
		x := v1beta1.ServiceL2StatusStatus{Node: w.o.Node, ServiceName: s.Name, ServiceNamespace: s.Namespace}
		for _, name := range interfaces {
			x.Interfaces = append(x.Interfaces, v1beta1.InterfaceInfo{Name: name})
		}
		want[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = x
	}
	w.keep.Set(want, nil)
}

// run writes until ctx ends, and then removes what tells that this node announces.
func (w *statusWriter) run(ctx context.Context) error {
	if err := w.keep.Run(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.keep.Finish(ctx, nil); err != nil {
		w.o.Log.Debug("state not retracted", "err", err)
	}
	return nil
}

// failed sends an event about an address that could not be announced.
func (w *statusWriter) failed(name types.NamespacedName, addr netip.Addr, err error) {
	reason := eventAnnounceFailed
	if _, taken := errors.AsType[*takenError](err); taken {
		reason = announce.ReasonAddressTaken
	}
	w.event(context.Background(), name, corev1.EventTypeWarning, reason, "Failed to announce %s from node %q: %v", addr, w.o.Node, err)
}

func (w *statusWriter) event(ctx context.Context, name types.NamespacedName, kind, reason, note string, args ...any) {
	event(ctx, w.o.Cache, w.o.Recorder, name, kind, reason, note, args...)
}

// event sends an event about a Service, if it is still there.
func event(ctx context.Context, c client.Reader, to events.EventRecorder, name types.NamespacedName, kind, reason, note string,
	args ...any) {
	var svc corev1.Service
	if err := c.Get(ctx, name, &svc); err != nil {
		return
	}
	to.Eventf(&svc, nil, kind, reason, "Announce", note, args...)
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
