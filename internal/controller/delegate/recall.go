package delegate

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/process/presence"
)

// recallFor is for how long a speaker is believed to run after somebody has removed its Lease. It makes another one at once.
const recallFor = 10 * time.Second

// recall remembers which speakers run.
type recall map[string]recalled

type recalled struct {
	links presence.Links
	lease types.UID
	lost  time.Time // when it was seen first that it is not there; zero: it is
}

// present returns the speakers that announce, by node, as their Leases say. One whose Lease is gone, or is another one that says nothing yet, is
// remembered for recallFor; one whose Lease says nothing any more has ended.
func (r *recall) present(leases []coordinationv1.Lease, now time.Time) map[string]presence.Links {
	silent := map[types.UID]bool{}
	next := recall{}
	for i := range leases {
		if node, links, ok := presence.Read(&leases[i]); ok {
			next[node] = recalled{links: links, lease: leases[i].UID}
		} else {
			silent[leases[i].UID] = true
		}
	}
	for node, was := range *r {
		if _, here := next[node]; here || silent[was.lease] {
			continue
		}
		if was.lost.IsZero() {
			was.lost = now
		}
		if now.Sub(was.lost) < recallFor {
			next[node] = was
		}
	}
	*r = next
	out := make(map[string]presence.Links, len(next))
	for node, x := range next {
		out[node] = x.links
	}
	return out
}

// wait returns when a speaker will be forgotten next, zero for never.
func (r recall) wait(now time.Time) (wait time.Duration) {
	for _, x := range r {
		if x.lost.IsZero() {
			continue
		}
		if left := max(time.Millisecond, x.lost.Add(recallFor).Sub(now)); wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// recalled returns when judge has to be called again because a speaker will be forgotten, zero for never.
func (s *speakers) recalled() time.Duration {
	s.judging.Lock()
	defer s.judging.Unlock()
	return s.recall.wait(time.Now())
}
