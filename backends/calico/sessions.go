package calico

import (
	"net/netip"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead/fairlead/backends"
)

// SessionsResource is the resource, in one of Groups, in which calico-node tells of the sessions of a node as long as somebody asks for it
// by an object (https://docs.tigera.io/calico/latest/reference/resources/caliconodestatus).
const SessionsResource = "caliconodestatuses"

// askPeriod is how often calico-node is to renew what it says, in seconds. Each object is there for one answer only.
const askPeriod = 10

// Question returns the object that asks the calico-node of a node for its sessions.
func Question(group schema.GroupVersion, node, installation string) (*unstructured.Unstructured, error) {
	period := uint32(askPeriod)
	o := &v3.CalicoNodeStatus{
		TypeMeta:   metav1.TypeMeta{APIVersion: group.String(), Kind: v3.KindCalicoNodeStatus},
		ObjectMeta: metav1.ObjectMeta{Name: "fairlead-" + backends.Hash(installation, node), Labels: backends.OwnLabels(installation)},
		Spec: v3.CalicoNodeStatusSpec{Node: node, Classes: []v3.NodeStatusClassType{v3.NodeStatusClassTypeBGP},
			UpdatePeriodSeconds: &period},
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: content}, nil
}

// ReportOf returns what a CalicoNodeStatus says of the sessions of its node with routers, those of the mesh left out; false if calico-node
// has not filled it.
func ReportOf(u *unstructured.Unstructured) (backends.SessionReport, bool) {
	var o v3.CalicoNodeStatus
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil || o.Status.LastUpdated.IsZero() {
		return backends.SessionReport{Node: o.Spec.Node}, false
	}
	out := backends.SessionReport{Node: o.Spec.Node, At: o.Status.LastUpdated.Time}
	add := func(peers []v3.CalicoNodePeer, is6 bool) {
		for _, p := range peers {
			if p.Type == v3.BGPPeerTypeNodeMesh {
				continue
			}
			s := backends.Session{State: string(p.State), Up: p.State == v3.BGPSessionStateEstablished, Since: p.Since, IPv4: !is6, IPv6: is6,
				Prefixes: -1}
			s.Router, _ = netip.ParseAddr(p.PeerIP)
			out.Sessions = append(out.Sessions, s)
		}
	}
	add(o.Status.BGP.PeersV4, false)
	add(o.Status.BGP.PeersV6, true)
	return out, true
}
