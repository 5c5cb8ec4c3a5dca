package delegate

import (
	"fmt"
	"testing"

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
	s, shown := steady{}, map[judged]announce.Verdict{key: pending}
	writes := 0
	judge := func(v announce.Verdict) announce.Verdict {
		now := map[judged]announce.Verdict{key: v}
		again := s.hold(shown, now)
		assert.Equal(t, now[key] != v, again > 0, "what waits is looked at again")
		if now[key] != shown[key] {
			writes++
		}
		shown = now
		return now[key]
	}
	for nodes := range 3 {
		assert.Equal(t, pending, judge(from(1+nodes)))
	}
	assert.Equal(t, from(3), judge(from(3)))
	assert.Equal(t, from(3), judge(from(2)), "a node has restarted")
	assert.Equal(t, from(3), judge(from(3)), "and is back")
	assert.Equal(t, 1, writes)
	assert.Equal(t, down, judge(down))
	assert.Equal(t, from(3), judge(from(3)), "that it is advertised again is told at once, too")
	other := key
	other.kind = kindL2
	now := map[judged]announce.Verdict{other: from(1)}
	assert.Zero(t, s.hold(map[judged]announce.Verdict{other: pending}, now), "on layer 2 one node tells of a Service")
	assert.Empty(t, s)
	s[key] = from(1)
	s.hold(nil, nil)
	assert.Empty(t, s, "what is gone is forgotten")
}
