package delegate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/presence"
)

func TestRecall(t *testing.T) {
	state := func(uid types.UID, says string) []v1beta1.ConfigurationState {
		x := v1beta1.ConfigurationState{ObjectMeta: metav1.ObjectMeta{Name: "speaker-a", UID: uid, Labels: map[string]string{presence.LabelNode: "a"}}}
		if says != "" {
			x.Annotations = map[string]string{presence.Annotation: says}
		}
		return []v1beta1.ConfigurationState{x}
	}
	type step struct {
		after  time.Duration
		states []v1beta1.ConfigurationState
		runs   bool
		wait   time.Duration
	}
	const says = `{"links":[{"Name":"eth0"}]}`
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"ends", []step{{0, state("1", says), true, 0}, {time.Second, state("1", ""), false, 0}}},
		{"its object is removed and made anew", []step{
			{0, state("1", says), true, 0}, {time.Second, nil, true, recallFor}, {2 * time.Second, state("2", ""), true, recallFor - time.Second},
			{3 * time.Second, state("2", says), true, 0}, {time.Hour, state("2", says), true, 0},
		}},
		{"its object stays away", []step{{0, state("1", says), true, 0}, {time.Second, nil, true, recallFor}, {time.Second + recallFor, nil, false, 0}}},
		{"it has never been seen", []step{{0, nil, false, 0}, {time.Second, state("1", ""), false, 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r recall
			begin := time.Now()
			for i, s := range tc.steps {
				now := begin.Add(s.after)
				_, runs := r.present(s.states, now)["a"]
				assert.Equal(t, s.runs, runs, "step %d", i)
				assert.Equal(t, s.wait, r.wait(now), "step %d", i)
			}
		})
	}
}
