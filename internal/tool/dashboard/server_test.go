package dashboard

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// TestTold: a view is told once, also to who has loaded it before it was told that there is one.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{watcher: &watcher{next: make(chan struct{})}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := httptest.NewRecorder()
		publish := func(v *view) {
			s.watcher.publish(v)
			synctest.Wait()
		}
		early := &view{version: 1}
		s.watcher.latest.Store(early)
		go s.events(w, httptest.NewRequest("GET", "/events", nil).WithContext(ctx))
		synctest.Wait()
		publish(early)
		publish(&view{version: 2})
		cancel()
		synctest.Wait()
		assert.Equal(t, "retry: 1000\n\ndata: 1\n\ndata: 2\n\n", w.Body.String())
	})
}
