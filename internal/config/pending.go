package config

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// coalesce is how long a change waits for others to come along: the objects of one `kubectl apply` are put in force together.
const coalesce = 200 * time.Millisecond

// everything is the one request there is: the snapshot is made anew as a whole.
var everything = reconcile.Request{NamespacedName: types.NamespacedName{Name: "configuration"}}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// pending are changes that have come in and are not in force. The zero value has none.
type pending struct {
	mu   sync.Mutex
	done chan struct{} // closed when they are in force, or cannot be put there; nil if there are none
}

// handler asks for everything a moment after the first of the events that belong together.
func (p *pending) handler() handler.Funcs {
	return handler.Funcs{
		CreateFunc:  func(_ context.Context, _ event.CreateEvent, q queue) { p.add(q) },
		UpdateFunc:  func(_ context.Context, _ event.UpdateEvent, q queue) { p.add(q) },
		DeleteFunc:  func(_ context.Context, _ event.DeleteEvent, q queue) { p.add(q) },
		GenericFunc: func(_ context.Context, _ event.GenericEvent, q queue) { p.add(q) },
	}
}

func (p *pending) add(q queue) {
	p.mu.Lock()
	if p.done == nil {
		p.done = make(chan struct{})
	}
	p.mu.Unlock()
	q.AddAfter(everything, coalesce)
}

// take returns what ends the wait for the changes that have come in so far.
func (p *pending) take() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.done
	p.done = nil
	return func() {
		if done != nil {
			close(done)
		}
	}
}

// wait waits until the changes that have come in so far are in force, or for a moment that is long enough for that.
func (p *pending) wait(ctx context.Context) {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(5 * coalesce):
	case <-ctx.Done():
	}
}
