package delegate

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/announce"
)

// TestSteady: nodes that tell of a Service one after the other cost it one write; what is wrong is told at once, and so is what stops being so.
func TestSteady(t *testing.T) {
	key := judged{kindBGP, types.NamespacedName{Namespace: "default", Name: "web"}}
	pending := announce.Verdict{Status: metav1.ConditionUnknown, Reason: announce.ReasonPending}
	from := func(nodes int) announce.Verdict {
		return announce.Verdict{Status: metav1.ConditionTrue, Reason: announce.ReasonAdvertised, Message: fmt.Sprint("from ", nodes)}
	}
	down := announce.Verdict{Status: metav1.ConditionFalse, Reason: announce.ReasonNoSession}
	s, shown := newSteady(), pending
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	writes := 0
	judge := func(v announce.Verdict) announce.Verdict {
		wait := s.wait(key, shown, v, func() bool { return v == from(3) }, at)
		assert.LessOrEqual(t, wait, steadyFor)
		if wait == 0 && v != shown {
			shown = v
			writes++
		}
		at = at.Add(time.Second)
		return shown
	}
	assert.Equal(t, pending, judge(from(1)))
	assert.Equal(t, pending, judge(from(2)))
	assert.Equal(t, from(3), judge(from(3)), "all do that are to")
	assert.Equal(t, from(3), judge(from(2)), "a node has restarted")
	assert.Equal(t, from(3), judge(from(3)), "and is back")
	assert.Equal(t, 1, writes)
	for range 3 {
		assert.Equal(t, from(3), judge(from(2)), "a node is gone")
	}
	assert.Equal(t, from(2), judge(from(2)), "and stays so")
	assert.Equal(t, down, judge(down), "what is wrong is told at once")
	assert.Equal(t, from(1), judge(from(1)), "and so is that it is right again")
	assert.Empty(t, s.since)
}

// TestSteadyWhileTold: while speakers tell of many Services, nothing is told before they have come to the end, but not for ever.
func TestSteadyWhileTold(t *testing.T) {
	begin := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	key := judged{kindBGP, types.NamespacedName{Namespace: "default", Name: "web"}}
	held := func(tellFor time.Duration) time.Duration {
		s := newSteady()
		for now := begin; ; now = now.Add(100 * time.Millisecond) {
			if now.Sub(begin) <= tellFor {
				s.told = now
			}
			wait := s.hold(key, now)
			if wait == 0 {
				return now.Sub(begin)
			}
			assert.Greater(t, wait, time.Duration(0))
		}
	}
	assert.Equal(t, steadyFor, held(time.Second))
	assert.Equal(t, 10*time.Second+steadyQuiet, held(10*time.Second))
	assert.Equal(t, steadyMost, held(time.Hour))
}
