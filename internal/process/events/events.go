// Package events sends events about what the controller decided. It differs from client-go's broadcaster in what matters to
// people who read them: no event is dropped because many come at once, none hides behind an earlier one of the same reason but
// another message, and a flood of them does not slow down the writes that they tell of.
package events

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	eventsclient "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/reference"

	"github.com/fairlead/fairlead/internal/process/text"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/process/yield"
)

const (
	// senders is how many events are on their way at once.
	senders = 2
	// maxNote is the most that the API server accepts as a note, in bytes.
	maxNote = 1024
	// repeatWithin is for how long the same event again is counted instead of sent as another.
	repeatWithin = 6 * time.Minute
	// remembered is how many events are kept for that purpose.
	remembered = 1000
	// flushTimeout is how long what is queued may take when the process ends.
	flushTimeout = time.Second
)

// retries are the pauses between tries while the API server does not answer; then an event is given up.
var retries = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 30 * time.Second}

// Recorder queues events and sends them when it is run. It implements events.EventRecorder of client-go.
type Recorder struct {
	client   eventsclient.EventsGetter
	scheme   *runtime.Scheme
	source   string
	instance string
	log      *slog.Logger
	now      func() time.Time

	count atomic.Int64 // of events so far: tells those of one moment apart
	pace  *yield.Pacer
	news  wake.Signal // the queue is not empty

	mu    sync.Mutex // protects all the following
	queue list.List  // of *eventsv1.Event
	sent  map[key]sent
	order list.List // of key, oldest first: what is in sent
}

// sent is what tells an event that has been sent from others that say the same.
type sent struct {
	name     string
	at, last metav1.MicroTime
	count    int32
}

// key tells events apart; unlike client-go's, it includes what they say.
type key struct {
	kind, namespace, name string
	uid                   types.UID
	reason, note          string
}

// New returns a Recorder that reports in the name of source, at a pace; nil: as soon as it can. It sends nothing until it is run.
func New(rc *rest.Config, scheme *runtime.Scheme, source string, pace *yield.Pacer, log *slog.Logger) (*Recorder, error) {
	rc = rest.CopyConfig(rc)
	rc.ContentType, rc.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	client, err := eventsclient.NewForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("make a client of events: %w", err)
	}
	return newRecorder(client, scheme, source, pace, log), nil
}

func newRecorder(
	client eventsclient.EventsGetter, scheme *runtime.Scheme, source string, pace *yield.Pacer, log *slog.Logger,
) *Recorder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Recorder{
		client: client, scheme: scheme, source: source, instance: source + "-" + host, log: log, now: time.Now,
		pace: pace, news: wake.New(), sent: map[key]sent{},
	}
}

// Eventf queues an event about regarding. A note that is longer than the API server accepts is cut.
func (r *Recorder) Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any) {
	ref, err := reference.GetReference(r.scheme, regarding)
	if err != nil {
		r.log.Error("event has no object", "reason", reason, "err", err)
		return
	}
	ref.ResourceVersion = ""
	now := r.now()
	e := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cmp.Or(ref.Namespace, metav1.NamespaceDefault), Name: fmt.Sprintf("%.200s.%x", ref.Name, now.UnixNano()+r.count.Add(1)),
		},
		EventTime: metav1.NewMicroTime(now), ReportingController: r.source, ReportingInstance: r.instance,
		Action: action, Reason: reason, Regarding: *ref, Note: text.Cut(fmt.Sprintf(note, args...), maxNote), Type: eventtype,
	}
	if related != nil {
		if e.Related, err = reference.GetReference(r.scheme, related); err != nil {
			r.log.Error("event has no related object", "reason", reason, "err", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue.PushBack(e)
	r.wake()
}

func (r *Recorder) wake() { r.news.Set() }

// Start sends events until ctx ends, then for a moment what is still queued.
func (r *Recorder) Start(ctx context.Context) error {
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(flushTimeout, giveUp) })
	defer stop()
	var g errgroup.Group
	for range senders {
		g.Go(func() error {
			r.send(ctx, sending)
			return nil
		})
	}
	return g.Wait()
}

// send sends until stopping ends and the queue is empty, or sending ends.
func (r *Recorder) send(stopping, sending context.Context) {
	for sending.Err() == nil {
		e := r.next()
		if e == nil {
			select {
			case <-r.news.C():
				continue
			case <-stopping.Done():
				return
			}
		}
		r.deliver(stopping, sending, e)
	}
}

func (r *Recorder) next() *eventsv1.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	front := r.queue.Front()
	if front == nil {
		return nil
	}
	r.queue.Remove(front)
	if r.queue.Len() > 0 {
		r.wake()
	}
	return front.Value.(*eventsv1.Event)
}

// deliver writes one event, as often as it takes until ctx ends. It does not give way any more once stopping ends.
func (r *Recorder) deliver(stopping, ctx context.Context, e *eventsv1.Event) {
	for backoff := retries; ; {
		end, err := r.pace.Begin(stopping, yield.Event)
		if err != nil {
			end = func() {}
		}
		err = r.write(ctx, e)
		end() // what is paced does not wait with it until the next try
		if err == nil {
			return
		}
		if _, answered := err.(apierrors.APIStatus); answered && !apierrors.IsTooManyRequests(err) && !apierrors.IsServerTimeout(err) &&
			!apierrors.IsInternalError(err) ||
			backoff.Steps == 0 || ctx.Err() != nil {
			r.log.Warn("event not written", "kind", e.Regarding.Kind, "object", e.Regarding.Namespace+"/"+e.Regarding.Name, "reason", e.Reason,
				"err", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff.Step()):
		}
	}
}

func (r *Recorder) write(ctx context.Context, e *eventsv1.Event) error {
	began := time.Now()
	defer func() { r.pace.Took(yield.Event, time.Since(began)) }()
	k := key{e.Regarding.Kind, e.Regarding.Namespace, e.Regarding.Name, e.Regarding.UID, e.Reason, e.Note}
	if repeated := r.repeat(k, e); repeated != nil {
		_, err := r.client.Events(repeated.Namespace).Update(ctx, repeated, metav1.UpdateOptions{})
		if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !apierrors.IsInvalid(err) {
			return err // nobody has removed or changed it, and it is no other after all
		}
	}
	written, err := r.client.Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	if err == nil {
		r.remember(k, written)
	}
	return err
}

// repeat returns the event that says the same already, counted once more; nil if there is none.
func (r *Recorder) repeat(k key, e *eventsv1.Event) *eventsv1.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, is := r.sent[k]
	if !is {
		return nil
	}
	if e.EventTime.Sub(old.last.Time) > repeatWithin {
		return nil
	}
	old.count++
	old.last = e.EventTime
	r.sent[k] = old
	out := *e
	out.Name, out.EventTime, out.Series = old.name, old.at, &eventsv1.EventSeries{Count: old.count, LastObservedTime: old.last}
	return &out
}

func (r *Recorder) remember(k key, e *eventsv1.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.sent[k]; !known {
		r.order.PushBack(k)
	}
	r.sent[k] = sent{name: e.Name, at: e.EventTime, last: e.EventTime, count: 1}
	for r.order.Len() > remembered {
		oldest := r.order.Front()
		r.order.Remove(oldest)
		delete(r.sent, oldest.Value.(key))
	}
}
