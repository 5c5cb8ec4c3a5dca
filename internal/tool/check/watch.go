package check

import (
	"context"
	"net/netip"
	"time"
)

// Tally counts what came of trying one target again and again.
type Tally struct {
	Target string `json:"target"`
	Tried  int    `json:"tried"`
	Lost   int    `json:"lost"`
	// LongestOutage is the longest time from a try that failed to the next one that worked, in milliseconds.
	LongestOutage float64 `json:"longestOutageMillis"`
	// LastError is that of the last try that failed.
	LastError string `json:"lastError,omitempty"`

	since time.Time // of the outage that goes on; zero: there is none
}

// Watch tries targets again in every interval until ctx ends, and returns the counts. changed is called when one is lost, and when it is
// back.
func Watch(ctx context.Context, p Prober, targets []netip.AddrPort, interval time.Duration,
	changed func(t *Tally, lost bool, outage time.Duration)) []*Tally {
	out := make([]*Tally, len(targets))
	for i, t := range targets {
		out[i] = &Tally{Target: t.String()}
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		start := time.Now()
		attempts, err := p.Try(ctx, targets)
		if ctx.Err() != nil {
			break // what was under way does not count
		}
		for i, t := range targets {
			a := attempts[t]
			if err != nil {
				a.Err = err.Error()
			}
			out[i].count(a, start, changed)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		if ctx.Err() != nil {
			break
		}
	}
	for _, t := range out {
		if !t.since.IsZero() {
			t.LongestOutage = max(t.LongestOutage, *millis(time.Since(t.since)))
		}
	}
	return out
}

func (t *Tally) count(a Attempt, at time.Time, changed func(*Tally, bool, time.Duration)) {
	t.Tried++
	if a.Err == "" {
		if !t.since.IsZero() {
			outage := at.Sub(t.since)
			t.LongestOutage, t.since = max(t.LongestOutage, *millis(outage)), time.Time{}
			changed(t, false, outage)
		}
		return
	}
	t.Lost++
	t.LastError = a.Err
	if t.since.IsZero() {
		t.since = at
		changed(t, true, 0)
	}
}
