package delegate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/process/presence"
)

// TestRecall: who runs is not forgotten because somebody has removed its Lease.
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
			var a attendance
			begin := time.Now()
			for i, s := range tc.steps {
				now := begin.Add(s.after)
				present, _ := a.call(s.leases, now)
				_, runs := present["a"]
				assert.Equal(t, s.runs, runs, "step %d", i)
				assert.Equal(t, s.wait, a.wait(now), "step %d", i)
			}
		})
	}
}

// TestSilent: a speaker whose Lease is there and is not renewed is not present, and is again as soon as it is heard.
func TestSilent(t *testing.T) {
	begin := time.Now()
	leader := presence.Lease("metallb-system", "fairlead-controller", "", begin)
	speaker := presence.Lease("metallb-system", "speaker-a", "a", begin)
	speaker.UID, speaker.Annotations = "1", map[string]string{presence.Annotation: `{"links":[{"Name":"eth0"}]}`}
	var a attendance
	for i := range 60 {
		now := begin.Add(time.Duration(i) * time.Second)
		a.update(func() { a.life.Note(leader, now) })
		if i == 0 || i == 50 {
			speaker.Spec.RenewTime = &metav1.MicroTime{Time: now}
			a.update(func() { a.life.Note(speaker, now) })
		}
		present, silent := a.call([]coordinationv1.Lease{*speaker}, now)
		heard := now.Sub(begin) <= presence.LeaseFor || i >= 50
		assert.Equal(t, heard, len(present) == 1, "after %d s", i)
		assert.Equal(t, !heard, silent["a"], "after %d s", i)
		assert.Equal(t, silent, a.silent())
		assert.Zero(t, a.wait(now))
	}
}
