package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// version is a Service as it was at one time.
type version struct {
	demand demand
	labels map[string]string
	addrs  []netip.Addr
}

// life is a Service from its creation to its deletion.
type life struct {
	owner    owner
	gone     bool
	recent   []version // since the last quiet point; the last one is the present
	history  []string
	explains string // message of the condition
}

func (l *life) now() version { return l.recent[len(l.recent)-1] }

// breach is something that must never happen.
type breach struct {
	what    string
	history []string // of the Service concerned
}

// witness sees every event of the Services and notes breaches. It judges each event by what users had asked for since the last
// quiet point, at which everything was seen to be settled: an address may change only if there was a reason since then.
type witness struct {
	class      string
	namespaces map[string]bool
	start      time.Time

	mu       sync.Mutex // protects all the following
	lives    map[types.UID]*life
	everHeld map[owner]map[netip.Addr]bool
	worlds   []*world // since the last quiet point
	breaches []breach
	events   int
	watches  int
	relisted int // watches that could not begin where the last one ended: what is between is judged by its outcome
}

func newWitness(class string, namespaces []string, w *world) *witness {
	v := &witness{
		class: class, namespaces: map[string]bool{}, start: time.Now(), worlds: []*world{w},
		lives: map[types.UID]*life{}, everHeld: map[owner]map[netip.Addr]bool{},
	}
	for _, ns := range namespaces {
		v.namespaces[ns] = true
	}
	return v
}

// follow notes events until ctx ends. A watch that the API server ended is taken up where it ended. After its restart that is
// often impossible, because its memory of events is gone; then the Services are listed and what has changed is judged as a whole.
func (v *witness) follow(ctx context.Context, c client.WithWatch) error {
	seen := ""
	for ctx.Err() == nil {
		if seen == "" {
			var list corev1.ServiceList
			if err := c.List(ctx, &list); err != nil {
				if again(ctx, err) {
					continue
				}
				return err
			}
			v.relist(list.Items)
			seen = list.ResourceVersion
		}
		w, err := c.Watch(ctx, &corev1.ServiceList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: seen}})
		if err == nil {
			v.count(&v.watches)
			seen, err = v.drain(ctx, w, seen)
		}
		switch {
		case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			seen = ""
			v.count(&v.relisted)
		case err != nil && !again(ctx, err):
			return err
		}
	}
	return nil
}

// drain notes the events of w until it ends, and returns the resource version of the last one.
func (v *witness) drain(ctx context.Context, w watch.Interface, seen string) (string, error) {
	defer w.Stop()
	defer context.AfterFunc(ctx, w.Stop)()
	for e := range w.ResultChan() {
		s, ok := e.Object.(*corev1.Service)
		if !ok {
			return seen, apierrors.FromObject(e.Object)
		}
		v.note(s, e.Type == watch.Deleted)
		seen = s.ResourceVersion
	}
	return seen, nil
}

// again waits a little after an error that an API server gives while it is away, and reports whether to go on.
func again(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	if _, answered := errors.AsType[*apierrors.StatusError](err); answered && !transient(err) {
		return false
	}
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
	return true
}

// transient reports whether an answer of the API server says that it is not itself yet, or not any more.
func transient(err error) bool {
	return apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}

func (v *witness) count(n *int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	*n++
}

// relist takes over a list of all Services: those that are not in it are gone.
func (v *witness) relist(services []corev1.Service) {
	v.mu.Lock()
	present := map[types.UID]bool{}
	for i := range services {
		present[services[i].UID] = true
	}
	for uid, l := range v.lives {
		l.gone = l.gone || !present[uid]
	}
	v.mu.Unlock()
	for i := range services {
		v.note(&services[i], false)
	}
}

