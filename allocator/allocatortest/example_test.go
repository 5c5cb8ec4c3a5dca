package allocatortest_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/allocatortest"
)

// TestTable has the example of docs/allocators.md pass the suite.
func TestTable(t *testing.T) {
	allocatortest.Run(t, func(t *testing.T) allocatortest.Fixture {
		table := newTable("rack-1", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.7"))
		return allocatortest.Fixture{
			Provider: table, Pool: "rack-1", Family: allocator.IPv4, Range: netip.MustParsePrefix("192.0.2.0/24"), Size: 3,
		}
	})
}
