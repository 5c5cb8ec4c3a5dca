package speaker

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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

// statusWriter keeps one ServiceL2Status for each Service that is announced from this node, and sends its event.
type statusWriter struct {
	o         Options
	keep      *keep.Keeper[types.NamespacedName, v1beta1.ServiceL2StatusStatus, *v1beta1.ServiceL2Status]
	want      map[types.NamespacedName]v1beta1.ServiceL2StatusStatus
	announced map[netip.Addr]bool // what want was made of
	begun     bool                // the keeper knows what is wanted
}

func newStatusWriter(o Options) *statusWriter {
	w := &statusWriter{o: o, want: map[types.NamespacedName]v1beta1.ServiceL2StatusStatus{}}
	w.keep = keep.New(keep.Options[types.NamespacedName, v1beta1.ServiceL2StatusStatus, *v1beta1.ServiceL2Status]{
		Client: o.Client, Cache: o.Cache, Log: o.Log, Every: statusPeriod, Pace: o.Pace,
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

// set has the objects tell of what is announced from now on. services are all on which something has been decided anew.
func (w *statusWriter) set(services []types.NamespacedName, announced map[netip.Addr]bool, d decided) {
	anew := map[types.NamespacedName]bool{}
	for _, id := range services {
		anew[id] = true
	}
	for _, other := range [][2]map[netip.Addr]bool{{w.announced, announced}, {announced, w.announced}} {
		for addr := range other[0] {
			if p := d.Placement(addr); p != nil && !other[1][addr] {
				for _, id := range p.Services {
					anew[id] = true
				}
			}
		}
	}
	w.announced = announced
	news := map[types.NamespacedName]*v1beta1.ServiceL2StatusStatus{}
	for id := range anew {
		is, said := w.want[id]
		now, says := w.statusOf(id, d)
		switch {
		case says && (!said || !equality.Semantic.DeepEqual(is, now)):
			w.want[id], news[id] = now, &now
		case said && !says:
			delete(w.want, id)
			news[id] = nil
		}
	}
	if !w.begun {
		w.begun = true
		w.keep.Set(maps.Clone(w.want), nil)
		return
	}
	if len(news) > 0 {
		w.keep.Change(news, nil)
	}
}

// statusOf returns what is said of a Service; false if nothing, because this node is not the one that tells of it.
func (w *statusWriter) statusOf(id types.NamespacedName, d decided) (v1beta1.ServiceL2StatusStatus, bool) {
	s := d.Service(id)
	if s == nil {
		return v1beta1.ServiceL2StatusStatus{}, false
	}
	for _, addr := range s.Addrs {
		p := d.Placement(addr)
		if p == nil || p.Node == "" {
			continue
		}
		x := v1beta1.ServiceL2StatusStatus{Node: w.o.Node, ServiceName: s.Name, ServiceNamespace: s.Namespace}
		for _, name := range p.Interfaces {
			x.Interfaces = append(x.Interfaces, v1beta1.InterfaceInfo{Name: name})
		}
		return x, p.Node == w.o.Node && w.announced[addr] // the node of its first address that is announced at all tells of it
	}
	return v1beta1.ServiceL2StatusStatus{}, false
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
