package delegate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/process/presence"
)

func TestRecall(t *testing.T) {
	lease := func(uid types.UID, says string) []coordinationv1.Lease {
		x := *presence.Lease("metallb-system", "speaker-a", "a", time.Now())
		x.UID = uid
		if says != "" {
			x.Annotations = map[string]string{presence.Annotation: says}
		}
		return []coordinationv1.Lease{x}
	}
	type step struct {
		after  time.Duration
		leases []coordinationv1.Lease
		runs   bool
		wait   time.Duration
	}
	const says = `{"links":[{"Name":"eth0"}]}`
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"ends", []step{{0, lease("1", says), true, 0}, {time.Second, lease("1", ""), false, 0}}},
		{"its Lease is removed and made anew", []step{
			{0, lease("1", says), true, 0}, {time.Second, nil, true, recallFor}, {2 * time.Second, lease("2", ""), true, recallFor - time.Second},
			{3 * time.Second, lease("2", says), true, 0}, {time.Hour, lease("2", says), true, 0},
		}},
		{"its Lease stays away", []step{{0, lease("1", says), true, 0}, {time.Second, nil, true, recallFor}, {time.Second + recallFor, nil, false, 0}}},
		{"it has never been seen", []step{{0, nil, false, 0}, {time.Second, lease("1", ""), false, 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r recall
			begin := time.Now()
			for i, s := range tc.steps {
				now := begin.Add(s.after)
				_, runs := r.present(s.leases, now)["a"]
				assert.Equal(t, s.runs, runs, "step %d", i)
				assert.Equal(t, s.wait, r.wait(now), "step %d", i)
			}
		})
	}
}
