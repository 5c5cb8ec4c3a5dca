package allocator_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go4.org/netipx"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/allocatortest"
)

func TestBuiltin(t *testing.T) {
	for _, tt := range []struct {
		family allocator.Family
		prefix string
	}{{allocator.IPv4, "192.0.2.0/30"}, {allocator.IPv6, "2001:db8::/126"}} {
		t.Run(tt.family.String(), func(t *testing.T) {
			allocatortest.Run(t, func(t *testing.T) allocatortest.Fixture {
				p := netip.MustParsePrefix(tt.prefix)
				b, err := allocator.NewBuiltin(allocator.Pool{Name: "p", Ranges: []netipx.IPRange{netipx.RangeOfPrefix(p)}})
				require.NoError(t, err)
				return allocatortest.Fixture{
					Provider: b, Pool: "p", Family: tt.family, Range: p, Size: 4, Adopts: true,
					Restart: func(*testing.T) allocator.Provider { return b },
				}
			})
		})
	}
}
