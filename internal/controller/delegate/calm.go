package delegate

import (
	"slices"
	"time"
)

// A session that goes up and down each second must not have every Service written, and an event sent, each second: the first changes are
// told at once, more of them this far apart. What is told is late then by no more than that.
const (
	calmFree   = 4
	calmWithin = time.Minute
	calmEvery  = 10 * time.Second
)

// calm remembers when things have changed lately.
type calm[K comparable] map[K][]time.Time

// wait returns for how long a change has to wait; 0: it is told now, which is noted.
func (c calm[K]) wait(k K, now time.Time) time.Duration {
	recent := slices.DeleteFunc(c[k], func(at time.Time) bool { return now.Sub(at) >= calmWithin })
	if n := len(recent); n >= calmFree {
		if left := recent[n-1].Add(calmEvery).Sub(now); left > 0 {
			c[k] = recent
			return left
		}
	}
	c[k] = append(recent, now)
	return 0
}

// forget forgets what has not changed lately.
func (c calm[K]) forget(now time.Time) {
	for k, all := range c {
		if now.Sub(all[len(all)-1]) >= calmWithin {
			delete(c, k)
		}
	}
}
