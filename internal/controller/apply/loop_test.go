package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/text"
)

// fake notes when it was asked to apply how many announcements, and fails as often as it is told to.
type fake struct {
	start     time.Time
	calls     []call
	fails     int
	ran       bool
	told      []error
	forgotten int
	log       *[]string // of all backends of a test
	during    func()    // called in each Apply
	outcome   *backends.Outcome
	observe   func(backends.Outcome)
	name      string
	waits     []string // why it went on, each once
	heard     *Hearing // nil: it is
}

type call struct {
	after time.Duration
	n     int
}

func (f *fake) Apply(_ context.Context, want backends.Desired) error {
	f.calls = append(f.calls, call{time.Since(f.start), len(want.Announcements)})
	if f.log != nil {
		*f.log = append(*f.log, fmt.Sprint(f.name, " ", len(want.BGPAdvertisements)))
	}
	if f.during != nil {
		f.during()
	}
	if f.outcome != nil {
		f.observe(*f.outcome)
	}
	if f.fails--; f.fails >= 0 {
		return errors.New("no luck")
	}
	return nil
}

func (f *fake) Run(ctx context.Context) error {
	<-ctx.Done()
	f.ran = true
	return nil
}

func (f *fake) Report(_ context.Context, _ []string, _ *backends.Outcome, err error) error {
	f.told = append(f.told, err)
	return nil
}

func (f *fake) Forget(context.Context) error {
	f.forgotten++
	return nil
}

func (f *fake) Waits(_ context.Context, message string) (bool, error) {
	if len(f.waits) == 0 || f.waits[len(f.waits)-1] != message {
		f.waits = append(f.waits, message)
	}
	return true, nil
}

func (f *fake) hearing(*backends.BGPAdvertisement, *backends.Desired) Hearing {
	if f.heard == nil {
		return Hearing{}
	}
	return *f.heard
}

func desired(n int) backends.Desired {
	return backends.Desired{Announcements: make([]backends.Announcement, n)}
}

// pass lets time go by, and everything happen that is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// during runs a loop for a while of virtual time.
func during(t *testing.T, f *fake, d time.Duration, script func(set func(backends.Desired))) {
	synctest.Test(t, func(t *testing.T) {
		f.start = time.Now()
		g := NewGroup(NewLoop("fake", f, f, slog.New(slog.DiscardHandler)))
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		go script(func(d backends.Desired) { g.Set(map[string]Wanted{"fake": {Desired: d}}) })
		require.NoError(t, g.Run(ctx))
		assert.True(t, f.ran, "the backend's own Run was not run")
	})
}

func TestNothingIsAppliedBeforeItIsKnown(t *testing.T) {
	f := &fake{}
	during(t, f, time.Hour, func(func(backends.Desired)) {})
	assert.Empty(t, f.calls)
}

func TestChangesAreCoalesced(t *testing.T) {
	f := &fake{}
	during(t, f, 30*time.Second, func(set func(backends.Desired)) {
		for n := range 100 {
			set(desired(n))
		}
		pass(10 * time.Second)
		set(desired(0))
	})
	assert.Equal(t, []call{{coalesce, 99}, {10*time.Second + coalesce, 0}}, f.calls)
}

func TestDriftIsLookedForAtIntervals(t *testing.T) {
	f := &fake{}
	during(t, f, 2*resync+time.Second, func(set func(backends.Desired)) { set(desired(1)) })
	assert.Equal(t, []call{{coalesce, 1}, {coalesce + resync, 1}, {coalesce + 2*resync, 1}}, f.calls)
}

func TestFailuresAreTriedAgainEverLater(t *testing.T) {
	f := &fake{fails: 4}
	during(t, f, 50*time.Second, func(set func(backends.Desired)) { set(desired(1)) })
	require.Len(t, f.calls, 5)
	last := time.Duration(0)
	for i := 1; i < len(f.calls); i++ {
		pause := f.calls[i].after - f.calls[i-1].after
		assert.Greater(t, pause, last)
		last = pause
	}
	require.Len(t, f.told, 5)
	assert.Error(t, f.told[3])
	assert.NoError(t, f.told[4])
}

func TestAChangeDoesNotWaitForTheNextTry(t *testing.T) {
	f := &fake{fails: 5}
	during(t, f, 20*time.Second, func(set func(backends.Desired)) {
		set(desired(1))
		pass(10 * time.Second) // by now the pauses are longer than a second
		set(desired(2))
	})
	assert.Contains(t, f.calls, call{10*time.Second + coalesce, 2})
}

func TestMessage(t *testing.T) {
	at := func(prefix string, err error) error {
		return &backends.AnnounceError{Prefix: netip.MustParsePrefix(prefix), Err: err}
	}
	refused, bits := errors.New("refused"), errors.New("the prefix has host bits")
	assert.Equal(t, "refused", message(refused))
	assert.Equal(t, "10.0.0.0/24: refused", message(at("10.0.0.0/24", refused)))
	assert.Equal(t, "2001:db8::1/64: the prefix has host bits; 10.0.0.0/24 and 2 more: refused", message(errors.Join(
		at("2001:db8::1/64", bits),
		errors.Join(at("10.0.0.0/24", refused), at("10.0.1.0/24", refused), at("10.0.2.0/24", refused)),
	)))
	assert.Len(t, message(errors.New(strings.Repeat("x", 2*text.MaxMessage))), text.MaxMessage)
}
