// Package chaos mixes everything that users and misfortune do to a controller, and checks throughout that it keeps its promises.
package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/integration/testbed"
)

var (
	operationCount = flag.Int("chaos.operations", 70, "how many operations of users")
	killCount      = flag.Int("chaos.kills", 6, "how many kills of a controller, at least")
)

var bed *testbed.Bed

// A controller that is hurt in so many ways shows its data races, too.
func TestMain(m *testing.M) { os.Exit(testbed.MainWith(m, &bed, (*testbed.Bed).DetectRaces)) }

// chaos is one run.
type chaos struct {
	t   *testing.T
	ctx context.Context
	rng *rand.Rand

	namespaces []string // the first is the installation's
	class      string
	world      *world
	witness    *witness
	fleet      *fleet
	entries    []*entry
	probe      probe

	serial, serialOfReservation int

	journalMu sync.Mutex // protects journal
	journal   []string

	done, restarts, checks, regained, pending atomic.Int64
	slowest                                   atomic.Int64 // quiet point, in nanoseconds
}

// seed returns the seed of a random test: from the environment, to repeat a run, else a new one. It is printed.
func seed(t *testing.T) uint64 {
	n := rand.Uint64()
	if s := os.Getenv("FAIRLEAD_TEST_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("FAIRLEAD_TEST_SEED=%d repeats the operations of this run", n)
	return n
}

// TestChaos: whatever users do, and however often the controller is killed or frozen and the API server restarted, no address
// changes without a reason, none has two holders that may not share it, nobody waits while something free fits, and nothing leaks.
// The seed repeats operations and misfortunes in their order; at which moment a process is hit, no seed can repeat.
func TestChaos(t *testing.T) {
	c := &chaos{t: t, ctx: t.Context(), rng: rand.New(rand.NewPCG(seed(t), 0))}
	for range 3 {
		c.namespaces = append(c.namespaces, bed.Namespace(t))
	}
	c.class = "example.org/" + c.namespaces[0]
	c.probe = probe{namespace: bed.Namespace(t)}
	c.world = &world{pools: map[string]*pool{}, reservations: map[string]reservation{}, namespaces: map[string]map[string]string{}}
	c.witness = newWitness(c.class, c.namespaces, c.world)
	c.fleet = &fleet{namespace: c.namespaces[0], class: c.class}
	defer c.fleet.abandon()

	ctx, stop := context.WithCancel(c.ctx)
	watching, ctx := errgroup.WithContext(ctx)
	watching.Go(func() error { return c.witness.follow(ctx, bed.Client) })
	watching.Go(func() error { c.tell(ctx); return nil })
	finished := false
	defer func() {
		if !finished {
			c.report()
		}
	}()
	for territory := range territories {
		c.replace(c.found(territory, ""))
	}
	for i, r := range c.plan() {
		c.run(i, r)
	}
	c.end()
	stop()
	require.NoError(t, watching.Wait())
	c.unbroken()
	finished = true
	t.Logf("passed: %s", c.progress())
}

// tail is how many operations at the end of a round are on Services alone, without misfortunes. Whatever changes the configuration,
// and every restart, has all Services looked at again, which would hide that one was not woken when it should have been.
const tail = 8

// round is a stretch of operations between two quiet points.
type round struct {
	operations int
	elect      bool // with replicas and leader election
	events     map[int][]func()
}

// plan draws the rounds: how long they are, and which misfortune comes after which operation.
func (c *chaos) plan() []round {
	var rounds []round
	for left := *operationCount; left > 0; {
		n := min(left, 20+c.rng.IntN(20))
		if left-n < 20 {
			n = left
		}
		rounds = append(rounds, round{operations: n, elect: len(rounds)%5 == 1, events: map[int][]func(){}})
		left -= n
	}
	single := 0
	for _, r := range rounds {
		if !r.elect {
			single++
		}
	}
	seen := 0
	for i, r := range rounds {
		at := func(n int, event func()) { r.events[n] = append(r.events[n], event) }
		if r.elect {
			c.planReplicas(i, r, at)
			continue
		}
		share := *killCount*(seen+1)/single - *killCount*seen/single
		seen++
		for range share {
			at(c.rng.IntN(max(1, r.operations-tail)), c.kill)
		}
		if seen%2 == 1 {
			at(c.rng.IntN(max(1, r.operations-tail)), c.freeze)
		}
		if seen%4 == 1 {
			at(c.rng.IntN(max(1, r.operations-tail)), c.restartAPIServer)
		}
	}
	return rounds
}

// planReplicas has the leader lost in one of two ways, and others in passing.
func (c *chaos) planReplicas(i int, r round, at func(int, func())) {
	n := max(5, r.operations-tail)
	if i%10 == 1 {
		at(n/3, c.killLeader)
	} else {
		at(n/4, c.suspendLeader)
		at(n*2/3, c.wakeLeader)
	}
	at(c.rng.IntN(n/4), c.freeze)
	at(c.rng.IntN(n), c.killStandby)
	if i%10 == 6 {
		at(c.rng.IntN(n/5), c.restartAPIServer)
	}
}

// run carries out a round, and lets it settle.
func (c *chaos) run(i int, r round) {
	if len(c.fleet.running) == 0 || c.fleet.elect != r.elect {
		c.must(c.fleet.dissolve())
		c.must(c.fleet.form(r.elect))
	}
	c.say("round %d: %d operations, leader election %t", i, r.operations, r.elect)
	for n := range r.operations {
		c.operate(n < r.operations-tail)
		for _, event := range r.events[n] {
			event()
		}
		c.must(c.fleet.tend())
		c.unbroken()
	}
	c.quiet()
}

// operate carries out one operation, drawn by weight; one that changes the configuration only if it may.
func (c *chaos) operate(configure bool) {
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	for done := len(c.entries) < most/2 && c.one(2) && c.create(); !done; {
		n := c.rng.IntN(total)
		for _, o := range operations {
			if n -= o.weight; n < 0 {
				done = (configure || !o.configures) && o.do(c)
				break
			}
		}
	}
	c.done.Add(1)
	// Users come in bursts.
	switch n := c.rng.IntN(10); {
	case n == 0:
		time.Sleep(time.Duration(c.rng.IntN(400)) * time.Millisecond)
	case n < 4:
		time.Sleep(time.Duration(c.rng.IntN(60)) * time.Millisecond)
	}
}

// say notes what is done.
func (c *chaos) say(format string, args ...any) {
	c.journalMu.Lock()
	defer c.journalMu.Unlock()
	c.journal = append(c.journal, fmt.Sprintf("#%d +%.3f ", c.done.Load(), time.Since(c.witness.start).Seconds())+fmt.Sprintf(format, args...))
}

func (c *chaos) progress() string {
	c.witness.mu.Lock()
	defer c.witness.mu.Unlock()
	return fmt.Sprintf("%d operations in %s: %d kills, %d freezes, %d leaders deposed, %d API server restarts; %d Service events seen by %d watches (listed anew %d times); "+
		"%d quiet points, the slowest after %s; %d pending at the last one; %d held addresses regained",
		c.done.Load(), time.Since(c.witness.start).Round(time.Second), c.fleet.kills.Load(), c.fleet.freezes.Load(), c.fleet.deposed.Load(), c.restarts.Load(),
		c.witness.events, c.witness.watches, c.witness.relisted, c.checks.Load(), time.Duration(c.slowest.Load()).Round(time.Millisecond), c.pending.Load(), c.regained.Load())
}

// tell prints the progress every few seconds.
func (c *chaos) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
			c.t.Log(c.progress())
		}
	}
}

// must ends the run at an error.
func (c *chaos) must(err error) {
	c.t.Helper()
	require.NoError(c.t, err)
}

// unbroken ends the run at a breach.
func (c *chaos) unbroken() {
	c.t.Helper()
	found := c.witness.found()
	for i, b := range found {
		if i < 5 {
			c.t.Errorf("%s\n%s", b.what, strings.Join(b.history, "\n"))
		}
	}
	if len(found) > 0 {
		c.t.FailNow()
	}
}

// report shows what led to a failure.
func (c *chaos) report() {
	c.journalMu.Lock()
	defer c.journalMu.Unlock()
	c.t.Logf("failed: %s\nthe last operations:\n%s", c.progress(), strings.Join(c.journal[max(0, len(c.journal)-60):], "\n"))
	logs := c.fleet.last
	for _, p := range c.fleet.running {
		logs = append(logs, p.Log())
	}
	for _, log := range logs {
		lines := strings.Split(log, "\n")
		c.t.Logf("a controller's last words:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}
