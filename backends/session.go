package backends

import (
	"net/netip"
	"time"
)

// SessionReport is what a CNI says of the BGP sessions of one node.
type SessionReport struct {
	Node string
	// At is when it was so; zero: it is so now, and a change will be told.
	At       time.Time
	Sessions []Session
}

// Session is one BGP session of a CNI, as the CNI tells of it.
type Session struct {
	Peer   string // what the CNI calls the router; empty: nothing
	Router netip.Addr
	// State is that of RFC 4271, 8.2.2, or what the CNI calls it; Established is when Up is true.
	State string
	Up    bool
	Since string // as the CNI says it; empty: it does not
	// IPv4 and IPv6 say whose routes it carries.
	IPv4, IPv6 bool
	Prefixes   int64 // that are advertised over it; -1: the CNI does not say
	Error      string
}

// Carries reports whether the session carries routes of a family.
func (s *Session) Carries(is6 bool) bool {
	if is6 {
		return s.IPv6
	}
	return s.IPv4
}

// Established is the name of the state in which a session carries routes.
const Established = "Established"
