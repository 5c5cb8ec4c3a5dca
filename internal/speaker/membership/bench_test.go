package membership

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is for how long what is measured may take at most.
	patience = 10 * time.Minute
	// period is for how long traffic is measured.
	period = 10 * time.Second
	// deaths is how many members die, one after the other.
	deaths = 10
)

// sizes are of how many members BenchmarkMembers has: FAIRLEAD_BENCH_MEMBERS, if it is set.
func sizes(b *testing.B) []int {
	s := os.Getenv("FAIRLEAD_BENCH_MEMBERS")
	if s == "" {
		return []int{5, 10, 100, 300, 500}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 4 {
		b.Fatalf("FAIRLEAD_BENCH_MEMBERS=%q: a number above 3 is needed", s)
	}
	return []int{n}
}

// BenchmarkMembers has many members start within a second on a simulated network and clock. It measures how long it takes until all know
// each other, a claim, and a death; what a member sends and receives in a second, at rest and while every member changes a claim each
// second and one is cut off from the others and comes back; and the processor time that it uses. Times are simulated,
// processor time is real.
func BenchmarkMembers(b *testing.B) {
	for _, p := range Profiles {
		for _, n := range sizes(b) {
			b.Run(fmt.Sprintf("%s/%d", p, n), func(b *testing.B) {
				for b.Loop() {
					bubble(b, func(t *testing.T) {
						simulate(t, n, p, func(s *simulation) { measure(b, s) })
					})
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkMembersLoss counts how often a member is taken for dead that is not, in a minute in which the network loses packets.
func BenchmarkMembersLoss(b *testing.B) {
	const n = 100
	for _, p := range Profiles {
		for _, percent := range []int{5, 10, 20, 30} {
			b.Run(fmt.Sprintf("%s/%d%%", p, percent), func(b *testing.B) {
				for b.Loop() {
					bubble(b, func(t *testing.T) {
						simulate(t, n, p, func(s *simulation) {
							s.until("all members", patience, func(m *simulated) bool { return m.heard() == n })
							s.loss = float64(percent) / 100
							s.flow(b, "", time.Minute, func() {})
						})
					})
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// bubble runs f as a test, because package synctest takes nothing else.
func bubble(b *testing.B, f func(*testing.T)) {
	all := func(string, string) (bool, error) { return true, nil }
	if !testing.RunTests(all, []testing.InternalTest{{Name: b.Name(), F: f}}) {
		b.FailNow()
	}
}

func measure(b *testing.B, s *simulation) {
	n, first := len(s.members), s.members[0]
	began := cpu()
	all := s.until("all members", patience, func(m *simulated) bool { return m.heard() == n })
	b.ReportMetric(slices.Max(all).Seconds(), "joined-s")
	b.ReportMetric((cpu()-began).Seconds()/float64(n), "joined-cpu-s")
	base := first.c.Profile.base().PushPullInterval
	time.Sleep(base)
	s.flow(b, "rest-", exchange(base, n), func() {})

	first.Claim(of(service(0, 1)))
	all = s.until("a claim", patience, func(m *simulated) bool { return m.announces(first.c.Node, service(0, 1)) })
	b.ReportMetric(all[len(all)/2].Seconds(), "claim-median-s")
	b.ReportMetric(slices.Max(all).Seconds(), "claim-s")

	s.deaths(b)
	s.flow(b, "churn-", period, s.churn)
	time.Sleep(time.Second)
	late := 0
	for _, m := range s.members {
		for _, x := range s.members {
			if !m.announces(x.c.Node, x.claimed) {
				late++
			}
		}
	}
	b.ReportMetric(1e6*float64(late)/float64(n*n), "churn-late-ppm")
}

// exchange is how often a member exchanges everything with another one, as memberlist scales it.
func exchange(base time.Duration, n int) time.Duration {
	return base * time.Duration(1+max(0, math.Ceil(math.Log2(float64(n)/32))))
}

// deaths has members die and start again, one after the other, and reports when the first of the others knows of it, half of them, and all.
func (s *simulation) deaths(b *testing.B) {
	var first, median, all []float64
	for i := range deaths {
		dead := s.members[len(s.members)-1-i%3]
		s.kill(dead)
		known := s.until("a death", patience, func(m *simulated) bool { return !m.believes(dead.c.Node) })
		first = append(first, known[0].Seconds())
		median = append(median, known[len(known)/2].Seconds())
		all = append(all, known[len(known)-1].Seconds())
		s.start(dead, rand.N(time.Second))
		s.until("all members", patience, func(m *simulated) bool { return m.heard() == len(s.members) })
	}
	slices.Sort(median)
	slices.Sort(all)
	b.ReportMetric(slices.Min(first), "death-first-s")
	b.ReportMetric(median[deaths/2], "death-median-s")
	b.ReportMetric(all[deaths/2], "death-all-median-s")
	b.ReportMetric(slices.Max(all), "death-all-s")
}

// churn has every member change a claim each second, and one be cut off and come back every two seconds.
func (s *simulation) churn() {
	for _, m := range s.members {
		s.running.Go(func() {
			time.Sleep(rand.N(time.Second))
			for j := range int(period/time.Second) - 1 {
				m.claimed = service(m.number, 2+j%2)
				m.Claim(of(m.claimed))
				time.Sleep(time.Second)
			}
		})
	}
	s.running.Go(func() {
		for range period / (4 * time.Second) {
			s.members[flapping].wire.cut.Store(true)
			time.Sleep(2 * time.Second)
			s.members[flapping].wire.cut.Store(false)
			time.Sleep(2 * time.Second)
		}
	})
}

// flow reports what a member sends and receives in a second while f's changes go on, the processor time that it uses, and how often one
// comes back that another one took for dead.
func (s *simulation) flow(b *testing.B, name string, d time.Duration, f func()) {
	began, before := cpu(), s.count()
	f()
	time.Sleep(d)
	after := s.count()
	per := float64(len(s.members)) * d.Seconds()
	for i, what := range []string{"sent-packets/s", "sent-B/s", "received-packets/s", "received-B/s"} {
		b.ReportMetric(float64(after[i]-before[i])/per, name+what)
	}
	b.ReportMetric(float64(after[4]-before[4]), name+"came-back")
	b.ReportMetric(float64(after[5]-before[5]), name+"overflow-packets")
	b.ReportMetric(100*(cpu()-began).Seconds()/per, name+"cpu-%")
}

// count returns what all members have sent and received: packets and bytes sent, and received, how often another one has come back, and
// how many packets found no room.
func (s *simulation) count() (out [6]int64) {
	for _, m := range s.members {
		w := m.wire
		out[0] += w.sentPackets.Load()
		out[1] += w.sentBytes.Load()
		out[2] += w.receivedPackets.Load()
		out[3] += w.receivedBytes.Load()
		out[4] += m.joined.Load()
		out[5] += w.lostPackets.Load()
	}
	return out
}

// cpu returns the processor time that this process has used: in a bubble, no other clock is real.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
