package delegate

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// buryAfter is for how long an object of a node that is gone is left alone: a Node may be made anew, and a speaker that still runs would
// make its objects anew, too.
const buryAfter = time.Minute

// buried are the kinds of which each speaker keeps objects of its own.
var buried = []client.ObjectList{&v1beta1.ServiceL2StatusList{}, &v1beta1.ServiceBGPStatusList{}, &v1alpha1.BGPSessionList{},
	&v1alpha1.AddressReservationList{}, &v1beta1.ConfigurationStateList{},
	&coordinationv1.LeaseList{}}

// nodeOf returns the label by which an object of a speaker names its node; empty if it is none.
func nodeOf(o client.Object) string {
	if _, is := o.(*v1beta1.ConfigurationState); is {
		return o.GetLabels()[presence.LabelNode]
	}
	return o.GetLabels()[presence.LabelStatusNode]
}

// orphan reports whether an object was kept by the speaker of a node that there is not, or that gives no sign of life and says of itself by
// this object what it announces; or by somebody whose name it has lost. It returns, too, for how long it is still left alone. nodes and
// silent have label values.
func orphan(o client.Object, nodes, silent map[string]bool, now time.Time) (is bool, wait time.Duration) {
	switch node := nodeOf(o); {
	case node == "":
		return nameless(o), 0
	case !nodes[node]:
		return true, max(0, o.GetCreationTimestamp().Add(buryAfter).Sub(now))
	case !silent[node]:
		return false, 0
	}
	switch o.(type) {
	case *v1beta1.ServiceL2Status, *v1beta1.ServiceBGPStatus, *v1alpha1.BGPSession:
		// What is new is a sign of life, too: of a speaker that can write this and not its Lease.
		return true, max(0, o.GetCreationTimestamp().Add(presence.LeaseFor).Sub(now))
	}
	return false, 0
}

// nameless reports whether an object without the name of a node was kept by a speaker or a controller, and has lost the label. It is nobody's
// now: no process follows it, and while it is there none can make it anew, because its name is taken.
func nameless(o client.Object) bool {
	switch o := o.(type) {
	case *v1beta1.ServiceL2Status:
		return o.Status.Node != ""
	case *v1beta1.ServiceBGPStatus:
		return o.Status.Node != ""
	case *v1alpha1.BGPSession:
		return o.Status.Node != "" && !ofCNI(o)
	case *v1beta1.ConfigurationState:
		return config.IsSpeakerState(o.Name)
	}
	return false
}

// burial knows when there may be anything to bury.
type burial struct {
	news   atomic.Bool
	living atomic.Pointer[map[string]bool] // label values of the nodes that there are and that are not silent, as of the last time
	next   time.Time                       // when something that is left alone still is due; touched by bury alone
}

// note takes in an object that a speaker keeps.
func (b *burial) note(o client.Object) {
	if living := b.living.Load(); living == nil || !(*living)[nodeOf(o)] {
		b.news.Store(true)
	}
}

// bury removes what the speakers of nodes that are gone have told, and what those say that they announce which give no sign of life: nobody
// else would. It returns when there will be more to do, zero for never.
func (s *speakers) bury(ctx context.Context) (again time.Duration, err error) {
	s.mu.Lock()
	cluster := s.cluster
	s.mu.Unlock()
	if cluster == nil {
		return 0, nil
	}
	if due := !s.burial.next.IsZero() && !time.Now().Before(s.burial.next); !s.burial.news.Swap(false) && !due {
		return wake.Until(s.burial.next), nil
	}
	defer func() {
		if err != nil {
			s.burial.news.Store(true)
		}
		if s.burial.next = (time.Time{}); again > 0 {
			s.burial.next = time.Now().Add(again)
		}
	}()
	nodes := labelsOf(cluster.Nodes())
	if len(nodes) == 0 {
		s.burial.news.Store(true)
		return 0, nil // no cluster is without nodes; they are not known
	}
	silent := map[string]bool{}
	for node := range s.attendance.silent() {
		silent[backends.LabelValue(node)] = true
	}
	living := maps.Clone(nodes)
	maps.DeleteFunc(living, func(node string, _ bool) bool { return silent[node] })
	s.burial.living.Store(&living)
	for _, kind := range buried {
		list := kind.DeepCopyObject().(client.ObjectList)
		if err := s.cache.List(ctx, list, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
			return 0, fmt.Errorf("list %T: %w", list, err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			o := item.(client.Object)
			is, wait := orphan(o, nodes, silent, time.Now())
			switch {
			case !is:
				return nil
			case wait > 0:
				if again == 0 || wait < again {
					again = wait
				}
				return nil
			}
			uid, version := o.GetUID(), o.GetResourceVersion()
			err := s.client.Delete(ctx, o.DeepCopyObject().(client.Object), client.Preconditions{UID: &uid, ResourceVersion: &version})
			if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
				return fmt.Errorf("remove %s of a speaker that is gone: %w", o.GetName(), err)
			}
			if err == nil {
				s.log.Info("removed what a speaker has told that is gone, or does not carry its name any more", "object", o.GetName(), "node",
					nodeOf(o))
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return again, nil
}

// labelsOf returns the label values of the nodes that there are.
func labelsOf(nodes map[string]announce.Node) map[string]bool {
	out := make(map[string]bool, len(nodes))
	for name := range nodes {
		out[backends.LabelValue(name)] = true
	}
	return out
}
