// Package samples collects how long the rounds of a benchmark took.
package samples

import (
	"slices"
	"testing"
	"time"
)

// Samples are what rounds took, by what was measured.
type Samples map[string][]time.Duration

// Add adds one.
func (s Samples) Add(what string, d time.Duration) { s[what] = append(s[what], d) }

// Report prints the least, the median, the 99th percentile and the most of each, in milliseconds. It is to be called after b.Loop, which
// would forget what was reported before.
func (s Samples) Report(b *testing.B) {
	b.ReportMetric(0, "ns/op") // of the rounds with all their preparations: it says nothing
	for what, all := range s {
		slices.Sort(all)
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		b.ReportMetric(ms(all[0]), what+"-min-ms")
		b.ReportMetric(ms(all[len(all)/2]), what+"-median-ms")
		b.ReportMetric(ms(all[(len(all)*99-1)/100]), what+"-p99-ms")
		b.ReportMetric(ms(all[len(all)-1]), what+"-max-ms")
	}
}
