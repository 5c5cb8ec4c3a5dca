package allocator

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// automatic makes a pool that serves everybody.
func automatic(name string, ranges ...string) Pool {
	p := Pool{Name: name, AutoAssign: true}
	for _, r := range ranges {
		p.Ranges = append(p.Ranges, mustRange(r))
	}
	return p
}

func restricted(p Pool) Pool {
	p.Restricted = true
	return p
}

// set puts pools in force.
func set(t *testing.T, a *Allocator, pools ...Pool) {
	t.Helper()
	_, err := a.SetPools(pools)
	require.NoError(t, err)
}

// TestBothFamiliesElsewhere: a dual-stack owner whose pool has one family left is given both by a pool that has both, also after a
// restart; it does without one only if there is no such pool.
func TestBothFamiliesElsewhere(t *testing.T) {
	whole := automatic("a", "10.0.0.0/29", "2001:db8:a::/125")
	four, six := automatic("a", "10.0.0.0/29"), automatic("a", "2001:db8:a::/125")
	other := automatic("b", "10.1.0.0/29", "2001:db8:b::/125")
	tests := []struct {
		name      string
		then      []Pool
		req       Request // what it is besides a dual-stack request of "web"
		want      string  // of PreferDualStack and of RequireDualStack
		wantPools []string
		err       error
	}{
		{name: "IPv6 left", then: []Pool{four, other}, want: "10.1.0.0 2001:db8:b::", wantPools: []string{"b"}},
		{name: "IPv4 left", then: []Pool{six, other}, want: "10.1.0.0 2001:db8:b::", wantPools: []string{"b"}},
		{name: "nobody has both", then: []Pool{four, automatic("b", "2001:db8:b::/125")}, want: "10.0.0.0 2001:db8:a::", wantPools: []string{"a", ""}, err: ErrNotInPool},
		{name: "its own pool comes first", then: []Pool{automatic("a", "10.0.0.0/29", "2001:db8:c::/125"), other}, want: "10.0.0.0 2001:db8:c::", wantPools: []string{"a"}},
		{name: "a pool of one family comes before it", then: []Pool{restricted(automatic("c", "10.2.0.0/29")), other}, req: Request{Admitted: []string{"c"}},
			want: "10.1.0.0 2001:db8:b::", wantPools: []string{"b"}},
		{name: "its pool admits it no longer", then: []Pool{restricted(four), other}, want: "10.1.0.0 2001:db8:b::", wantPools: []string{"b"}},
		{name: "the pool that it asks for", then: []Pool{automatic("a", "10.0.0.0/29"), other}, req: Request{Pool: "a"},
			want: "10.0.0.0 2001:db8:a::", wantPools: []string{"a", ""}, err: ErrNotInPool},
	}
	for _, tt := range tests {
		for _, policy := range []FamilyPolicy{PreferDualStack, RequireDualStack} {
			for _, families := range []Families{{IPv4, IPv6}, {IPv6, IPv4}} {
				for _, restart := range []bool{false, true} {
					req := tt.req
					req.Owner, req.Policy, req.Families = Owner{"ns", "web"}, policy, families
					a := &Allocator{}
					set(t, a, whole)
					got, err := a.Allocate(req)
					require.NoError(t, err)
					require.Equal(t, "10.0.0.0 2001:db8:a::", texts(got))
					if restart {
						a = &Allocator{}
						set(t, a, tt.then...)
						require.NoError(t, a.Restore(req, got.Addrs()...))
					} else {
						set(t, a, tt.then...)
					}
					for range 2 {
						got, err = a.Allocate(req)
						assert.ErrorIs(t, err, tt.err, "%s, policy %d", tt.name, policy)
						assert.Equal(t, tt.want, texts(got), "%s, policy %d, restart %t", tt.name, policy, restart)
						assert.Equal(t, tt.wantPools, got.Pools(), tt.name)
					}
				}
			}
		}
	}
}

// TestRequiredLater: an owner that comes to insist on both families is given both by another pool if its own has one only.
func TestRequiredLater(t *testing.T) {
	a := &Allocator{}
	set(t, a, automatic("a", "10.0.0.0/29"), automatic("b", "10.1.0.0/29", "2001:db8:b::/125"))
	req := Request{Owner: Owner{"ns", "web"}, Families: Families{IPv4, IPv6}}
	got, err := a.Allocate(req)
	require.NoError(t, err)
	require.Equal(t, "10.0.0.0", texts(got))
	req.Policy = PreferDualStack
	got, err = a.Allocate(req)
	require.NoError(t, err)
	assert.Equal(t, "10.0.0.0", texts(got), "who only prefers it does not move")
	req.Policy = RequireDualStack
	got, err = a.Allocate(req)
	require.NoError(t, err)
	assert.Equal(t, "10.1.0.0 2001:db8:b::", texts(got))
}

// TestNamedAddressesAreNotReplaced: an owner that names both of its addresses is never given one that it does not name.
func TestNamedAddressesAreNotReplaced(t *testing.T) {
	for name, then := range map[string]Pool{
		"IPv4 left": automatic("p", "10.0.0.5-10.0.0.9", "2001:db8::/120"),
		"IPv6 left": automatic("p", "10.0.0.0-10.0.0.9", "2001:db8::50-2001:db8::60"),
		"both left": automatic("p", "10.0.0.5-10.0.0.9", "2001:db8::50-2001:db8::60"),
	} {
		for _, policy := range []FamilyPolicy{PreferDualStack, RequireDualStack} {
			a := &Allocator{}
			set(t, a, automatic("p", "10.0.0.0-10.0.0.9", "2001:db8::/120"))
			req := Request{
				Owner: Owner{"ns", "dual"}, Families: Families{IPv4, IPv6}, Policy: policy,
				IPv4: netip.MustParseAddr("10.0.0.1"), IPv6: netip.MustParseAddr("2001:db8::1"),
			}
			_, err := a.Allocate(req)
			require.NoError(t, err)
			set(t, a, then, automatic("q", "10.1.0.0/29", "2001:db8:1::/125"))
			got, err := a.Allocate(req)
			assert.ErrorIs(t, err, ErrNotInPool, name)
			assert.Equal(t, "10.0.0.1 2001:db8::1", texts(got), name)
		}
	}
}

// TestPoolAskedForAndAFamilyGone: an owner that names its pool does not lose the address that it still has there.
func TestPoolAskedForAndAFamilyGone(t *testing.T) {
	a := &Allocator{}
	set(t, a, automatic("p", "10.0.0.0/29", "2001:db8::/125"))
	first := Request{Owner: Owner{"ns", "first"}, Families: Families{Primary: IPv4}}
	_, err := a.Allocate(first)
	require.NoError(t, err)
	req := Request{Owner: Owner{"ns", "web"}, Families: Families{IPv4, IPv6}, Policy: PreferDualStack, Pool: "p"}
	_, err = a.Allocate(req)
	require.NoError(t, err)
	a.Release(first.Owner) // 10.0.0.0 is lower than what it has
	set(t, a, automatic("p", "10.0.0.0/29"))
	got, err := a.Allocate(req)
	assert.ErrorIs(t, err, ErrNotInPool)
	assert.Equal(t, "10.0.0.1", got.IPv4.Addr.String())
}

func texts(a Assignment) string {
	s := ""
	for i, addr := range a.Addrs() {
		if i > 0 {
			s += " "
		}
		s += addr.String()
	}
	return s
}
