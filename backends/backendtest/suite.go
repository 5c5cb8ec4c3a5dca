// Package backendtest is the conformance suite of backends of cluster scope, which reach the network by writing objects to the API
// server: it drives a backend through desired sets, on a real API server, and looks at what it wrote and how.
package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// Fixture is a backend and the cluster it writes to.
type Fixture interface {
	// New returns a backend as a process that has just started has it. What it keeps outside the API server, like a ledger, is that
	// of the process before. Its requests go through the Recorder, whose Next it sets.
	New(t testing.TB, r *Recorder) backends.ClusterBackend
	// States are desired sets to go between. The first is empty, none is equal to another.
	States() []State
	// AddForeign adds entries of somebody else: beside, before and after those of the backend, and equal to some of them where the
	// CNI allows that.
	AddForeign(t testing.TB)
	// Dump returns everything of the cluster that matters as text, entries of others included, without what differs between two
	// equal clusters: versions, times and unique identifiers.
	Dump(t testing.TB) string
	// Versions returns the versions of all objects, as text.
	Versions(t testing.TB) string
	// Reset removes everything that the backend or AddForeign wrote, and what is kept outside the API server.
	Reset(t testing.TB)
}

// State is a desired set with a name.
type State struct {
	Name string
	Want backends.Desired
}

// patience bounds how often a backend may say that it is in progress.
const patience = 500

// SeedEnv names the variable that repeats the random part of a run.
const SeedEnv = "FAIRLEAD_TEST_SEED"

// suite is one run.
type suite struct {
	Fixture
	states []State
	golden map[string]string // what each state looks like, by its name
}

// Run runs the suite.
func Run(t *testing.T, f Fixture) {
	s := &suite{Fixture: f, states: f.States()}
	require.GreaterOrEqual(t, len(s.states), 3)
	f.Reset(t)
	clean := f.Dump(t)
	s.golden = s.learn(t, func() {})
	require.Equal(t, clean, s.golden[s.states[0].Name], "the first state is not empty")
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"an equal set costs no write", s.equalSet},
		{"adds before it removes", s.order},
		{"survives a failed write", s.failedWrites},
		{"leaves foreign entries alone", s.foreign},
		{"random jumps end in the golden state", s.jumps},
		{"Run ends with its context", s.run},
	} {
		f.Reset(t)
		t.Run(part.name, part.test)
	}
	f.Reset(t)
}

// learn returns what each state looks like after a fresh backend on a cluster that prepare has made ready.
func (s *suite) learn(t *testing.T, prepare func()) map[string]string {
	out := map[string]string{}
	for _, state := range s.states {
		s.Reset(t)
		prepare()
		s.start(t).to(state)
		out[state.Name] = s.Dump(t)
	}
	s.Reset(t)
	return out
}

// process is a backend in use.
type process struct {
	t       testing.TB
	backend backends.ClusterBackend
	*Recorder
}

func (s *suite) start(t testing.TB) *process {
	r := &Recorder{}
	b := s.New(t, r)
	require.NotNil(t, r.Next, "the fixture has not connected the Recorder")
	return &process{t, b, r}
}

// apply calls Apply until it is not in progress any more.
func (p *process) apply(want backends.Desired) error {
	for range patience {
		err := p.backend.Apply(p.t.Context(), want)
		if !errors.Is(err, backends.ErrInProgress) {
			return err
		}
	}
	return fmt.Errorf("after %d calls still %w", patience, backends.ErrInProgress)
}

func (p *process) to(s State) {
	p.t.Helper()
	require.NoError(p.t, p.apply(s.Want), "to %q", s.Name)
}

// equalSet: the same set again costs no write and changes no object, also after a restart.
func (s *suite) equalSet(t *testing.T) {
	for _, state := range s.states {
		p := s.start(t)
		p.to(state)
		before := s.Versions(t)
		p.Take()
		require.NoError(t, p.backend.Apply(t.Context(), state.Want))
		assert.Empty(t, p.Take(), "%q again", state.Name)
		again := s.start(t)
		require.NoError(t, again.backend.Apply(t.Context(), state.Want))
		assert.Empty(t, again.Take(), "%q after a restart", state.Name)
		assert.Equal(t, before, s.Versions(t), "%q", state.Name)
	}
}

