package cni

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

// wholeEnv has all Rows run, not only the short ones, if it is "all".
const wholeEnv = "FAIRLEAD_TEST_CNI"

// patience is how long a change may take until the routers hear what is meant.
const patience = 20 * time.Second

// sessionPatience is the same where sessions are set up: a BIRD that a router turned away tries again after 5 s, and after twice as long each
// time, up to 30 s (error wait time in Calico's bird.cfg.template).
const sessionPatience = time.Minute

// hold is for how long routes have to stay as they are at the end of a step.
const hold = 500 * time.Millisecond

// Run goes through the Rows that are for a CNI, and those of its own. If it goes through all, it ends with a random walk.
func Run(t *testing.T, c CNI, own ...Row) {
	l := NewLab(t, c)
	defer func() {
		l.stop()
		if t.Failed() && l.controller != nil {
			t.Logf("controller:\n%s", l.controller.Log())
		}
	}()
	names := map[string]bool{}
	for _, row := range slices.Concat(rows(), own) {
		require.False(t, names[row.Name], "two rows are named %q", row.Name)
		names[row.Name] = true
		short := row.Short && !slices.Contains(row.Long, c.Name())
		if !short && os.Getenv(wholeEnv) != "all" || len(row.Only) > 0 && !slices.Contains(row.Only, c.Name()) {
			continue
		}
		t.Run(row.Name, func(t *testing.T) { l.run(t, row) })
	}
	if os.Getenv(wholeEnv) == "all" && walkers[c.Name()].routes != nil {
		t.Run("a random walk", l.walk)
	}
}

func (l *Lab) run(t *testing.T, row Row) {
	s := newScene(t, l)
	l.start(t, row.Args...)
	if row.OwnPeers {
		s.patience = sessionPatience
		s.withoutPeers()
	} else {
		s.withPeers()
	}
	s.await("no routes before the row", Routes{}, nil)
	if c, ok := l.cni.(Settler); ok {
		c.Settle(t, l)
	}
	defer func() {
		s.end()
		if row.OwnPeers {
			s.withoutPeers()
		}
	}()
	targets := map[string]bool{}
	for _, step := range row.Steps {
		routes, err := Parse(step.Routes, nodeNames)
		require.NoError(t, err)
		maps.Copy(targets, targetsOf(routes))
	}
	before := Routes{}
	for _, step := range row.Steps {
		after, err := Parse(step.Routes, nodeNames)
		require.NoError(t, err)
		told, interrupts := step.Told, step.Interrupts
		if instead, ok := step.Instead[l.cni.Name()]; ok {
			require.NotEmpty(t, instead.Told, "%s: nothing says that it cannot be done", step.Change)
			after, err = Parse(instead.Routes, nodeNames)
			require.NoError(t, err)
			told, interrupts = instead.Told, instead.Interrupts
		} else if step.Same {
			after = before
		}
		maps.Copy(targets, targetsOf(after))
		if !s.step(&step, before, after, targets, told, interrupts) {
			t.FailNow() // what comes next would build on it
		}
		before = after
	}
}

// step makes a change and judges what came of it.
func (s *Scene) step(step *Step, before, after Routes, targets map[string]bool, told string, interrupts bool) bool {
	s.Helper()
	sessions := s.Lab.sessions(s)
	s.Lab.watcher.reset()
	start := time.Now()
	for service, nodes := range step.Endpoints {
		s.SetEndpoints(service, strings.Fields(nodes)...)
	}
	if step.Apply != "" {
		s.Apply(step.Apply)
	}
	for _, name := range step.Delete {
		s.Remove(name)
	}
	for _, change := range step.Label {
		s.Label(change)
	}
	if step.Do != nil {
		step.Do(s)
	}
	took := s.await(step.Change, after, targets)
	if step.WithinSeconds > 0 {
		s.tell(step.Change, told)
		took = time.Since(start)
		require.LessOrEqual(s, took, time.Duration(step.WithinSeconds)*time.Second, step.Change)
	}
	held := hold
	if step.HoldSeconds > 0 {
		held = time.Duration(step.HoldSeconds) * time.Second
	}
	samples := s.stay(held)
	meanwhile, err := Parse(step.Meanwhile, nodeNames)
	require.NoError(s, err)
	faults := slices.DeleteFunc(judge(samples, start, before, after, targets), func(f string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(meanwhile)), func(r Route) bool { return strings.HasPrefix(f, "heard and not meant: "+r.String()+" (") })
	})
	if interrupts {
		faults = slices.DeleteFunc(faults, func(f string) bool { return strings.HasPrefix(f, "meant and not heard") })
	}
	if !step.Resets {
		faults = append(faults, s.lost(sessions, step.Ends[s.Lab.cni.Name()])...)
	}
	s.tell(step.Change, told)
	s.Logf("%s: after %.1f s", step.Change, took.Seconds())
	if len(faults) > 0 {
		s.Errorf("%s:\n  %s", step.Change, strings.Join(faults, "\n  "))
	}
	return len(faults) == 0
}

// tell waits until the user is told something of a change.
func (s *Scene) tell(change, told string) {
	s.Helper()
	if told == "" {
		return
	}
	testbed.Eventually(s, fmt.Sprintf("%s: somebody to say %q", change, told), func(ctx context.Context) error {
		said, err := s.said(ctx)
		if err == nil && !strings.Contains(said, told) {
			err = errors.New("said is\n" + said)
		}
		return err
	})
}

// lost says which sessions that were there are there no more, or are others, but for those of a node that has left, and of ends, a node's name.
func (s *Scene) lost(sessions map[string]int, ends string) []string {
	s.Helper()
	var out []string
	now := s.Lab.sessions(s)
	for who, was := range sessions {
		_, addr, _ := strings.Cut(who, " ")
		node := s.Lab.nodeOf(addr)
		switch count := now[who]; {
		case count == was || node == ends || s.Lab.leave[node] == nil:
		case count == 0:
			out = append(out, "session lost: "+who)
		default:
			out = append(out, "session set up anew: "+who)
		}
	}
	return out
}

// await waits until the routers have just these routes, and returns how long that took.
func (s *Scene) await(what string, want Routes, also map[string]bool) time.Duration {
	s.Helper()
	start := time.Now()
	targets := targetsOf(want)
	maps.Copy(targets, also)
	deadline := time.After(s.patience)
	for {
		samples, next, err := s.Lab.watcher.read()
		require.NoError(s, err)
		last := samples[len(samples)-1]
		has := reduce(last.seen, targets)
		if last.at.After(start) && maps.Equal(has, want) {
			return last.at.Sub(start)
		}
		select {
		case <-next:
		case <-deadline:
			said, _ := s.said(s.Context())
			require.FailNow(s, "never heard as meant", "%s:\nheard and not meant:\n%s\nmeant and not heard:\n%s\nsaid is\n%s", what, has.without(want), want.without(has), said)
		}
	}
}

// stay returns the samples when a time is over.
func (s *Scene) stay(for_ time.Duration) []sample {
	end := time.Now().Add(for_)
	for {
		samples, next, err := s.Lab.watcher.read()
		require.NoError(s, err)
		if len(samples) > 0 && samples[len(samples)-1].at.After(end) {
			return samples
		}
		<-next
	}
}
