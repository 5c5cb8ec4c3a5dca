package apply

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// wanting is a set with so many advertisements.
func wanting(names ...string) Wanted {
	var w Wanted
	for _, n := range names {
		w.Desired.BGPAdvertisements = append(w.Desired.BGPAdvertisements, backends.BGPAdvertisement{
			Source: backends.Source{Kind: "BGPAdvertisement", Name: n}, Pools: []backends.Pool{{Name: "of-" + n}},
		})
	}
	return w
}

// together runs the loops of two backends for a while of virtual time, and returns what was applied, in order.
func together(t *testing.T, a, b *fake, script func(*Group)) []string {
	var log []string
	synctest.Test(t, func(t *testing.T) {
		a.start, a.name, a.log = time.Now(), "a", &log
		b.start, b.name, b.log = time.Now(), "b", &log
		quiet := slog.New(slog.DiscardHandler)
		first, second := NewLoop("a", a, a, quiet), NewLoop("b", b, b, quiet)
		a.observe, b.observe = first.Observe, second.Observe
		first.Heard, second.Heard = a.hearing, b.hearing
		g := NewGroup(first, second)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		go script(g)
		require.NoError(t, g.Run(ctx))
	})
	return log
}

func TestTheNewOneComesFirst(t *testing.T) {
	a, b := &fake{}, &fake{}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		pass(time.Second)
		b.fails = 2
		g.Set(map[string]Wanted{"b": wanting("x")})
	})
	assert.Equal(t, []string{"a 1", "b 0", "b 1", "b 1", "b 1", "a 0"}, log, "%q", log)
	assert.Equal(t, 1, a.forgotten)
}

// TestTheNewOneIsSilent: what the new one has written and nobody hears is not taken over; the old one lets go as soon as it is heard, and of nothing
// else.
func TestTheNewOneIsSilent(t *testing.T) {
	x := backends.Source{Kind: "BGPAdvertisement", Name: "x"}
	y := backends.Source{Kind: "BGPAdvertisement", Name: "y"}
	for name, o := range map[string]backends.Outcome{
		"nobody acts on it":       {Findings: []backends.Finding{{Type: backends.BackendInactive, Object: x}}},
		"a session is missing":    {Findings: []backends.Finding{{Type: backends.PeerExists, Object: backends.Source{Kind: "BGPPeer", Name: "tor"}, Missing: true}}},
		"it is withheld":          {Findings: []backends.Finding{{Type: backends.UnsupportedField, Object: x, Withheld: true}}},
		"a family is not heard":   {Unheard: map[backends.Audience]string{{Advertisement: x, IPv6: true}: "no session"}},
		"a pool is not there":     {Pools: map[string]backends.PoolOutcome{"of-x": {Message: "selected by 0 peer configs"}}},
		"the configuration hangs": {Findings: []backends.Finding{{Type: backends.ConfigFrozen, Object: backends.Source{Kind: "IPPool", Name: "p"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := &fake{}, &fake{outcome: &o}
			log := together(t, a, b, func(g *Group) {
				g.Set(map[string]Wanted{"a": wanting("x", "y")})
				pass(time.Second)
				g.Set(map[string]Wanted{"b": wanting("x", "y")})
				pass(5 * time.Second)
				assert.NotContains(t, *a.log, "a 0", "%q", *a.log)
				g.Set(map[string]Wanted{"b": wanting("x", "y", "z")}) // nothing changes for a
				pass(5 * time.Second)
				assert.NotContains(t, *a.log, "a 0", "%q", *a.log)
				g.Set(map[string]Wanted{"a": wanting("w"), "b": wanting("x", "y")})
				pass(5 * time.Second)
				assert.Equal(t, 1, count(*a.log, "a "), "%q", *a.log)
				b.outcome = &backends.Outcome{}
				g.Look("b")
			})
			assert.Equal(t, "a 1", log[len(log)-1], "%q", log)
		})
	}
	a, b := &fake{}, &fake{outcome: &backends.Outcome{Findings: []backends.Finding{{Type: backends.BackendInactive, Object: y}}}}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		pass(time.Second)
		g.Set(map[string]Wanted{"b": wanting("x", "y")})
	})
	assert.Equal(t, "a 0", log[len(log)-1], "that y is not heard is no matter of a's: %q", log)
}

