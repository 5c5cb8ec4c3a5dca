package delegate

import (
	"context"
	"maps"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/presence"
)

// life knows which speakers give no sign of life. One that crashes with its node cannot take back what it has told.
type life struct {
	mu   sync.Mutex // protects all the following
	life presence.Life
	told map[string]bool // the last answer
}

// follow watches the Leases of the speakers, and that of the controller, and calls wake when a speaker falls silent or is heard again, or says
// something else. It returns when those that there are have been looked at.
func (l *life) follow(ctx context.Context, c cache.Cache, wake func()) error {
	return follow.Handle(ctx, c, func(was, is client.Object) {
		do := func() { l.life.Note(is.(*coordinationv1.Lease), time.Now()) }
		if is == nil {
			do = func() { l.life.Forget(was.(*coordinationv1.Lease)) }
		}
		if l.update(do) || says(was) != says(is) {
			wake()
		}
	}, &coordinationv1.Lease{})
}

// says returns what a Lease tells of its speaker.
func says(o client.Object) string {
	if o == nil {
		return ""
	}
	return o.GetAnnotations()[presence.Annotation]
}

// update calls do and reports whether others are silent after it.
func (l *life) update(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
	now := l.life.Silent()
	if maps.Equal(now, l.told) {
		return false
	}
	l.told = now
	return true
}

// silent returns the nodes whose speakers give no sign of life.
func (l *life) silent() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}
