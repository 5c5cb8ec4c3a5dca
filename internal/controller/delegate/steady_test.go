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
	s, shown := steady{}, pending
	writes := 0
	judge := func(v announce.Verdict) announce.Verdict {
		if !s.wait(key, shown, v) && v != shown {
			shown = v
			writes++
		}
		return shown
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
	assert.Empty(t, s)
}
