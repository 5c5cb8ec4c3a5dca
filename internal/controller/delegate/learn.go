package delegate

import (
	"context"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
)

// learnFor is how long after its start a controller does not say that it does not know what the one before it knew: it has not had the time
// to look. So a restart or another leader writes no Service, and nothing stands for longer than this that is not so any more.
const learnFor = 30 * time.Second

// learns has Services looked at once the time to learn is over. The caller has to call stop.
func (t *Task) learns(ctx context.Context) (stop func() bool) {
	t.mu.Lock()
	t.learnedBy = time.Now().Add(learnFor)
	t.mu.Unlock()
	return time.AfterFunc(learnFor, func() { t.reconsider(ctx, func(*corev1.Service) bool { return true }) }).Stop
}

// learningLocked reports whether not everything has been looked at yet of which the controller before this one may have told.
func (t *Task) learningLocked() bool { return t.learnedBy.IsZero() || time.Now().Before(t.learnedBy) }

// learned ends the time to learn if every backend has been at work once and every node whose sessions matter has been asked; it reports
// whether it did.
func (t *Task) learned(used []string, speak map[string]bool, nodes []backends.Node) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.learningLocked() {
		return false
	}
	for _, backend := range used {
		if _, tried := t.results[backend]; !tried && backend != "" && backend != None {
			return false
		}
	}
	for backend, is := range speak {
		if is && slices.ContainsFunc(nodes, func(n backends.Node) bool { return t.sessions.unknown(backend, n.Name) }) {
			return false
		}
	}
	t.learnedBy = time.Now()
	return true
}

// before returns what the controller before this one said of the addresses that a Service holds; nil if nothing.
func before(svc *corev1.Service, held allocator.Assignment) *service.Advertised {
	c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAdvertised)
	if c == nil || !sameAddrs(service.ShownAddresses(svc), held.Addrs()) {
		return nil
	}
	return &service.Advertised{Status: c.Status, Reason: c.Reason, Message: c.Message}
}

// sameAddrs reports whether two lists have the same addresses, in any order.
func sameAddrs(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}
