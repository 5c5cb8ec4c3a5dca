package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	eventsclient "k8s.io/client-go/kubernetes/typed/events/v1"
	clienttesting "k8s.io/client-go/testing"

	"github.com/fairlead/fairlead/internal/process/yield"
)

func web() *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"}}
}

// during runs script beside a Recorder for a while of virtual time, and returns what the API server then has.
func during(t *testing.T, d time.Duration, fail func(n int) error, script func(*Recorder)) []eventsv1.Event {
	var out []eventsv1.Event
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		n := 0
		client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
			n++
			err := fail(n)
			return err != nil, nil, err
		})
		r := newRecorder(client.EventsV1(), scheme.Scheme, "test", yield.New(), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		go script(r)
		require.NoError(t, r.Start(ctx))
		list, err := client.EventsV1().Events("").List(context.WithoutCancel(ctx), metav1.ListOptions{})
		require.NoError(t, err)
		out = list.Items
	})
	return out
}

func never(int) error { return nil }

func TestNoneIsLost(t *testing.T) {
	const n = 500
	got := during(t, time.Minute, never, func(r *Recorder) {
		for i := range n {
			r.Eventf(web(), nil, corev1.EventTypeNormal, "Same", "Do", "number %d", i)
		}
	})
	seen := map[string]bool{}
	for _, e := range got {
		seen[e.Note] = true
		assert.Nil(t, e.Series)
	}
	assert.Len(t, seen, n, "events of one reason hide behind each other")
}

func TestTheSameAgainIsCounted(t *testing.T) {
	got := during(t, time.Hour, never, func(r *Recorder) {
		for range 3 {
			r.Eventf(web(), nil, corev1.EventTypeWarning, "Same", "Do", "the same")
			time.Sleep(time.Minute)
		}
		time.Sleep(repeatWithin)
		r.Eventf(web(), nil, corev1.EventTypeWarning, "Same", "Do", "the same")
	})
	require.Len(t, got, 2)
	counts := []int32{}
	for _, e := range got {
		if e.Series != nil {
			counts = append(counts, e.Series.Count)
		}
		assert.Equal(t, "Service", e.Regarding.Kind)
		assert.Equal(t, "test", e.ReportingController)
	}
	assert.Equal(t, []int32{3}, counts)
}

// fixed has an API server that lets no event be changed.
type fixed struct{ eventsclient.EventsGetter }

func (f fixed) Events(namespace string) eventsclient.EventInterface {
	return fixedEvents{f.EventsGetter.Events(namespace)}
}

type fixedEvents struct{ eventsclient.EventInterface }

func (fixedEvents) Update(_ context.Context, e *eventsv1.Event, _ metav1.UpdateOptions) (*eventsv1.Event, error) {
	return nil, apierrors.NewInvalid(eventsv1.SchemeGroupVersion.WithKind("Event").GroupKind(), e.Name, nil)
}

// TestWhatCannotBeCountedIsNotLost: it comes as another event.
func TestWhatCannotBeCountedIsNotLost(t *testing.T) {
	got := during(t, time.Minute, never, func(r *Recorder) {
		r.client = fixed{r.client}
		for range 3 {
			r.Eventf(web(), nil, corev1.EventTypeWarning, "Same", "Do", "the same")
			time.Sleep(time.Second)
		}
	})
	assert.Len(t, got, 3)
}

// slow has an API server take its time for each event.
type slow struct {
	eventsclient.EventsGetter
	takes *atomic.Int64 // nanoseconds
}

func (s slow) Events(namespace string) eventsclient.EventInterface {
	return slowEvents{s.EventsGetter.Events(namespace), s.takes}
}

type slowEvents struct {
	eventsclient.EventInterface
	takes *atomic.Int64
}

func (s slowEvents) Create(ctx context.Context, e *eventsv1.Event, o metav1.CreateOptions) (*eventsv1.Event, error) {
	time.Sleep(time.Duration(s.takes.Load()))
	return s.EventInterface.Create(ctx, e, o)
}

// TestRefusedEventsHoldNothingUp: while events wait for another try, statuses of the same process are written, also on a busy API server.
func TestRefusedEventsHoldNothingUp(t *testing.T) {
	refuse := func(int) error { return apierrors.NewInternalError(errors.New("no webhook answers")) }
	during(t, time.Minute, refuse, func(r *Recorder) {
		r.pace.Took(yield.Status, time.Millisecond)
		for range 100 { // others wait at the API server
			r.pace.Took(yield.Status, time.Second)
		}
		for i := range 10 {
			r.Eventf(web(), nil, corev1.EventTypeNormal, "Same", "Do", "number %d", i)
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		end, err := r.pace.Begin(ctx, yield.Status)
		if assert.NoError(t, err) {
			end()
		}
	})
}

// TestAFloodGivesWay: while the API server is busy, there are few events; once it is not, the rest is there soon.
func TestAFloodGivesWay(t *testing.T) {
	var takes, sent atomic.Int64
	takes.Store(int64(2 * time.Millisecond))
	count := func(n int) error { sent.Store(int64(n)); return nil }
	during(t, time.Minute, count, func(r *Recorder) {
		r.client = slow{r.client, &takes}
		flood := func(what string, n int) {
			for i := range n {
				r.Eventf(web(), nil, corev1.EventTypeNormal, "Same", "Do", "%s %d", what, i)
			}
		}
		flood("first", 20)
		time.Sleep(time.Second)
		assert.EqualValues(t, 20, sent.Load())
		takes.Store(int64(60 * time.Millisecond))
		flood("more", 1000)
		time.Sleep(time.Second)
		before := sent.Load()
		time.Sleep(10 * time.Second)
		assert.InDelta(t, 100, sent.Load()-before, 10)
		takes.Store(int64(2 * time.Millisecond))
		time.Sleep(3 * time.Second)
		assert.EqualValues(t, 1020, sent.Load())
	})
}

func TestRetries(t *testing.T) {
	got := during(t, time.Hour, func(n int) error {
		if n <= 5 {
			return errors.New("connection refused")
		}
		return nil
	}, func(r *Recorder) { r.Eventf(web(), nil, corev1.EventTypeNormal, "Late", "Do", "but there") })
	assert.Len(t, got, 1)

	tries := 0
	got = during(t, time.Hour, func(n int) error {
		tries = n
		return apierrors.NewForbidden(eventsv1.Resource("events"), "", errors.New("namespace is being deleted"))
	}, func(r *Recorder) { r.Eventf(web(), nil, corev1.EventTypeNormal, "Refused", "Do", "no") })
	assert.Empty(t, got)
	assert.Equal(t, 1, tries)
}

func TestTheRestIsFlushed(t *testing.T) {
	got := during(t, time.Second, never, func(r *Recorder) {
		time.Sleep(time.Second - time.Nanosecond)
		for i := range 100 {
			r.Eventf(web(), nil, corev1.EventTypeNormal, "Last", "Do", "%d", i)
		}
	})
	assert.Len(t, got, 100)
}

func TestLongNotesAreCut(t *testing.T) {
	got := during(t, time.Second, never, func(r *Recorder) {
		r.Eventf(web(), nil, corev1.EventTypeNormal, "Long", "Do", "%s", strings.Repeat("ä", maxNote))
	})
	require.Len(t, got, 1)
	assert.LessOrEqual(t, len(got[0].Note), maxNote)
	assert.True(t, strings.HasSuffix(got[0].Note, "ä..."), fmt.Sprintf("%.10q", got[0].Note))
}
