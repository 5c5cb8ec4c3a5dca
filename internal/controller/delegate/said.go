package delegate

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/announce"
)

// said is what speakers say of Services by their ServiceL2Statuses and ServiceBGPStatuses. The zero value has heard nothing.
type said struct {
	mu      sync.Mutex // protects all the following
	of      map[types.NamespacedName]map[object]statement
	changed map[types.NamespacedName]bool
}

// object names an object of a speaker.
type object struct {
	layer2 bool
	types.NamespacedName
}

// statement is what one object says of a Service.
type statement struct {
	node  string
	peers []string
}

// note takes in an object as it was and as it is; each may be nil.
func (s *said) note(was, is client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of, s.changed = map[types.NamespacedName]map[object]statement{}, map[types.NamespacedName]bool{}
	}
	if name, svc, _ := read(was); svc.Name != "" {
		delete(s.of[svc], name)
		if len(s.of[svc]) == 0 {
			delete(s.of, svc)
		}
		s.changed[svc] = true
	}
	if name, svc, x := read(is); svc.Name != "" {
		if s.of[svc] == nil {
			s.of[svc] = map[object]statement{}
		}
		s.of[svc][name] = x
		s.changed[svc] = true
	}
}

// read returns what an object says, and of which Service; of none, if it says nothing.
func read(o client.Object) (name object, svc types.NamespacedName, x statement) {
	switch o := o.(type) {
	case *v1beta1.ServiceL2Status:
		name = object{true, client.ObjectKeyFromObject(o)}
		svc, x.node = types.NamespacedName{Namespace: o.Status.ServiceNamespace, Name: o.Status.ServiceName}, o.Status.Node
	case *v1beta1.ServiceBGPStatus:
		name = object{false, client.ObjectKeyFromObject(o)}
		svc, x.node = types.NamespacedName{Namespace: o.Status.ServiceNamespace, Name: o.Status.ServiceName}, o.Status.Node
		x.peers = o.Status.Peers
	}
	if x.node == "" {
		svc = types.NamespacedName{}
	}
	return name, svc, x
}

// take calls tell with what is said of each Service that anything else is said of than when it was called last; of all Services if all is
// set. What silent nodes have said does not count. It reports whether anything was said.
func (s *said) take(all bool, silent map[string]bool, tell func(svc types.NamespacedName, announcers []string, over []announce.NodePeer)) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = len(s.changed) > 0
	if all {
		for svc := range s.of {
			s.changed[svc] = true
		}
	}
	for svc := range s.changed {
		var announcers []string
		var over []announce.NodePeer
		for name, x := range s.of[svc] {
			if over == nil && !name.layer2 {
				over = make([]announce.NodePeer, 0, len(s.of[svc]))
			}
			switch {
			case silent[x.node]:
			case name.layer2:
				announcers = append(announcers, x.node)
			default:
				for _, p := range x.peers {
					over = append(over, announce.NodePeer{Node: x.node, Peer: p})
				}
			}
		}
		tell(svc, announcers, over)
	}
	clear(s.changed)
	return news
}
