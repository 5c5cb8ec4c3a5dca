package dashboard

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// TestSteps: the first broken link is marked, and no other; both pictures show the same.
func TestSteps(t *testing.T) {
	m := surveytest.Model(t, surveytest.Shop)
	for name, broken := range map[string]string{"lost": explain.StepPools, "mail": explain.StepEndpoints, "wide": explain.StepAddress} {
		r := explain.OfService(m, "shop", name)
		require.NotNil(t, r.Fix, name)
		var marked []string
		for _, s := range stepsOf(r) {
			if s.verdict == bad {
				marked = append(marked, s.name)
			}
		}
		assert.Equal(t, []string{broken}, marked, name)
		w, h := wide(stepsOf(r)), tall(stepsOf(r))
		require.Len(t, h.Boxes, len(w.Boxes))
		for i := range w.Boxes {
			assert.Equal(t, w.Boxes[i].Says, h.Boxes[i].Says)
			assert.LessOrEqual(t, w.Boxes[i].X+w.Boxes[i].Width, w.Width)
			assert.LessOrEqual(t, w.Boxes[i].Y+w.Boxes[i].Height, w.Height)
			assert.LessOrEqual(t, h.Boxes[i].Y+h.Boxes[i].Height, h.Height)
		}
		assert.LessOrEqual(t, h.Width, 328, "it fits a small telephone")
	}
}

func TestFold(t *testing.T) {
	assert.Equal(t, []string{"one two", "three four"}, fold("one two three four", 10, 3))
	assert.Equal(t, []string{""}, fold("", 10, 3))
	long := fold(strings.Repeat("x", 1000), 10, 3)
	assert.Equal(t, []string{"xxxxxxxxxx", "xxxxxxxxxx", "xxxxxxxxx…"}, long)
}

// TestHistory: what speakers say tells of takeovers since the start, their events of those before.
func TestHistory(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	says := func(svc, node string) v1beta1.ServiceL2Status {
		return v1beta1.ServiceL2Status{Status: v1beta1.ServiceL2StatusStatus{ServiceNamespace: "shop", ServiceName: svc, Node: node}}
	}
	event := func(svc, message string, ago time.Duration) corev1.Event {
		return corev1.Event{InvolvedObject: corev1.ObjectReference{Namespace: "shop", Name: svc}, Message: message, LastTimestamp: metav1.NewTime(at.Add(-ago))}
	}
	events := []corev1.Event{
		event("web", `announcing from node "n1" with protocol "layer2"`, 3*time.Hour), event("web", `announcing from node "n2" with protocol "layer2"`, time.Hour),
		event("web", "something else", time.Minute), event("web", `announcing from node "n9" with protocol "layer2"`, -time.Hour),
	}
	h := &history{begun: at}
	before := Takeover{at.Add(-time.Hour), "shop", "web", "n2", "n1"}
	assert.Equal(t, []Takeover{before}, h.note([]v1beta1.ServiceL2Status{says("web", "n2"), says("mail", "n1")}, events, at))
	both := []v1beta1.ServiceL2Status{says("web", "n2"), says("web", "n3"), says("mail", "n1")}
	assert.Equal(t, []Takeover{before}, h.note(both, events, at), "n2 goes on")
	later := at.Add(time.Minute)
	after := Takeover{later, "shop", "web", "n3", "n2"}
	assert.Equal(t, []Takeover{after, before}, h.note([]v1beta1.ServiceL2Status{says("web", "n3")}, events, later))
	for range 2 * takeoversAtMost {
		later = later.Add(time.Second)
		h.note([]v1beta1.ServiceL2Status{says("web", "n1")}, nil, later)
		h.note([]v1beta1.ServiceL2Status{says("web", "n2")}, nil, later)
	}
	assert.Len(t, h.note(nil, events, later), takeoversAtMost)
}
