package delegate

import (
	"context"
	"maps"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// recallFor is for how long a speaker is believed to run after somebody has removed its Lease. It makes another one at once.
const recallFor = 10 * time.Second

// attendance knows by their Leases which speakers run, and which of them give no sign of life: one that crashes with its node cannot take
// back what it has told. The zero value knows of none.
type attendance struct {
	mu      sync.Mutex // protects all the following
	life    presence.Life
	mute    map[string]bool    // who gives no sign of life; replaced as a whole
	running map[string]running // as they were when they were called last
}

// running is a speaker that runs.
type running struct {
	links presence.Links
	lease types.UID
	lost  time.Time // when it was seen first that its Lease is not there; zero: it is
}

// follow watches the Leases of the speakers, and that of the controller, and calls changed when a speaker falls silent or is heard again,
// or says something else. It returns when those that there are have been looked at.
func (a *attendance) follow(ctx context.Context, c cache.Cache, changed func()) error {
	return follow.Handle(ctx, c, func(was, is client.Object) {
		do := func() { a.life.Note(is.(*coordinationv1.Lease), time.Now()) }
		if is == nil {
			do = func() { a.life.Forget(was.(*coordinationv1.Lease)) }
		}
		if a.update(do) || says(was) != says(is) {
			changed()
		}
	}, &coordinationv1.Lease{})
}

// says returns what a Lease tells of its speaker.
func says(o client.Object) string {
	if o == nil {
		return ""
	}
	return o.GetAnnotations()[presence.Annotation]
}

// update calls do and reports whether others are silent after it.
func (a *attendance) update(do func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	do()
	now := a.life.Silent()
	if maps.Equal(now, a.mute) {
		return false
	}
	a.mute = now
	return true
}

// silent returns the nodes whose speakers give no sign of life.
func (a *attendance) silent() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mute
}

// call returns the speakers that announce, by node, as their Leases say, and who of all speakers gives no sign of life; those are not
// among them. One whose Lease is gone, or is another one that says nothing yet, is remembered for recallFor; one whose Lease says nothing
// any more has ended.
func (a *attendance) call(leases []coordinationv1.Lease, now time.Time) (present map[string]presence.Links, silent map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	quiet := map[types.UID]bool{}
	next := map[string]running{}
	for i := range leases {
		if node, links, ok := presence.Read(&leases[i]); ok {
			next[node] = running{links: links, lease: leases[i].UID}
		} else {
			quiet[leases[i].UID] = true
		}
	}
	for node, was := range a.running {
		if _, here := next[node]; here || quiet[was.lease] {
			continue
		}
		if was.lost.IsZero() {
			was.lost = now
		}
		if now.Sub(was.lost) < recallFor {
			next[node] = was
		}
	}
	a.running = next
	present = make(map[string]presence.Links, len(next))
	for node, x := range next {
		if !a.mute[node] {
			present[node] = x.links
		}
	}
	return present, a.mute
}

// wait returns after which time a speaker will be forgotten next, so that it has to be called anew; 0: none will.
func (a *attendance) wait(now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.running {
		if !x.lost.IsZero() {
			wait = wake.Sooner(wait, max(time.Millisecond, x.lost.Add(recallFor).Sub(now)))
		}
	}
	return wait
}
