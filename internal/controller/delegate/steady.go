package delegate

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/announce"
)

const (
	// steadyFor is how long at most nodes that are to advertise a Service are waited for before it is told which others do, where none tells
	// anything. While they tell of many Services, one after the other and late (see yield), they are waited for until none has told anything
	// for steadyQuiet, and no longer than steadyMost.
	steadyFor   = 3 * time.Second
	steadyQuiet = time.Second
	steadyMost  = 30 * time.Second
)

// steady holds back that a Service is advertised, and from which nodes, until all have said so that are to: they tell of it one after the
// other, and each would cost every Service another write. So would it that a new Service waits for them.
type steady struct {
	since map[judged]time.Time // it is held back
	told  time.Time            // when a speaker has told anything last
}

func newSteady() steady { return steady{since: map[judged]time.Time{}} }

// wait returns for how long a verdict that is another one than that which is shown is to wait, if nothing new comes; 0: it does not. complete is
// called where it matters.
func (s *steady) wait(k judged, shown, formed announce.Verdict, complete func() bool, now time.Time) time.Duration {
	if shown == formed || formed.Status != metav1.ConditionTrue || shown.Status != metav1.ConditionTrue &&
		shown.Reason != announce.ReasonPending || complete() {
		delete(s.since, k)
		return 0
	}
	return s.hold(k, now)
}

// hold returns for how long a verdict is still to wait that has not changed meanwhile.
func (s *steady) hold(k judged, now time.Time) time.Duration {
	since, waits := s.since[k]
	if !waits {
		since, s.since[k] = now, now
	}
	left := max(steadyFor-now.Sub(since), min(steadyQuiet-now.Sub(s.told), steadyMost-now.Sub(since)))
	if left <= 0 {
		delete(s.since, k)
		return 0
	}
	return left
}
