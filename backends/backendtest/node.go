package backendtest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// NodeFixture is a NodeBackend and the network that it speaks to.
type NodeFixture interface {
	// New returns a backend as a process that has just started has it.
	New(t testing.TB) backends.NodeBackend
	// States are desired sets to go between. The first is empty, none is heard like another; in the last one something fails.
	States() []NodeState
	// Heard returns as text what the network has of the node at present.
	Heard(t testing.TB) string
	// Told returns how often the network has been told of an address or a route, or of its end, without having asked.
	Told() int
}

// NodeState is a desired set with a name.
type NodeState struct {
	Name string
	Want backends.NodeDesired
	// Heard is what Heard comes to.
	Heard string
	// Fails are the prefixes that cannot be announced.
	Fails []netip.Prefix
}

const (
	// soon bounds how long the network may take to hear what was applied.
	soon = 20 * time.Second
	// quiet is for how long nothing is told when all has been told; what is repeated is repeated within it.
	quiet = 2500 * time.Millisecond
	// still is for how long nothing must come of an Apply without news.
	still = 500 * time.Millisecond
)

// RunNode runs the suite of backends of node scope.
func RunNode(t *testing.T, f NodeFixture) {
	s := &nodeSuite{f, f.States()}
	require.GreaterOrEqual(t, len(s.states), 3)
	require.True(t, isEmpty(s.states[0].Want), "the first state is not empty")
	t.Run("before Run the set is only stored", s.stored)
	t.Run("from one set to another", s.jumps)
	t.Run("an equal set costs no packet", s.equalSet)
	t.Run("the end of Run withdraws nothing", s.end)
}

func isEmpty(d backends.NodeDesired) bool { return len(d.Addresses)+len(d.Peers)+len(d.Routes) == 0 }

type nodeSuite struct {
	NodeFixture
	states []NodeState
}

// run has a backend serve until stop is called, or the test ends.
func run(t *testing.T, b backends.NodeBackend) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(t, b.Run(ctx))
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// to goes to a state and waits until it is heard.
func (s *nodeSuite) to(t *testing.T, b backends.NodeBackend, state NodeState) {
	t.Helper()
	require.Eventually(t, func() bool { // an interface may have to be found first
		var got []netip.Prefix
		for _, err := range backends.Flatten(b.Apply(t.Context(), state.Want)) {
			var failed *backends.AnnounceError
			if errors.As(err, &failed) {
				got = append(got, failed.Prefix)
			} else {
				require.NoError(t, err)
			}
		}
		return assert.ObjectsAreEqual(state.Fails, got)
	}, soon, 20*time.Millisecond, "to %q: what fails is not %v", state.Name, state.Fails)
	s.hears(t, state)
}

func (s *nodeSuite) hears(t *testing.T, state NodeState) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, state.Heard, s.Heard(t), "%q", state.Name) }, soon,
		20*time.Millisecond)
}

// settle waits until all that was to be told has been told.
func (s *nodeSuite) settle() {
	for last, since := s.Told(), time.Now(); time.Since(since) < quiet; time.Sleep(20 * time.Millisecond) {
		if now := s.Told(); now != last {
			last, since = now, time.Now()
		}
	}
}

func (s *nodeSuite) stored(t *testing.T) {
	b := s.New(t)
	state := s.states[1]
	before := s.Told()
	_ = b.Apply(t.Context(), state.Want)
	time.Sleep(still)
	assert.Equal(t, s.states[0].Heard, s.Heard(t))
	assert.Equal(t, before, s.Told())
	run(t, b)
	s.to(t, b, state)
}

func (s *nodeSuite) jumps(t *testing.T) {
	b := s.New(t)
	run(t, b)
	for _, state := range s.states {
		s.to(t, b, state)
	}
	for i := range s.states { // and back, two at a time
		s.to(t, b, s.states[(2*len(s.states)-2*i)%len(s.states)])
	}
	for _, state := range slices.Backward(s.states) {
		s.to(t, b, state)
	}
}

func (s *nodeSuite) equalSet(t *testing.T) {
	b := s.New(t)
	run(t, b)
	for _, state := range []NodeState{s.states[1], s.states[len(s.states)-1]} {
		s.to(t, b, state)
		s.settle()
		before := s.Told()
		_ = b.Apply(t.Context(), state.Want)
		time.Sleep(still)
		assert.Equal(t, before, s.Told(), "%q again", state.Name)
	}
}

func (s *nodeSuite) end(t *testing.T) {
	b := s.New(t)
	stop := run(t, b)
	s.to(t, b, s.states[1])
	s.settle()
	before := s.Told()
	stop()
	time.Sleep(still)
	assert.Equal(t, before, s.Told(), "ending a process is not the same as ending an announcement")
}
