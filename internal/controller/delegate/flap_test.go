package delegate

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/keep/keeptest"
)

// TestFlappingVerdict: what Services are told of a session that goes up and down each second changes a few times at once, and then rarely; in the
// end it is true.
func TestFlappingVerdict(t *testing.T) {
	of := backends.Audience{Advertisement: backends.Source{Kind: "BGPAdvertisement", Name: "adv"}}
	task := &Task{heardOf: map[string]map[backends.Audience]announce.Verdict{}, flaps: calm[backends.Audience]{}}
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	say := func(up bool) (changed bool, again time.Duration) {
		v := announce.Verdict{Status: metav1.ConditionFalse, Reason: announce.ReasonNoSession, Message: fmt.Sprint("as of ", at)}
		if up {
			v = announce.Verdict{Status: metav1.ConditionTrue, Reason: announce.ReasonAdvertised, Message: fmt.Sprint("as of ", at)}
		}
		return task.setSessions(Cilium, map[backends.Audience]announce.Verdict{of: v}, at)
	}
	told := 0
	for i := range 20 {
		for range 2 { // sessions are judged twice a second
			changed, again := say(i%2 == 0)
			if changed {
				told++
			}
			assert.LessOrEqual(t, again, calmEvery)
			at = at.Add(sessionsEvery)
		}
	}
	assert.Equal(t, 5, told, "four at once, one ten seconds later")
	changed, again := say(false)
	for again > 0 {
		require.False(t, changed)
		at = at.Add(again)
		changed, again = say(false)
	}
	assert.Equal(t, announce.ReasonNoSession, task.heardOf[Cilium][of].Reason)
	at = at.Add(calmWithin)
	task.flaps.forget(at)
	assert.Empty(t, task.flaps)
	changed, again = say(true)
	assert.True(t, changed, "after a quiet minute, news is told at once")
	assert.Zero(t, again)
}

// TestFlappingSessions: BGPSessions of sessions that flap, or whose prefixes change with each Service, are written at a bounded rate, and are true in
// the end.
func TestFlappingSessions(t *testing.T) {
	up := metav1.NewTime(time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC))
	want := func(n int, state string, prefixes int64, late time.Duration) map[cniSession]v1alpha1.BGPSessionStatus {
		out := map[cniSession]v1alpha1.BGPSessionStatus{}
		for i := range n {
			since := metav1.NewTime(up.Add(late))
			out[cniSession{Cilium, fmt.Sprint("cilium-", i)}] = v1alpha1.BGPSessionStatus{
				Node: fmt.Sprint("n", i), State: state, PrefixesSent: prefixes, Since: &since,
			}
		}
		return out
	}
	states := func(t *testing.T, d *keeptest.Desk) map[string]int {
		var list v1alpha1.BGPSessionList
		ours := client.MatchingLabels{LabelBackend: Cilium, backends.LabelManagedBy: backends.ManagedBy}
		require.NoError(t, d.List(t.Context(), &list, ours))
		out := map[string]int{}
		for _, o := range list.Items {
			out[fmt.Sprint(o.Status.State, " ", o.Status.PrefixesSent)]++
		}
		return out
	}
	const many = 50
	for _, tc := range []struct {
		name string
		then func(i int) map[cniSession]v1alpha1.BGPSessionStatus
		most int // writes of each in 20 seconds, after it was made
		end  map[string]int
	}{
		{"up and down", func(i int) map[cniSession]v1alpha1.BGPSessionStatus {
			return want(many, []string{"Established", "Active"}[i%2], 0, 0)
		}, 4, map[string]int{"Active 0": many}},
		{"there and not", func(i int) map[cniSession]v1alpha1.BGPSessionStatus {
			return want(many*(i%2), "Established", 0, 0)
		}, 8, map[string]int{"Established 0": many}},
		{"a prefix more each time", func(i int) map[cniSession]v1alpha1.BGPSessionStatus {
			return want(many, "Established", int64(i), time.Duration(i%5)*time.Second)
		}, 1, map[string]int{"Established 19": many}},
		{"as it was, give or take seconds", func(i int) map[cniSession]v1alpha1.BGPSessionStatus {
			return want(many, "Established", 0, time.Duration(i%9)*time.Second)
		}, 0, map[string]int{"Established 0": many}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := keeptest.New(t, cli.NewScheme(), &v1alpha1.BGPSession{})
				published := newPublished(d, d.Cache(), "metallb-system", "test", slog.New(slog.DiscardHandler))
				foreign := &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "speaker"}}
				require.NoError(t, d.Create(t.Context(), foreign))
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- published.Serve(ctx) }()
				published.Set(want(many, "Established", 0, 0), nil)
				time.Sleep(stateEvery)
				synctest.Wait()
				before := d.Writes("")
				assert.Equal(t, 1+2*many, before, "an object and its status")
				for i := range 20 {
					published.Set(tc.then(i), nil)
					time.Sleep(time.Second)
				}
				synctest.Wait()
				assert.LessOrEqual(t, d.Writes("")-before, tc.most*many)
				time.Sleep(prefixEvery)
				synctest.Wait()
				assert.Equal(t, tc.end, states(t, d))
				require.NoError(t, d.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign), "a speaker's")
				stop()
				require.NoError(t, <-ended)
			})
		})
	}
}
