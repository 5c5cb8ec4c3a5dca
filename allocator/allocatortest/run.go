// Package allocatortest checks that a Provider of addresses keeps what allocator.Provider promises.
package allocatortest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/allocator"
)

// Fixture is a Provider to be checked, and what the suite has to know of it.
type Fixture struct {
	// Provider has no claims.
	Provider allocator.Provider
	// Pool has exactly Size addresses of Family, at least 3 and at most 16, all within Range.
	Pool   string
	Family allocator.Family
	Range  netip.Prefix
	Size   int
	// Restart returns the same Provider as a process that starts anew sees it; nil: it does not outlive the process.
	Restart func(t *testing.T) allocator.Provider
	// Adopts: an owner that has a free address already is given exactly this one.
	Adopts bool
}

// patience is how long an answer may take. It is no measurement: a Provider that works is far below.
const patience = 30 * time.Second

// Run checks a Provider; fixture returns a new one for each test.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	for _, x := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"an address, and the same again", idempotent},
		{"no address twice, not even at once", distinct},
		{"what is released is given again", released},
		{"releasing nothing is no error", nothingReleased},
		{"no such pool", unknownPool},
		{"what was given is listed, after a restart too", listed},
		{"an owner keeps what it has", adopted},
	} {
		t.Run(x.name, func(t *testing.T) { x.test(t, watched(t, fixture(t))) })
	}
}

// suite is a Fixture whose Watch is followed.
type suite struct {
	Fixture
	mu   sync.Mutex
	told map[string]int
	news chan struct{}
}

func watched(t *testing.T, f Fixture) *suite {
	s := &suite{Fixture: f, told: map[string]int{}, news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- f.Provider.Watch(ctx, func(id string) {
			s.mu.Lock()
			s.told[id]++
			s.mu.Unlock()
			select {
			case s.news <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done, "Watch ends with its context")
	})
	return s
}

func (s *suite) claim(i int) allocator.Claim {
	return allocator.Claim{
		ID: fmt.Sprintf("claim-%d", i), Owner: allocator.Owner{Namespace: "default", Name: fmt.Sprintf("web-%d", i)},
		Family: s.Family, Pool: s.Pool,
	}
}

// await asks until the answer is as it should be; between two tries it waits for Watch to tell of something.
func (s *suite) await(t *testing.T, p allocator.Provider, c allocator.Claim, good func(allocator.Answer) bool) allocator.Answer {
	t.Helper()
	deadline := time.After(patience)
	for {
		got, err := p.Ask(t.Context(), c)
		if err == nil && good(got) {
			return got
		}
		select {
		case <-s.news:
		case <-deadline:
			require.FailNow(t, "no such answer, or Watch did not tell of it", "claim %+v: %+v, %v", c, got, err)
		}
	}
}

func given(a allocator.Answer) bool { return a.Addr.IsValid() }

func (s *suite) address(t *testing.T, c allocator.Claim) netip.Addr {
	t.Helper()
	addr := s.await(t, s.Provider, c, given).Addr
	assert.True(t, s.Range.Contains(addr), "%s is outside %s", addr, s.Range)
	assert.Equal(t, c.Family, allocator.FamilyOf(addr))
	return addr
}

func idempotent(t *testing.T, s *suite) {
	first := s.address(t, s.claim(0))
	for range 3 {
		again, err := s.Provider.Ask(t.Context(), s.claim(0))
		require.NoError(t, err)
		assert.Equal(t, first, again.Addr)
	}
	all, err := s.Provider.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, all, 1)
}

func distinct(t *testing.T, s *suite) {
	var wg sync.WaitGroup
	for i := range s.Size {
		for range 2 { // each claim is made by two at once
			wg.Go(func() {
				_, err := s.Provider.Ask(t.Context(), s.claim(i))
				assert.NoError(t, err)
			})
		}
	}
	wg.Wait()
	seen := map[netip.Addr]int{}
	for i := range s.Size {
		addr := s.address(t, s.claim(i))
		other, twice := seen[addr]
		assert.False(t, twice, "%s was given to claims %d and %d", addr, other, i)
		seen[addr] = i
	}
	one, err := s.Provider.Ask(t.Context(), s.claim(s.Size))
	require.NoError(t, err)
	assert.False(t, one.Addr.IsValid(), "the pool has no address left, and %s was given", one.Addr)
}

func released(t *testing.T, s *suite) {
	var last netip.Addr
	for i := range s.Size {
		last = s.address(t, s.claim(i))
	}
	_, err := s.Provider.Ask(t.Context(), s.claim(s.Size))
	require.NoError(t, err)
	require.NoError(t, s.Provider.Release(t.Context(), s.claim(s.Size-1).ID))
	assert.Equal(t, last, s.await(t, s.Provider, s.claim(s.Size), given).Addr, "the only address that is free")
	assert.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.told[s.claim(s.Size).ID] > 0
	}, patience, time.Millisecond, "Watch told of who was waiting")
}

func nothingReleased(t *testing.T, s *suite) {
	assert.NoError(t, s.Provider.Release(t.Context(), "never-asked-for"))
	s.address(t, s.claim(0))
	for range 2 {
		assert.NoError(t, s.Provider.Release(t.Context(), s.claim(0).ID))
	}
}

func unknownPool(t *testing.T, s *suite) {
	c := s.claim(0)
	c.Pool += "-unknown"
	got, err := s.Provider.Ask(t.Context(), c)
	require.NoError(t, err, "that is no reason to ask again at once")
	assert.False(t, got.Addr.IsValid())
	state, err := s.Provider.Pool(t.Context(), c.Pool)
	require.NoError(t, err)
	assert.Equal(t, allocator.RefusedPool, state.Refusal)
	assert.Contains(t, state.Why, c.Pool, "it says which pool there is not")
	state, err = s.Provider.Pool(t.Context(), s.Pool)
	require.NoError(t, err)
	assert.Empty(t, state.Refusal)
	s.address(t, s.claim(1))
}

func listed(t *testing.T, s *suite) {
	want := map[string]netip.Addr{}
	for i := range s.Size {
		want[s.claim(i).ID] = s.address(t, s.claim(i))
	}
	check := func(p allocator.Provider) {
		all, err := p.List(t.Context())
		require.NoError(t, err)
		got := map[string]netip.Addr{}
		for _, x := range all {
			got[x.ID] = x.Answer.Addr
			assert.Equal(t, s.Family, x.Family)
			assert.Equal(t, s.Pool, x.Pool)
			assert.Equal(t, "default", x.Owner.Namespace)
		}
		assert.Equal(t, want, got)
	}
	check(s.Provider)
	if s.Restart != nil {
		check(s.Restart(t))
	}
}

func adopted(t *testing.T, s *suite) {
	first, second := s.address(t, s.claim(0)), s.address(t, s.claim(1))
	require.NotEqual(t, first, second)
	require.NoError(t, s.Provider.Release(t.Context(), s.claim(1).ID))
	c := s.claim(2)
	c.Has = first
	assert.NotEqual(t, first, s.await(t, s.Provider, c, given).Addr, "it is somebody else's")
	if !s.Adopts {
		return
	}
	require.NoError(t, s.Provider.Release(t.Context(), c.ID))
	c = s.claim(3)
	c.Has = second
	s.await(t, s.Provider, c, func(a allocator.Answer) bool { return a.Addr == second })
}
