package allocator

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go4.org/netipx"
)

// outside returns an external pool.
func outside(name string, ranges ...string) Pool {
	p := automatic(name, ranges...)
	p.External = true
	return p
}

func wants(name string, families ...Family) Request {
	r := Request{Owner: Owner{"ns", name}, Families: Families{Primary: families[0]}}
	if len(families) > 1 {
		r.Families.Secondary, r.Policy = families[1], RequireDualStack
	}
	return r
}

// give has the Provider of a pool answer each thing that owner asks for.
func give(a *Allocator, owner string, addrs ...string) {
	for _, ask := range a.Asks(Owner{"ns", owner}) {
		for _, s := range addrs {
			if addr := netip.MustParseAddr(s); FamilyOf(addr) == ask.Family {
				a.Answer(ask, Answer{Addr: addr})
			}
		}
	}
}

func TestExternalPool(t *testing.T) {
	a := &Allocator{}
	set(t, a, outside("a", "192.0.2.0/24", "2001:db8::/64"), automatic("b", "198.51.100.0/24", "2001:db8:1::/64"))

	_, err := a.Allocate(wants("web", IPv4))
	assert.ErrorIs(t, err, ErrAwaitsProvider)
	assert.EqualError(t, err, `waiting for an allocator: pool "a": its allocator has given no IPv4 address yet`)
	assert.Equal(t, []Ask{{Owner{"ns", "web"}, "a", IPv4}}, a.Asks(Owner{"ns", "web"}), "a later pool is not asked before the first has refused")

	give(a, "web", "192.0.2.7")
	got, err := a.Allocate(wants("web", IPv4))
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.7", texts(got))
	assert.Empty(t, a.Asks(Owner{"ns", "web"}))

	_, err = a.Allocate(wants("both", IPv4, IPv6))
	assert.ErrorIs(t, err, ErrAwaitsProvider)
	require.Len(t, a.Asks(Owner{"ns", "both"}), 2)
	give(a, "both", "192.0.2.8")
	_, err = a.Allocate(wants("both", IPv4, IPv6))
	assert.ErrorIs(t, err, ErrAwaitsProvider)
	give(a, "both", "2001:db8::8")
	got, err = a.Allocate(wants("both", IPv4, IPv6))
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.8 2001:db8::8", texts(got))
}

func TestProviderRefuses(t *testing.T) {
	a := &Allocator{}
	set(t, a, outside("a", "192.0.2.0/24"), automatic("b", "198.51.100.0/32"))
	ask := Ask{Owner{"ns", "web"}, "a", IPv4}
	a.Answer(ask, Answer{Refusal: RefusedExhausted, Why: "PoolExhausted: no address left"})
	got, err := a.Allocate(wants("web", IPv4))
	require.NoError(t, err)
	assert.Equal(t, "198.51.100.0", texts(got), "the next pool serves who was refused")
	assert.Empty(t, a.Asks(ask.Owner))

	ask.Owner.Name = "next"
	a.Answer(ask, Answer{Refusal: RefusedExhausted, Why: "PoolExhausted: no address left"})
	_, err = a.Allocate(wants("next", IPv4))
	assert.EqualError(t, err, `an allocator refuses: pool "a": its allocator gives no IPv4 address: PoolExhausted: no address left, `+
		`pool "b" has 1 of 1 IPv4 addresses in use`)
	assert.ErrorIs(t, err, ErrRefused)
	assert.Equal(t, []Ask{ask}, a.Asks(ask.Owner), "it goes on asking")
	a.Answer(ask, Answer{Addr: netip.MustParseAddr("192.0.2.1")})
	got, err = a.Allocate(wants("next", IPv4))
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.1", texts(got))
}

func TestUnfitAnswer(t *testing.T) {
	for _, tt := range []struct{ name, answer, why string }{
		{"outside", "203.0.113.1", `it is outside spec.addresses of pool "a"`},
		{"another pool", "198.51.100.1", `it is in pool "b"`},
		{"family", "2001:db8::1", "it is no IPv4 address"},
		{"buggy", "192.0.2.0", "pool avoids addresses that end in .0 or .255"},
		{"held", "192.0.2.9", "address 192.0.2.9 is in use by ns/holder, and not both allow sharing"},
		{"reserved", "192.0.2.10", `address 192.0.2.10 is reserved for ns/other by AddressReservation "r"`},
	} {
		a := &Allocator{}
		p := outside("a", "192.0.2.0/24", "2001:db8::/64")
		p.AvoidBuggy = true
		b := automatic("b", "198.51.100.0/24")
		b.AutoAssign = false
		set(t, a, p, b)
		require.NoError(t, a.Restore(Request{Owner: Owner{"ns", "holder"}}, netip.MustParseAddr("192.0.2.9")))
		r := netip.MustParseAddr("192.0.2.10")
		a.SetReservations([]Reservation{{Name: "r", Owner: Owner{"ns", "other"}, Ranges: []netipx.IPRange{netipx.IPRangeFrom(r, r)}}})
		a.Answer(Ask{Owner{"ns", "web"}, "a", IPv4}, Answer{Addr: netip.MustParseAddr(tt.answer)})
		_, err := a.Allocate(wants("web", IPv4))
		assert.EqualError(t, err, `an allocator has given an address that cannot be used: pool "a": its allocator has given `+tt.answer+
			", which cannot be used: "+tt.why, tt.name)
		assert.ErrorIs(t, err, ErrUnfitAnswer)
		assert.Equal(t, "192.0.2.9", texts(a.Held(Owner{"ns", "holder"})), "nobody loses an address")
	}
}

