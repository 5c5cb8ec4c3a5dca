package speaker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/internal/announce"
)

func TestHandover(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	type placements = map[netip.Addr]*announce.Placement
	at := func(node string) placements {
		return placements{v4: {Node: node, Interfaces: []string{"eth0"}}, v6: {Node: node}}
	}
	both := map[netip.Addr][]string{v4: {"eth0"}, v6: nil}
	silent := map[netip.Addr][]string{}
	nobody := func(string, netip.Addr) bool { return false }
	b := func(node string, addr netip.Addr) bool { return node == "b" && addr == v4 }
	start := time.Now()
	type step struct {
		after time.Duration
		d     placements
		claim func(string, netip.Addr) bool
		want  map[netip.Addr][]string
		again time.Duration // 0: never
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{name: "somebody else's", steps: []step{{d: at("b"), claim: b, want: silent}}},
		{name: "moves when the other has announced", steps: []step{
			{d: at("a"), claim: nobody, want: both},
			{after: time.Second, d: at("b"), claim: nobody, want: both, again: 3 * time.Second},
			{after: 2 * time.Second, d: at("b"), claim: b, want: both, again: 2*time.Second + linger},
			{after: 2*time.Second + linger/2, d: at("b"), claim: b, want: both, again: 2*time.Second + linger},
			{after: 2*time.Second + linger, d: at("b"), claim: b, want: map[netip.Addr][]string{v6: nil}, again: 3 * time.Second},
			{after: 3 * time.Second, d: at("b"), claim: b, want: silent},
		}},
		{name: "comes back", steps: []step{
			{d: at("a"), claim: nobody, want: both},
			{after: time.Second, d: at("b"), claim: nobody, want: both, again: 3 * time.Second},
			{after: 2 * time.Second, d: at("a"), claim: nobody, want: both},
			{after: 9 * time.Second, d: at("b"), claim: nobody, want: both, again: 11 * time.Second},
		}},
		{name: "nobody may", steps: []step{{d: at("a"), claim: nobody, want: both}, {after: time.Second, d: at(""), claim: nobody, want: silent}}},
		{name: "the Service is gone", steps: []step{{d: at("a"), claim: nobody, want: both}, {after: time.Second, claim: nobody, want: silent}}},
		{name: "the other had announced before", steps: []step{
			{d: at("a"), claim: nobody, want: both},
			{d: at("b"), claim: func(string, netip.Addr) bool { return true }, want: both, again: linger},
			{after: linger, d: at("b"), claim: func(string, netip.Addr) bool { return true }, want: silent},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHandover("a")
			for i, s := range tc.steps {
				got, again := h.settle(start.Add(s.after), []netip.Addr{v4, v6}, plan{placements: s.d, claims: s.claim})
				assert.Equal(t, s.want, got, "step %d", i)
				want := time.Time{}
				if s.again > 0 {
					want = start.Add(s.again)
				}
				assert.Equal(t, want, again, "step %d", i)
			}
		})
	}
}

// TestHandoverAnew: what was given up in silence is announced again although nothing has been decided anew.
func TestHandoverAnew(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.1")
	h := newHandover("a")
	p := plan{placements: map[netip.Addr]*announce.Placement{v4: {Node: "a", Interfaces: []string{"eth0"}}}}
	want := map[netip.Addr][]string{v4: {"eth0"}}
	got, _ := h.settle(time.Now(), []netip.Addr{v4}, p)
	assert.Equal(t, want, got)
	h.silence()
	got, _ = h.settle(time.Now(), nil, p)
	assert.Equal(t, want, got)
}