// TestTheNewOneIsNotHeard: what nobody is known to hear from the new one is not let go of by the old one: without end, or for as long as it is
// worth waiting for.
func TestTheNewOneIsNotHeard(t *testing.T) {
	for _, tc := range []struct {
		name    string
		hearing Hearing
		lets    bool
	}{
		{"heard", Hearing{}, true},
		{"a session is down", Hearing{Lacks: "n1 is Active"}, false},
		{"nobody says", Hearing{Lacks: "n1 has not said", Within: 10 * time.Second}, true},
		{"nobody says, and not for long enough", Hearing{Lacks: "n1 has not said", Within: time.Hour}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := &fake{}, &fake{heard: &tc.hearing}
			log := together(t, a, b, func(g *Group) {
				g.Set(map[string]Wanted{"a": wanting("x")})
				pass(time.Second)
				g.Set(map[string]Wanted{"b": wanting("x")})
				pass(5 * time.Second)
				assert.Equal(t, tc.hearing.Lacks == "", slices.Contains(*a.log, "a 0"), "%q", *a.log)
				g.Set(map[string]Wanted{"b": wanting("x", "y")}) // the time is that of x
			})
			assert.Equal(t, tc.lets, slices.Contains(log, "a 0"), "%q", log)
			if tc.hearing.Lacks == "" {
				assert.Empty(t, a.waits)
				return
			}
			require.Len(t, a.waits, 1, "it is told once")
			assert.Contains(t, a.waits[0], "b: BGPAdvertisement/x: "+tc.hearing.Lacks)
			assert.Equal(t, tc.hearing.Within > 0, strings.Contains(a.waits[0], "; this is waited for until "))
		})
	}
	a, b := &fake{}, &fake{heard: &Hearing{Lacks: "n1 is Active"}}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		pass(time.Second)
		g.Set(map[string]Wanted{"b": wanting("x")})
		pass(5 * time.Second)
		b.heard = &Hearing{}
		g.Reconsider()
		pass(time.Second)
		assert.Contains(t, *a.log, "a 0", "it lets go when a session comes up")
	})
	assert.Equal(t, 1, count(log, "a 0"), "%q", log)
}

// TestChangingPlaces: two that wait for each other would wait for ever.
func TestChangingPlaces(t *testing.T) {
	a, b := &fake{}, &fake{}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x", "x2"), "b": wanting("y")})
		pass(time.Second)
		g.Set(map[string]Wanted{"a": wanting("y"), "b": wanting("x", "x2")})
	})
	assert.Equal(t, []string{"a 1", "b 2"}, log[len(log)-2:], "%q", log)
}

// count returns how many lines begin so.
func count(lines []string, prefix string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func TestOneAdvertisementMoves(t *testing.T) {
	a, b := &fake{}, &fake{fails: 1}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x", "y")})
		pass(10 * time.Second)
		g.Set(map[string]Wanted{"a": wanting("y"), "b": wanting("x")})
	})
	last := log[len(log)-2:]
	assert.Equal(t, []string{"b 1", "a 1"}, last, "%q", log)
}

func TestWhatNobodyTakesOverGoesAtOnce(t *testing.T) {
	a, b := &fake{}, &fake{fails: 1000}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		pass(10 * time.Second)
		g.Set(map[string]Wanted{"b": wanting("other")})
	})
	assert.Contains(t, log, "a 0", "%q", log)
}

func TestNothingNewIsNotApplied(t *testing.T) {
	a, b := &fake{}, &fake{}
	log := together(t, a, b, func(g *Group) {
		for range 10 {
			g.Set(map[string]Wanted{"a": wanting("x")})
			pass(time.Second)
		}
	})
	assert.Equal(t, []string{"a 1", "b 0"}, log)
}

// TestTheSameSetWhileItIsApplied: to be told the same again in the midst of it does not keep the other from letting go.
func TestTheSameSetWhileItIsApplied(t *testing.T) {
	a, b := &fake{}, &fake{}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		pass(time.Second)
		b.during = func() {
			b.during = nil
			g.Set(map[string]Wanted{"b": wanting("x")})
		}
		g.Set(map[string]Wanted{"b": wanting("x")})
	})
	assert.Equal(t, []string{"a 1", "b 0", "b 1", "a 0"}, log)
}

// TestLettingGoAgainWaitsAnew: one that has failed to let go, and then has to wait again, is woken when it may.
func TestLettingGoAgainWaitsAnew(t *testing.T) {
	a, b := &fake{}, &fake{}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		pass(time.Second)
		a.fails = 1
		a.during = func() { // a lets go of x, and fails; before it tries again, b has more to do, and fails at first
			a.during = nil
			b.fails = 1
			g.Set(map[string]Wanted{"b": wanting("x", "y")})
		}
		g.Set(map[string]Wanted{"b": wanting("x")})
	})
	assert.Equal(t, "a 0", log[len(log)-1], "%q", log)
	assert.Equal(t, 1, a.forgotten, "%q", log)
	assert.Contains(t, log, "b 2", "%q", log)
}

// TestHeeded: a backend that advertises all addresses of a Service or none heeds those Services that have addresses of two pools.
func TestHeeded(t *testing.T) {
	all := []backends.Service{{Name: "a", Pool: "main"}, {Name: "b", Pool: "four,six"}}
	assert.Empty(t, heeded(&backends.Outcome{IgnoresServices: true}, all))
	assert.Equal(t, all[1:], heeded(&backends.Outcome{IgnoresServices: true, WholeServices: true}, all))
	all[0].Local = true
	local := []backends.Service{{Pool: "main", Local: true}}
	assert.Equal(t, local, heeded(&backends.Outcome{IgnoresServices: true}, all))
	assert.Equal(t, local, heeded(&backends.Outcome{IgnoresServices: true}, append(all, backends.Service{Name: "c", Pool: "main", Local: true})), "one more is no news")
}