func TestExplicitFromExternalPool(t *testing.T) {
	a := &Allocator{}
	set(t, a, outside("a", "192.0.2.0/24"))
	asks := wants("web", IPv4)
	asks.IPv4 = netip.MustParseAddr("192.0.2.5")
	_, err := a.Allocate(asks)
	assert.EqualError(t, err, `address 192.0.2.5: pool "a": the pool's allocator has not given this address`)
	assert.ErrorIs(t, err, ErrNotGiven)

	a.Answer(Ask{Owner{"ns", "other"}, "a", IPv4}, Answer{Addr: asks.IPv4})
	_, err = a.Allocate(asks)
	assert.ErrorIs(t, err, ErrNotGiven, "it was given for somebody else")
	a.Answer(Ask{Owner{"ns", "other"}, "a", IPv4}, Answer{})
	a.Answer(Ask{Owner{"ns", "web"}, "a", IPv4}, Answer{Addr: asks.IPv4})
	got, err := a.Allocate(asks)
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.5", texts(got))

	again := asks // who has an address may ask for it, whoever gave it
	again.Owner.Name = "adopted"
	again.IPv4 = netip.MustParseAddr("192.0.2.6")
	require.NoError(t, a.Restore(Request{Owner: again.Owner}, again.IPv4))
	got, err = a.Allocate(again)
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.6", texts(got))
}

// TestSharedExternal: who shares takes the address that is there, and asks for none.
func TestSharedExternal(t *testing.T) {
	a := &Allocator{}
	set(t, a, outside("a", "192.0.2.0/24"))
	one, two := wants("one", IPv4), wants("two", IPv4)
	one.Sharing.Key, one.Ports = "k", Ports(Port{TCP, 80})
	two.Sharing.Key, two.Ports = "k", Ports(Port{TCP, 443})
	_, err := a.Allocate(one)
	require.ErrorIs(t, err, ErrAwaitsProvider)
	give(a, "one", "192.0.2.5")
	_, err = a.Allocate(one)
	require.NoError(t, err)
	got, err := a.Allocate(two)
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.5", texts(got))
	assert.Empty(t, a.Asks(two.Owner))
}

// TestSwitched: a pool that becomes external, or ceases to be, takes nothing from anybody.
func TestSwitched(t *testing.T) {
	a := &Allocator{}
	set(t, a, automatic("a", "192.0.2.0/24"))
	first, err := a.Allocate(wants("web", IPv4))
	require.NoError(t, err)
	for _, p := range []Pool{outside("a", "192.0.2.0/24"), automatic("a", "192.0.2.0/24")} {
		set(t, a, p)
		got, err := a.Allocate(wants("web", IPv4))
		require.NoError(t, err)
		assert.Equal(t, first, got)
		assert.Empty(t, a.Asks(Owner{"ns", "web"}))
	}
	next, err := a.Allocate(wants("next", IPv4))
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.1", texts(next))
}

// TestPrefersBoth: who prefers two families does not wait for the second one longer than its allocator takes to refuse.
func TestPrefersBoth(t *testing.T) {
	a := &Allocator{}
	set(t, a, outside("a", "192.0.2.0/24", "2001:db8::/64"))
	req := wants("web", IPv4, IPv6)
	req.Policy = PreferDualStack
	_, err := a.Allocate(req)
	require.ErrorIs(t, err, ErrAwaitsProvider)
	give(a, "web", "192.0.2.1")
	six := Ask{req.Owner, "a", IPv6}
	a.Answer(six, Answer{Refusal: RefusedExhausted})
	for range 2 {
		got, err := a.Allocate(req)
		require.NoError(t, err)
		assert.Equal(t, "192.0.2.1", texts(got))
		assert.Equal(t, []Ask{six}, a.Asks(req.Owner), "and goes on asking for it")
	}
	a.Answer(six, Answer{Addr: netip.MustParseAddr("2001:db8::1")})
	got, err := a.Allocate(req)
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.1 2001:db8::1", texts(got))
}
