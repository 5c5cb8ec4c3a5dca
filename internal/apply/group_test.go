package apply

import (
	"context"
	"log/slog"
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
		w.Desired.BGPAdvertisements = append(w.Desired.BGPAdvertisements, backends.BGPAdvertisement{Source: backends.Source{Kind: "BGPAdvertisement", Name: n}})
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
		g := NewGroup(NewLoop("a", a, a, quiet), NewLoop("b", b, b, quiet))
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
		time.Sleep(time.Second)
		b.fails = 2
		g.Set(map[string]Wanted{"b": wanting("x")})
	})
	assert.Equal(t, []string{"a 1", "b 0", "b 1", "b 1", "b 1", "a 0"}, log, "%q", log)
	assert.Equal(t, 1, a.forgotten)
}

func TestOneAdvertisementMoves(t *testing.T) {
	a, b := &fake{}, &fake{fails: 1}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x", "y")})
		time.Sleep(10 * time.Second)
		g.Set(map[string]Wanted{"a": wanting("y"), "b": wanting("x")})
	})
	last := log[len(log)-2:]
	assert.Equal(t, []string{"b 1", "a 1"}, last, "%q", log)
}

func TestWhatNobodyTakesOverGoesAtOnce(t *testing.T) {
	a, b := &fake{}, &fake{fails: 1000}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		time.Sleep(10 * time.Second)
		g.Set(map[string]Wanted{"b": wanting("other")})
	})
	assert.Contains(t, log, "a 0", "%q", log)
}

func TestNothingNewIsNotApplied(t *testing.T) {
	a, b := &fake{}, &fake{}
	log := together(t, a, b, func(g *Group) {
		for range 10 {
			g.Set(map[string]Wanted{"a": wanting("x")})
			time.Sleep(time.Second)
		}
	})
	assert.Equal(t, []string{"a 1", "b 0"}, log)
}

// TestTheSameSetWhileItIsApplied: to be told the same again in the midst of it does not keep the other from letting go.
func TestTheSameSetWhileItIsApplied(t *testing.T) {
	a, b := &fake{}, &fake{}
	log := together(t, a, b, func(g *Group) {
		g.Set(map[string]Wanted{"a": wanting("x")})
		time.Sleep(time.Second)
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
		time.Sleep(time.Second)
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
