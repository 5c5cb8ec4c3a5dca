package allocator

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Owner names who holds an address. For a Service it is the Service's namespace and name.
type Owner struct{ Namespace, Name string }

// String returns "namespace/name".
func (o Owner) String() string { return o.Namespace + "/" + o.Name }

// Compare orders owners by namespace, then by name.
func (o Owner) Compare(p Owner) int {
	return cmp.Or(cmp.Compare(o.Namespace, p.Namespace), cmp.Compare(o.Name, p.Name))
}

// Family is an IP family. The zero value means none.
type Family uint8

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "none"
}

// FamilyOf returns the family of a; an IPv4-mapped IPv6 address counts as IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// other returns the other of the two families.
func (f Family) other() Family { return IPv4 + IPv6 - f }

// Families are the one or two families an owner can use, the preferred one first. Secondary is zero for one family.
type Families struct{ Primary, Secondary Family }

// Dual reports whether there are two families.
func (f Families) Dual() bool { return f.Secondary != 0 }

// Has reports whether g is one of the families.
func (f Families) Has(g Family) bool { return g != 0 && (f.Primary == g || f.Secondary == g) }

// FamilyPolicy says how many of its families an owner insists on (KEP-563).
type FamilyPolicy uint8

const (
	// SingleStack wants one address, of the primary family.
	SingleStack FamilyPolicy = iota
	// PreferDualStack wants an address of each family and is content with one.
	PreferDualStack
	// RequireDualStack wants an address of each family or none.
	RequireDualStack
)

// Protocol is the transport protocol of a port.
type Protocol uint8

// The protocols that a Kubernetes Service can carry, by IANA protocol number.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns "TCP", "UDP" or "SCTP".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	}
	return "unknown"
}

// Port is a protocol and port number; two owners of one address may not both use it.
type Port struct {
	Protocol Protocol
	Number   uint16
}

// PortSet is an immutable, comparable set of ports. The zero value is the empty set.
type PortSet struct {
	s string // 3 bytes a port (protocol, number big-endian), ascending, no duplicates
}

const portBytes = 3

// Ports returns the set of the given ports.
func Ports(ports ...Port) PortSet {
	if len(ports) == 0 {
		return PortSet{}
	}
	all := slices.Clone(ports)
	slices.SortFunc(all, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Number, b.Number))
	})
	var sb strings.Builder
	sb.Grow(portBytes * len(all))
	for _, p := range slices.Compact(all) {
		sb.Write([]byte{byte(p.Protocol), byte(p.Number >> 8), byte(p.Number)})
	}
	return PortSet{sb.String()}
}

func (s PortSet) each(yield func(string) bool) {
	for i := 0; i < len(s.s); i += portBytes {
		if !yield(s.s[i : i+portBytes]) {
			return
		}
	}
}

// common returns the lowest port that is in both sets.
func (s PortSet) common(o PortSet) (Port, bool) {
	for i, j := 0, 0; i < len(s.s) && j < len(o.s); {
		a, b := s.s[i:i+portBytes], o.s[j:j+portBytes]
		switch {
		case a == b:
			return Port{Protocol(a[0]), uint16(a[1])<<8 | uint16(a[2])}, true
		case a < b:
			i += portBytes
		default:
			j += portBytes
		}
	}
	return Port{}, false
}

// Overlaps reports whether a port is in both sets.
func (s PortSet) Overlaps(o PortSet) bool {
	_, ok := s.common(o)
	return ok
}

// intersect returns the ports that are in both sets; it allocates only if the result is neither set nor empty.
func (s PortSet) intersect(o PortSet) PortSet {
	if s == o {
		return s
	}
	if !s.Overlaps(o) {
		return PortSet{}
	}
	var sb strings.Builder
	for p := range s.each {
		if o.hasEncoded(p) {
			sb.WriteString(p)
		}
	}
	return PortSet{sb.String()}
}

func (s PortSet) hasEncoded(p string) bool {
	for q := range s.each {
		if p == q {
			return true
		}
	}
	return false
}

