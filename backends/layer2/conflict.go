package layer2

import (
	"net/netip"
	"sync"
	"time"
)

const (
	warnEvery = time.Minute
	// maxClaims bounds what is remembered of claims: a MAC costs a sender nothing. Beyond it, claims are counted but not logged.
	maxClaims = 1024
)

// claim is somebody else's use of an announced address.
type claim struct {
	addr netip.Addr
	by   mac
}

// claims remembers which claims were logged of late.
type claims struct {
	mu     sync.Mutex
	logged map[claim]time.Time
}

// log reports whether a claim is to be logged.
func (c *claims) log(k claim, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.logged[k]; ok && now.Sub(last) < warnEvery {
		return false
	}
	if _, ok := c.logged[k]; !ok && len(c.logged) >= maxClaims {
		for old, at := range c.logged {
			if now.Sub(at) >= warnEvery {
				delete(c.logged, old)
			}
		}
		if len(c.logged) >= maxClaims {
			return false
		}
	}
	if c.logged == nil {
		c.logged = map[claim]time.Time{}
	}
	c.logged[k] = now
	return true
}
