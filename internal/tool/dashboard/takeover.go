package dashboard

import (
	"cmp"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// Takeover is that a node began to announce a Service on layer 2.
type Takeover struct {
	At        time.Time `json:"at"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Node      string    `json:"node"`
	// From is the node that announced it before; absent: none, as far as is known.
	From string `json:"from,omitempty"`
}

// takeoversAtMost is how many are remembered.
const takeoversAtMost = 200

// history remembers who announced what: since it has begun by what speakers say, before that by their events, as long as the cluster keeps
// them.
type history struct {
	begun time.Time
	nodes map[types.NamespacedName]string
	seen  []Takeover
}

// note notes who announces what now, and returns all takeovers that are known, the latest first.
func (h *history) note(l2 []v1beta1.ServiceL2Status, events []corev1.Event, now time.Time) []Takeover {
	first := h.nodes == nil
	if first {
		h.nodes = map[types.NamespacedName]string{}
	}
	for i := range l2 {
		x := &l2[i].Status
		svc := types.NamespacedName{Namespace: x.ServiceNamespace, Name: x.ServiceName}
		was := h.nodes[svc]
		if was == x.Node || x.Node == "" || still(l2, svc, was) {
			continue
		}
		h.nodes[svc] = x.Node
		if !first {
			h.seen = append(h.seen, Takeover{now, svc.Namespace, svc.Name, x.Node, was})
		}
	}
	if n := len(h.seen) - takeoversAtMost; n > 0 {
		h.seen = slices.Delete(h.seen, 0, n)
	}
	out := append(told(events, h.begun), h.seen...)
	slices.SortStableFunc(out, func(a, b Takeover) int { return b.At.Compare(a.At) })
	return out[:min(len(out), takeoversAtMost)]
}

// still reports whether a node goes on announcing a Service: two can, each an address of it.
func still(l2 []v1beta1.ServiceL2Status, svc types.NamespacedName, node string) bool {
	return node != "" && slices.ContainsFunc(l2, func(x v1beta1.ServiceL2Status) bool {
		return x.Status.Node == node && x.Status.ServiceName == svc.Name && x.Status.ServiceNamespace == svc.Namespace
	})
}

// announcing is the message of such an event.
var announcing = regexp.MustCompile(`^announcing from node "([^"]*)"`)

// told returns the takeovers that events tell of, before a time.
func told(events []corev1.Event, before time.Time) []Takeover {
	var all []Takeover
	for i := range events {
		e := &events[i]
		m := announcing.FindStringSubmatch(e.Message)
		at := cmp.Or(e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
		if m != nil && at.Before(before) {
			all = append(all, Takeover{At: at, Namespace: e.InvolvedObject.Namespace, Name: e.InvolvedObject.Name, Node: m[1]})
		}
	}
	slices.SortStableFunc(all, func(a, b Takeover) int { return a.At.Compare(b.At) })
	last := map[types.NamespacedName]string{}
	out := []Takeover{}
	for _, t := range all {
		svc := types.NamespacedName{Namespace: t.Namespace, Name: t.Name}
		if t.From = last[svc]; t.From != "" && t.From != t.Node {
			out = append(out, t)
		}
		last[svc] = t.Node
	}
	return out
}