// order: within one Apply nothing is written after the first deletion.
func (s *suite) order(t *testing.T) {
	for _, from := range s.states {
		for _, to := range s.states {
			p := s.start(t)
			p.to(from)
			for range patience {
				p.Take()
				err := p.backend.Apply(t.Context(), to.Want)
				writes := p.Take()
				first := slices.IndexFunc(writes, func(w Write) bool { return w.Method == http.MethodDelete })
				if first >= 0 {
					after := slices.ContainsFunc(writes[first:], func(w Write) bool { return w.Method != http.MethodDelete })
					assert.False(t, after, "from %q to %q: adds after it has removed: %v", from.Name, to.Name, writes)
				}
				if !errors.Is(err, backends.ErrInProgress) {
					require.NoError(t, err, "from %q to %q", from.Name, to.Name)
					break
				}
			}
			assert.Equal(t, s.golden[to.Name], s.Dump(t), "from %q to %q", from.Name, to.Name)
		}
	}
}

// failedWrites: each write of a transition fails once, before or after it is carried out; that is reported, and the next Apply
// repairs it, by the same process or one that has just started.
func (s *suite) failedWrites(t *testing.T) {
	for i, to := range s.states {
		from := s.states[(i+1)%len(s.states)]
		for n := 1; ; n++ {
			p := s.start(t)
			p.to(from)
			p.Take()
			lost := (n+i)%2 == 0
			p.FailWrite(n, lost)
			err := p.apply(to.Want)
			if len(p.Take()) < n {
				require.NoError(t, err)
				break
			}
			what := fmt.Sprintf("from %q to %q, write %d fails, carried out: %v", from.Name, to.Name, n, lost)
			assert.Error(t, err, what)
			p.FailWrite(0, false)
			if n%3 == 0 {
				p = s.start(t)
			}
			require.NoError(t, p.apply(to.Want), what)
			assert.Equal(t, s.golden[to.Name], s.Dump(t), what)
		}
	}
}

// foreign: entries of somebody else are there at the end as at the beginning, in every state.
func (s *suite) foreign(t *testing.T) {
	s.AddForeign(t)
	untouched := s.Dump(t)
	golden := s.learn(t, func() { s.AddForeign(t) })
	assert.Equal(t, untouched, golden[s.states[0].Name], "the empty set is not the same as nothing")
	s.AddForeign(t)
	p := s.start(t)
	for _, state := range append(s.states[1:], s.states[0]) {
		p.to(state)
		assert.Equal(t, golden[state.Name], s.Dump(t), "%q among foreign entries", state.Name)
	}
	assert.Equal(t, untouched, s.Dump(t), "the empty set removes exactly what is owned")
}

// jumps: whatever came before, restarts and failures included, a state looks as on a clean cluster.
func (s *suite) jumps(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv(SeedEnv); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		require.NoError(t, err, SeedEnv)
	}
	t.Logf("%s=%d repeats this run", SeedEnv, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	steps := 60
	if testing.Short() {
		steps = 15
	}
	p := s.start(t)
	var way []string
	for range steps {
		state := s.states[random.IntN(len(s.states))]
		way = append(way, state.Name)
		switch random.IntN(4) {
		case 0:
			p = s.start(t)
			way = append(way, "(restart)")
		case 1:
			n := 1 + random.IntN(4)
			p.FailWrite(n, random.IntN(2) == 0)
			way = append(way, fmt.Sprintf("(write %d fails)", n))
			_ = p.backend.Apply(t.Context(), state.Want) // and on to another state, whatever it did
			p.FailWrite(0, false)
			continue
		}
		p.to(state)
		require.Equal(t, s.golden[state.Name], s.Dump(t), "after %v", way)
	}
	p.to(s.states[0])
	assert.Equal(t, s.golden[s.states[0].Name], s.Dump(t))
}

// run: Run blocks until its context ends, and then returns nil without a write.
func (s *suite) run(t *testing.T) {
	p := s.start(t)
	p.to(s.states[1])
	p.Take()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.backend.Run(ctx) }()
	cancel()
	assert.NoError(t, <-done)
	assert.Empty(t, p.Take(), "ending a process is not the same as ending an announcement")
	assert.Equal(t, s.golden[s.states[1].Name], s.Dump(t))
}
