package presence

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
)

// A speaker renews a Lease for as long as it lives. What it has told is not believed for longer than half a minute after its node is lost:
// the last renewal, two that may fail, and what it takes to notice.
const (
	RenewEvery = 8 * time.Second
	LeaseFor   = 25 * time.Second
)

// Lease returns the Lease that the speaker of a node renews.
func Lease(namespace, name, node string, now time.Time) *coordinationv1.Lease {
	seconds, renewed := int32(LeaseFor.Seconds()), metav1.NewMicroTime(now)
	return &coordinationv1.Lease{
		TypeMeta: metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{LabelStatusNode: backends.LabelValue(node)},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &node, LeaseDurationSeconds: &seconds, RenewTime: &renewed},
	}
}

// HolderOf returns the node whose speaker renews a Lease, and when it did last; empty if it is the Lease of something else.
func HolderOf(l *coordinationv1.Lease) (node string, renewed time.Time) {
	if l.Labels[LabelStatusNode] == "" || l.Spec.HolderIdentity == nil || l.Spec.RenewTime == nil {
		return "", time.Time{}
	}
	return *l.Spec.HolderIdentity, l.Spec.RenewTime.Time
}

// Silent returns the nodes whose speakers have not renewed their Leases for LeaseFor at a time, and when they did last. Who cannot follow
// the Leases has to compare clocks; Life does not.
func Silent(leases []coordinationv1.Lease, now time.Time) map[string]time.Time {
	out := map[string]time.Time{}
	for i := range leases {
		if node, renewed := HolderOf(&leases[i]); node != "" && now.Sub(renewed) > LeaseFor {
			out[node] = renewed
		}
	}
	return out
}

// counted is the longest time without a sign of anybody that counts. It is longer than the time between two renewals of a leader's Lease.
const counted = 5 * time.Second

// Life follows Leases, among them one of a process that certainly lives, such as that of the controller itself. It has a clock of its own:
// the clocks of nodes differ, and while the API server answers nobody, nobody can renew a Lease. The zero value is ready for use.
type Life struct {
	clock time.Duration // for how long signs have come in
	last  time.Time     // when the last one did
	signs map[types.NamespacedName]sign
}

type sign struct {
	node    string
	renewed time.Time // by the node's clock
	at      time.Duration
}

// Note takes in a Lease that has appeared or changed, now.
func (l *Life) Note(x *coordinationv1.Lease, now time.Time) {
	if l.signs == nil {
		l.signs = map[types.NamespacedName]sign{}
	}
	if !l.last.IsZero() {
		l.clock += min(counted, max(0, now.Sub(l.last)))
	}
	l.last = now
	node, renewed := HolderOf(x)
	if node == "" {
		return
	}
	key := types.NamespacedName{Namespace: x.Namespace, Name: x.Name}
	was, known := l.signs[key]
	s := sign{node: node, renewed: renewed, at: l.clock}
	switch {
	case known && was.renewed.Equal(renewed):
		s.at = was.at
	case !known && now.Sub(renewed) > LeaseFor:
		s.at -= LeaseFor + 1 // a node with a clock like that shows soon that it lives
	}
	l.signs[key] = s
}

// Forget takes in that a Lease is gone: its speaker has ended.
func (l *Life) Forget(x *coordinationv1.Lease) {
	delete(l.signs, types.NamespacedName{Namespace: x.Namespace, Name: x.Name})
}

// Silent returns the nodes whose speakers have given no sign of life for LeaseFor.
func (l *Life) Silent() map[string]bool {
	out := map[string]bool{}
	for _, s := range l.signs {
		if l.clock-s.at > LeaseFor {
			out[s.node] = true
		}
	}
	return out
}