// union returns the ports that are in either set.
func (s PortSet) union(o PortSet) PortSet {
	if len(o.s) == 0 || s == o {
		return s
	}
	if len(s.s) == 0 {
		return o
	}
	var sb strings.Builder
	sb.Grow(len(s.s) + len(o.s))
	for i, j := 0, 0; i < len(s.s) || j < len(o.s); {
		switch {
		case j == len(o.s) || i < len(s.s) && s.s[i:i+portBytes] < o.s[j:j+portBytes]:
			sb.WriteString(s.s[i : i+portBytes])
			i += portBytes
		case i == len(s.s) || o.s[j:j+portBytes] < s.s[i:i+portBytes]:
			sb.WriteString(o.s[j : j+portBytes])
			j += portBytes
		default:
			sb.WriteString(s.s[i : i+portBytes])
			i, j = i+portBytes, j+portBytes
		}
	}
	return PortSet{sb.String()}
}

// minus returns the ports of s that are not in o.
func (s PortSet) minus(o PortSet) PortSet {
	if !s.Overlaps(o) {
		return s
	}
	var sb strings.Builder
	for p := range s.each {
		if !o.hasEncoded(p) {
			sb.WriteString(p)
		}
	}
	return PortSet{sb.String()}
}

// Sharing says with whom an owner is willing to share an address: with owners of an equal, non-empty Key, an equal
// Backend and an equal Among whose ports differ. The zero value shares with nobody.
type Sharing struct {
	Key string
	// Backend tells apart owners whose traffic must reach the same endpoints to be shared: with
	// externalTrafficPolicy Local it is the Service's selector, otherwise empty.
	Backend string
	// Among names the set of tenants that share: who names another set does not take part, whatever its key. Empty means everybody
	// who leaves it empty.
	Among string
}

// Request asks for addresses.
type Request struct {
	Owner    Owner
	Families Families
	Policy   FamilyPolicy
	// IPv4 and IPv6 ask for particular addresses. If either is given, both families of a dual-stack owner must be.
	IPv4, IPv6 netip.Addr
	// Pool asks for one pool, which may also be one that does not assign automatically.
	Pool string
	// Pools asks, instead of Pool, for an address of each family from any one of these, the first that has it.
	Pools []string
	// Admitted names the restricted pools (see Pool.Restricted) that admit the owner; order does not matter.
	Admitted []string
	Sharing  Sharing
	Ports    PortSet

	search *search // of the Allocate that is under way; nil: nothing is to be noted
}

func (r *Request) explicit() bool { return r.IPv4.IsValid() || r.IPv6.IsValid() }

func (r *Request) asked(f Family) netip.Addr {
	if f == IPv4 {
		return r.IPv4
	}
	return r.IPv6
}

// wants reports whether an owner of this request may hold an address of family f.
func (r *Request) wants(f Family) bool {
	if r.Policy == SingleStack {
		return f == r.Families.Primary
	}
	return r.Families.Has(f)
}

// Grant is one address and the pool it came from. The zero value means none.
type Grant struct {
	Addr netip.Addr
	Pool string
}

// IsValid reports whether there is an address.
func (g Grant) IsValid() bool { return g.Addr.IsValid() }

// Assignment is what an owner holds: at most one address of each family. It is comparable; the zero value holds nothing.
type Assignment struct{ IPv4, IPv6 Grant }

// IsZero reports whether nothing is held.
func (a Assignment) IsZero() bool { return a == Assignment{} }

// Grants returns what is held, IPv4 first.
func (a Assignment) Grants() []Grant {
	var out []Grant
	for _, g := range []Grant{a.IPv4, a.IPv6} {
		if g.IsValid() {
			out = append(out, g)
		}
	}
	return out
}

// Addrs returns the addresses, IPv4 first.
func (a Assignment) Addrs() []netip.Addr {
	var out []netip.Addr
	for _, g := range a.Grants() {
		out = append(out, g.Addr)
	}
	return out
}

// Pools returns the pools of the addresses, IPv4 first, each once.
func (a Assignment) Pools() []string {
	var out []string
	for _, g := range a.Grants() {
		if !slices.Contains(out, g.Pool) {
			out = append(out, g.Pool)
		}
	}
	return out
}

// Pool returns the pool of the first address, or "".
func (a Assignment) Pool() string { return cmp.Or(a.IPv4.Pool, a.IPv6.Pool) }
