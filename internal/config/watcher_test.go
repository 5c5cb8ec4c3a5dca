package config

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// TestChangesTogether: the objects of one change, which arrive one by one, are put in force as one.
func TestChangesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer q.ShutDown()
		start := time.Now()
		p := &pending{}
		together := p.handler()
		pool := &v1beta1.IPAddressPool{}
		together.Update(t.Context(), event.UpdateEvent{ObjectOld: pool, ObjectNew: pool}, q)
		time.Sleep(coalesce / 2)
		together.Create(t.Context(), event.CreateEvent{Object: pool}, q)
		together.Delete(t.Context(), event.DeleteEvent{Object: pool}, q)
		r, _ := q.Get()
		assert.Equal(t, everything, r)
		assert.Equal(t, coalesce, time.Since(start))
		p.take()()
		q.Done(r)
		time.Sleep(2 * coalesce)
		assert.Zero(t, q.Len(), "it is put in force again")

		together.Create(t.Context(), event.CreateEvent{Object: pool}, q)
		r, _ = q.Get()
		assert.Equal(t, everything, r)
		q.Done(r)
	})
}

// TestAwait: who comes after a change waits until it is in force, not for those that come later, and not for ever.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer q.ShutDown()
		p := &pending{}
		start := time.Now()
		p.wait(t.Context())
		assert.Zero(t, time.Since(start), "nothing is pending")

		p.add(q)
		go func() {
			time.Sleep(coalesce)
			end := p.take()
			p.add(q) // it comes too late for this one
			time.Sleep(coalesce / 4)
			end()
		}()
		p.wait(t.Context())
		assert.Equal(t, coalesce*5/4, time.Since(start))

		start = time.Now()
		p.wait(t.Context())
		assert.Equal(t, 5*coalesce, time.Since(start), "nobody puts it in force")
	})
}
