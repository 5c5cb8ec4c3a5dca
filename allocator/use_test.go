package allocator

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go4.org/netipx"
)

// TestAddressInUseElsewhere: an address that somebody uses who does not have it from the engine is given to nobody, not even on request
// or where it is reserved; who holds it keeps it.
func TestAddressInUseElsewhere(t *testing.T) {
	for _, tt := range []struct {
		family     Family
		pool       string
		used, next string
	}{
		{IPv4, "10.0.0.0/30", "10.0.0.0", "10.0.0.1"},
		{IPv6, "2001:db8::/126", "2001:db8::", "2001:db8::1"},
	} {
		used := netip.MustParseAddr(tt.used)
		in := Reservation{Name: "n1", Use: "it is the address of node \"n1\"", Ranges: []netipx.IPRange{netipx.IPRangeFrom(used, used)}}
		mine := Reservation{Name: "mine", Owner: Owner{"ns", "web"}, Ranges: in.Ranges}
		req := Request{Owner: Owner{"ns", "web"}, Families: Families{Primary: tt.family}}
		asks := req
		if asks.IPv4 = used; tt.family == IPv6 {
			asks.IPv4, asks.IPv6 = netip.Addr{}, used
		}

		a := &Allocator{}
		set(t, a, automatic("p", tt.pool))
		a.SetReservations([]Reservation{mine, in})
		_, err := a.Allocate(asks)
		assert.EqualError(t, err, "address "+tt.used+" is in use: it is the address of node \"n1\"")
		assert.ErrorIs(t, err, ErrInUse)
		got, err := a.Allocate(req)
		require.NoError(t, err)
		assert.Equal(t, tt.next, texts(got), "reserved for it, and in use")

		a = &Allocator{}
		set(t, a, automatic("p", tt.pool))
		_, err = a.Allocate(req)
		require.NoError(t, err)
		a.SetReservations([]Reservation{in})
		for _, again := range []Request{req, asks} {
			got, err = a.Allocate(again)
			require.NoError(t, err)
			assert.Equal(t, tt.used, texts(got), "who holds it keeps it")
		}
		stats, _ := a.Stats("p")
		assert.EqualValues(t, 1, stats.AssignedIPv4+stats.AssignedIPv6)
		a.Release(req.Owner)
		other := req
		other.Owner.Name = "other"
		got, err = a.Allocate(other)
		require.NoError(t, err)
		assert.Equal(t, tt.next, texts(got))
	}
}

// TestNoAddress: asking about no address is no reason to panic.
func TestNoAddress(t *testing.T) {
	var a Allocator
	assert.Empty(t, a.Reserved(netip.Addr{}))
	assert.False(t, a.Usable(netip.Addr{}))
}