// note judges one event.
func (v *witness) note(s *corev1.Service, deleted bool) {
	if !v.namespaces[s.Namespace] {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events++
	l := v.lives[s.UID]
	if l == nil {
		l = &life{owner: owner{s.Namespace, s.Name}, recent: []version{{demand: demandOf(s, v.class), labels: s.Labels}}}
		v.lives[s.UID] = l
	}
	was := l.now().addrs
	now := version{demandOf(s, v.class), s.Labels, addresses(s)}
	status, reason, message := condition(s)
	l.recent, l.explains = append(l.recent, now), message
	l.history = append(l.history, fmt.Sprintf("+%.3f %s [%s] %v %s %s: %s (rv %s)",
		time.Since(v.start).Seconds(), joined(now.addrs), now.demand, now.labels, status, reason, message, s.ResourceVersion))
	if l.gone = deleted; deleted {
		l.history = append(l.history, "deleted")
		return
	}
	for _, a := range was {
		if !slices.Contains(now.addrs, a) {
			v.judgeLoss(l, a)
		}
	}
	for _, a := range now.addrs {
		if !slices.Contains(was, a) {
			v.judgeGain(l, a)
			if v.everHeld[l.owner] == nil {
				v.everHeld[l.owner] = map[netip.Addr]bool{}
			}
			v.everHeld[l.owner][a] = true
		}
	}
}

// judgeLoss: an address is kept while its Service lives, asks for the same, and a pool contains it; if not, the condition says so.
func (v *witness) judgeLoss(l *life, a netip.Addr) {
	why := v.excuse(l, a)
	if why == "" {
		v.breach(l, fmt.Sprintf("%s lost %s without a reason", l.owner, a))
		return
	}
	l.history = append(l.history, fmt.Sprintf("  lost %s: %s", a, why))
	if now := l.now(); now.demand.served {
		for _, x := range append([]netip.Addr{a}, now.addrs...) {
			if !strings.Contains(l.explains, x.String()) {
				v.breach(l, fmt.Sprintf("%s lost %s and the condition does not name %s: %q", l.owner, a, x, l.explains))
			}
		}
	}
}

// excuse returns why l may have lost a since the last quiet point; empty: there is no reason.
func (v *witness) excuse(l *life, a netip.Addr) string {
	if slices.ContainsFunc(v.worlds, func(w *world) bool { return w.poolOf(a) == nil }) {
		return "it left every pool"
	}
	for i := range l.recent {
		d := &l.recent[i].demand
		switch {
		case !d.served:
			return "the Service was not of our type"
		case !d.wants(a):
			return "the Service did not want its family"
		case len(d.asked) > 0 && !slices.Contains(d.asked, a):
			return "the Service asked for another address"
		}
		for _, w := range v.worlds {
			if home := w.poolOf(a).name; d.pool != "" && d.pool != home || len(d.pools) > 0 && !slices.Contains(d.pools, home) {
				return "the Service asked for another pool"
			}
		}
	}
	// Who changes its sharing beside another must go; after a restart in between nobody can tell who changed, and the older stays.
	group := []*life{l}
	for _, other := range v.lives {
		if other != l && v.shared(l, other) {
			group = append(group, other)
		}
	}
	for _, member := range group {
		if len(group) > 1 && slices.ContainsFunc(member.recent, func(x version) bool { return x.demand.sharing != member.now().demand.sharing }) {
			return "sharing was changed by " + member.owner.String()
		}
	}
	return ""
}

// shared reports whether both have held one address since the last quiet point.
func (v *witness) shared(l, other *life) bool {
	for _, x := range l.recent {
		for _, y := range other.recent {
			if slices.ContainsFunc(x.addrs, func(a netip.Addr) bool { return slices.Contains(y.addrs, a) }) {
				return true
			}
		}
	}
	return false
}

// judgeGain: nobody is given what another holds without sharing, nor what no pool would give.
func (v *witness) judgeGain(l *life, a netip.Addr) {
	for _, other := range v.lives {
		if other == l || other.gone || !slices.Contains(other.now().addrs, a) {
			continue
		}
		// The other's demand may have changed since the decision, so any of the recent ones will do.
		if !slices.ContainsFunc(other.recent, func(x version) bool { return l.now().demand.sharing.with(x.demand.sharing) == "" }) {
			v.breach(l, fmt.Sprintf("%s was given %s, which %s holds", l.owner, a, other.owner))
			v.breaches[len(v.breaches)-1].history = append(slices.Clone(l.history), append([]string{"the other:"}, other.history...)...)
		}
	}
	if v.everHeld[l.owner][a] {
		return // it may have come back to it: by a hold, or because its pool came back
	}
	for _, w := range v.worlds {
		for i := range l.recent {
			if grantable(w, l.owner, &l.recent[i], a) {
				return
			}
		}
	}
	v.breach(l, fmt.Sprintf("%s was given %s, which no pool gives it", l.owner, a))
}

// grantable reports whether w lets a Service have a, whoever holds it.
func grantable(w *world, o owner, x *version, a netip.Addr) bool {
	p := w.poolOf(a)
	if p == nil || !p.usable(a) || !p.admits(o.namespace, w.namespaces[o.namespace], x.labels) {
		return false
	}
	own, others, nobody := w.reserved(a, o)
	asked := slices.Contains(x.demand.asked, a)
	named := asked || x.demand.pool == p.name || slices.Contains(x.demand.pools, p.name)
	reservedHere := slices.ContainsFunc(p.addrs, func(b netip.Addr) bool { mine, _, _ := w.reserved(b, o); return mine })
	beside := slices.ContainsFunc(x.addrs, p.contains) // the second address comes from the pool of the first
	return x.demand.wants(a) && (p.auto || named || own || reservedHere || beside) && !others && (!nobody || asked)
}

func (v *witness) breach(l *life, what string) {
	v.breaches = append(v.breaches, breach{fmt.Sprintf("+%.3f %s", time.Since(v.start).Seconds(), what), slices.Clone(l.history)})
}

// change records a new configuration; it is called before the API server knows it.
func (v *witness) change(w *world) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.worlds = append(v.worlds, w)
}

// strayed reports whether an address has been in no pool since the last quiet point.
func (v *witness) strayed(a netip.Addr) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.worlds, func(w *world) bool { return w.poolOf(a) == nil })
}

// settled begins a new period: what users asked for before is no reason any more.
func (v *witness) settled() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.worlds = v.worlds[len(v.worlds)-1:]
	for uid, l := range v.lives {
		if l.gone {
			delete(v.lives, uid)
			continue
		}
		l.recent = l.recent[len(l.recent)-1:]
	}
}

// found returns the breaches so far.
func (v *witness) found() []breach {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.breaches)
}

// historyOf returns what has happened to the living Service of that name.
func (v *witness) historyOf(o owner) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.lives {
		if l.owner == o && !l.gone {
			return slices.Clone(l.history)
		}
	}
	return nil
}
