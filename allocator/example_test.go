package allocator_test

import (
	"errors"
	"fmt"

	"go4.org/netipx"

	"github.com/fairlead/fairlead/allocator"
)

func Example() {
	var a allocator.Allocator
	_, err := a.SetPools([]allocator.Pool{{
		Name: "main", AutoAssign: true,
		Ranges: []netipx.IPRange{netipx.MustParseIPRange("192.0.2.1-192.0.2.2"), netipx.MustParseIPRange("2001:db8::1-2001:db8::ff")},
	}})
	if err != nil {
		panic(err)
	}

	both := allocator.Request{
		Owner:    allocator.Owner{Namespace: "shop", Name: "web"},
		Families: allocator.Families{Primary: allocator.IPv4, Secondary: allocator.IPv6}, Policy: allocator.RequireDualStack,
	}
	for range 2 { // who asks again keeps what it has
		got, err := a.Allocate(both)
		fmt.Println(got.Addrs(), err)
	}

	one := allocator.Request{Owner: allocator.Owner{Namespace: "shop", Name: "db"}, Families: allocator.Families{Primary: allocator.IPv4}}
	got, err := a.Allocate(one)
	fmt.Println(got.Addrs(), err)

	one.Owner.Name = "late"
	_, err = a.Allocate(one)
	fmt.Println(errors.Is(err, allocator.ErrPoolExhausted))

	a.Release(both.Owner)
	got, err = a.Allocate(one)
	fmt.Println(got.Addrs(), err)
	// Output:
	// [192.0.2.1 2001:db8::1] <nil>
	// [192.0.2.1 2001:db8::1] <nil>
	// [192.0.2.2] <nil>
	// true
	// [192.0.2.1] <nil>
}

// Two owners with the same sharing key share an address, as long as they use different ports.
func ExampleAllocator_Allocate_sharing() {
	var a allocator.Allocator
	_, err := a.SetPools([]allocator.Pool{{
		Name: "main", AutoAssign: true, Ranges: []netipx.IPRange{netipx.MustParseIPRange("192.0.2.1-192.0.2.9")},
	}})
	if err != nil {
		panic(err)
	}
	for _, x := range []struct {
		name string
		port uint16
	}{{"http", 80}, {"https", 443}, {"other", 80}} {
		got, err := a.Allocate(allocator.Request{
			Owner: allocator.Owner{Namespace: "shop", Name: x.name}, Families: allocator.Families{Primary: allocator.IPv4},
			Sharing: allocator.Sharing{Key: "front"}, Ports: allocator.Ports(allocator.Port{Protocol: allocator.TCP, Number: x.port}),
		})
		fmt.Println(x.name, got.IPv4.Addr, err)
	}
	// Output:
	// http 192.0.2.1 <nil>
	// https 192.0.2.1 <nil>
	// other 192.0.2.2 <nil>
}
