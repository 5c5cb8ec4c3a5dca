package assign

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
)

// Cilium collects the changes of a Service for half a second. If an address went and the labels changed among them, it decides by the
// labels that the Service had with that address which routes there are (diffReconciliationServiceList in
// pkg/bgp/manager/reconciler/service.go of v1.20: the event of the frontend that is gone comes last, and carries the old Service), and does
// not look again before something else changes. So these are written apart:
//
//   - addresses that go, and then those of another pool;
//   - the label that goes because the status is somebody else's: it is empty first, which withdraws the routes, and is removed later, which
//     has Cilium look again;
//   - addresses of ours, a while after that writer's went.
//
// And an address that another pool takes over keeps the label of the one that it was in until the advertisements have that of the other; a
// Service that shows no address gets none while the agents may go by what was said of its pool before: a pool that was deleted and made anew,
// or whose advertisement has just been changed.
type paces struct {
	mu    sync.Mutex // protects begun
	begun map[types.NamespacedName]paced
}

// Pacer knows how fast the CNI can follow; delegate.Task does.
type Pacer interface {
	// Pace returns how long two changes of a Service have to be apart for the CNI to tell them apart, 0 if it always does.
	Pace() time.Duration
	// InForce reports whether what is to be done with the addresses of pools has reached the CNI.
	InForce(pools []string) bool
	// Outdated reports whether the CNI may go by what was to be done with them before.
	Outdated(pools []string) bool
}

const (
	// relabelWithin is how long a Service waits for the CNI to hear of its new pool: it may be down.
	relabelWithin = 5 * time.Second
	// relabelAgain is how often it is looked.
	relabelAgain = 100 * time.Millisecond
)

// pacing is what is being done in two steps.
type pacing int

const (
	dropping pacing = iota + 1
	fading
	returning
	relabelling
)

type paced struct {
	what  pacing
	until time.Time
}

// pace has a verdict carried out in steps that are this far apart. It returns when to go on, 0 if there is nothing to wait for.
func (p *paces) pace(svc *corev1.Service, v *Verdict, cni Pacer, now time.Time) time.Duration {
	apart := cni.Pace()
	if apart == 0 || v.Later || !v.Ours {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name := client.ObjectKeyFromObject(svc)
	if left := p.left(name, dropping, now); left > 0 && len(v.Foreign) == 0 {
		v.Later = true
		return left
	}
	shown, has := service.ShownAddresses(svc), v.Held.Addrs()
	label, labelled := svc.Labels[service.LabelPool]
	_, marked := svc.Annotations[service.AnnotationFromPool]
	goes := func(addr netip.Addr) bool { return !slices.Contains(has, addr) }
	switch {
	case len(v.Foreign) > 0 && labelled:
		if label != "" {
			p.begin(name, fading, now.Add(apart))
		}
		left := p.left(name, fading, now)
		v.Fading = left > 0
		return left
	case len(v.Foreign) > 0 || v.Claimed != "" || len(has) == 0:
	case len(shown) == 0 && marked && label == "":
		if p.begun[name].what != returning {
			p.begin(name, returning, now.Add(apart))
		}
		left := p.left(name, returning, now)
		v.Later = left > 0
		return left
	case label == "" && len(shown) == 0 && cni.Outdated(v.Held.Pools()):
		return p.await(name, v, now)
	case label == "" || label == backends.PoolLabel(poolNames(v.Held)):
	case slices.ContainsFunc(shown, goes):
		p.begin(name, dropping, now.Add(apart))
		v.Dropping = true
		return apart
	case service.SameAddresses(shown, has) && !cni.InForce(v.Held.Pools()):
		return p.await(name, v, now)
	}
	delete(p.begun, name)
	return 0
}

// await has a label wait for the CNI to hear of its pool, but not for ever.
func (p *paces) await(name types.NamespacedName, v *Verdict, now time.Time) time.Duration {
	if p.begun[name].what != relabelling {
		p.begin(name, relabelling, now.Add(relabelWithin))
	}
	if p.left(name, relabelling, now) > 0 {
		v.Later = true
		return relabelAgain
	}
	return 0
}

func (p *paces) begin(name types.NamespacedName, what pacing, until time.Time) {
	if p.begun == nil {
		p.begun = map[types.NamespacedName]paced{}
	}
	p.begun[name] = paced{what, until}
}

// left returns how long it takes until the second step, 0 if it is due.
func (p *paces) left(name types.NamespacedName, what pacing, now time.Time) time.Duration {
	if x := p.begun[name]; x.what == what {
		return max(0, x.until.Sub(now))
	}
	return 0
}

func (p *paces) forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.begun, name)
}

// planDropping takes away the addresses that are to go, and nothing else; what takes their place comes later.
func planDropping(want *corev1.Service, v Verdict) {
	has := v.Held.Addrs()
	kept := slices.DeleteFunc(service.ShownAddresses(want), func(addr netip.Addr) bool { return !slices.Contains(has, addr) })
	service.SetIngress(want, kept)
	if len(kept) == 0 {
		delete(want.Labels, service.LabelPool)
		delete(want.Annotations, service.AnnotationFromPool)
	}
}
