package wake

import "sync"

// Bell has all those called who listen to it. It is there before the parts that it connects, so that neither has to know the other. The
// zero value is ready for use.
type Bell struct {
	mu        sync.Mutex // protects listeners
	listeners []func()
}

// Listen has f called from now on. f must not block.
func (b *Bell) Listen(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners = append(b.listeners, f)
}

// Ring calls all listeners, one after the other.
func (b *Bell) Ring() {
	b.mu.Lock()
	listeners := b.listeners
	b.mu.Unlock()
	for _, f := range listeners {
		f()
	}
}
