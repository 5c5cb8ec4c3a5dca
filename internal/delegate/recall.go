package delegate

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/presence"
)

// recallFor is for how long a speaker is believed to run after somebody has removed its ConfigurationState. It makes another one at once.
const recallFor = 10 * time.Second

// recall remembers which speakers run.
type recall map[string]recalled

type recalled struct {
	links presence.Links
	state types.UID // of the ConfigurationState
	lost  time.Time // when it was seen first that it is not there; zero: it is
}

// present returns the speakers that run, by node, as their ConfigurationStates say. One whose object is gone, or is another one that says
// nothing yet, is remembered for recallFor; one whose object says nothing any more has ended.
func (r *recall) present(states []v1beta1.ConfigurationState, now time.Time) map[string]presence.Links {
	silent := map[types.UID]bool{}
	next := recall{}
	for i := range states {
		if node, links, ok := presence.Read(&states[i]); ok {
			next[node] = recalled{links: links, state: states[i].UID}
		} else {
			silent[states[i].UID] = true
		}
	}
	for node, was := range *r {
		if _, here := next[node]; here || silent[was.state] {
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
