package delegate

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
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

// recording counts writes of BGPSessions.
func recording(t *testing.T, objects ...client.Object) (p *published, writes *int) {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	writes = new(int)
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.BGPSession{}).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			*writes++
			return c.Create(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			*writes++
			return c.Delete(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			*writes++
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	}).Build()
	return &published{read: c, write: c, namespace: "metallb-system", fieldManager: "test", wrote: map[string]time.Time{}}, writes
}

// TestFlappingSessions: BGPSessions of sessions that flap, or whose prefixes change with each Service, are written at a bounded rate, and are true in
// the end.
func TestFlappingSessions(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	want := func(n int, state string, prefixes int64) map[string]*v1alpha1.BGPSession {
		out := map[string]*v1alpha1.BGPSession{}
		for i := range n {
			o := &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: fmt.Sprint("cilium-", i), Labels: map[string]string{LabelBackend: Cilium}}}
			o.Status = v1alpha1.BGPSessionStatus{Node: fmt.Sprint("n", i), State: state, PrefixesSent: prefixes}
			out[o.Name] = o
		}
		return out
	}
	settle := func(p *published, want func() map[string]*v1alpha1.BGPSession) {
		for rounds := 0; ; rounds++ {
			require.Less(t, rounds, 3)
			again, err := p.keep(t.Context(), want(), at)
			require.NoError(t, err)
			if again == 0 {
				return
			}
			at = at.Add(again)
		}
	}
	states := func(p *published) map[string]int {
		var list v1alpha1.BGPSessionList
		require.NoError(t, p.read.List(t.Context(), &list))
		out := map[string]int{}
		for _, o := range list.Items {
			out[fmt.Sprint(o.Status.State, " ", o.Status.PrefixesSent)]++
		}
		return out
	}
	const many = 50
	for _, tc := range []struct {
		name string
		then func(i int) map[string]*v1alpha1.BGPSession
		most int // writes of each in 20 seconds, after it was made
		end  map[string]int
	}{
		{"up and down", func(i int) map[string]*v1alpha1.BGPSession {
			return want(many, []string{"Established", "Active"}[i%2], 0)
		}, 4, map[string]int{"Active 0": many}},
		{"there and not", func(i int) map[string]*v1alpha1.BGPSession { return want(many*(i%2), "Established", 0) }, 8, map[string]int{"Established 0": many}},
		{"a prefix more each time", func(i int) map[string]*v1alpha1.BGPSession { return want(many, "Established", int64(i)) }, 1, map[string]int{"Established 19": many}},
		{"as it was", func(int) map[string]*v1alpha1.BGPSession { return want(many, "Established", 0) }, 0, map[string]int{"Established 0": many}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, writes := recording(t)
			settle(p, func() map[string]*v1alpha1.BGPSession { return want(many, "Established", 0) })
			assert.Equal(t, 2*many, *writes, "an object and its status")
			*writes = 0
			at = at.Add(stateEvery)
			for i := range 20 {
				_, err := p.keep(t.Context(), tc.then(i), at)
				require.NoError(t, err)
				at = at.Add(time.Second)
			}
			assert.LessOrEqual(t, *writes, tc.most*many)
			settle(p, func() map[string]*v1alpha1.BGPSession { return tc.then(19) })
			assert.Equal(t, tc.end, states(p))
		})
	}
}
