package bgp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/backends"
)

const (
	defaultPort    = 179
	defaultHold    = 90 * time.Second // RFC 4271, 10
	defaultConnect = 5 * time.Second
	minHold        = 3 * time.Second // RFC 4271, 4.2
	maxHold        = 65535 * time.Second
)

// Modes of Peer.DynamicASN.
const (
	dynamicInternal = "internal"
	dynamicExternal = "external"
)

// PeerError says why a peer is not served as it is asked for. What exists for it stays as it is.
type PeerError struct {
	Peer  backends.Source
	Field string // of the object, such as "spec.holdTime"; empty if Err names what is wrong
	Value string // what it is set to
	Err   error
}

// Error names the object, the field, its value and the reason.
func (e *PeerError) Error() string {
	return e.Peer.String() + ": " + e.Message()
}

// Message is Error without the object.
func (e *PeerError) Message() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s %q: %v", e.Field, e.Value, e.Err)
}

// Unwrap returns the reason.
func (e *PeerError) Unwrap() error { return e.Err }

// errUnready says that a peer cannot be set up at present; the text of the PeerError around it says why.
var errUnready = errors.New("the peer is not ready")

// errDuplicate says that two peers ask for the same session.
var errDuplicate = errors.New("it is the address of another peer")

// key tells the sessions of a node apart.
type key struct {
	address    netip.Addr // invalid if iface is set
	iface, vrf string
	port       uint16
}

// String returns what a session is with, for messages.
func (k key) String() string {
	s := k.iface
	if k.address.IsValid() {
		s = k.address.String()
	}
	if k.vrf != "" {
		s += " in " + k.vrf
	}
	return s
}

// settings are all that a session is held with, complete with defaults. A session whose settings change begins anew.
type settings struct {
	key
	localASN         uint32 // what the router is shown
	peerASN          uint32 // 0: see dynamic
	dynamic          string
	source, routerID netip.Addr    // invalid: not asked for
	hold, keepalive  time.Duration // hold 0: none
	connect          time.Duration // between attempts, at most
	hurries          bool          // nobody asked for that time: the first attempts come sooner
	password         string
	gracefulRestart  bool
	multiHop         bool
	dualStack        bool
}

// carries reports whether prefixes of a family may be told in the session.
func (s *settings) carries(is6 bool) bool {
	return s.dualStack || s.iface != "" || s.address.Is6() == is6
}

// families returns the families of the session.
func (s *settings) families() []family {
	var out []family
	for _, f := range []family{ipv4, ipv6} {
		if s.carries(f == ipv6) {
			out = append(out, f)
		}
	}
	return out
}

// ttl returns the time to live of what is sent; 0 leaves it to the kernel. An external peer that is not said to be several hops away
// is on the link (RFC 4271, 5.1.3).
func (s *settings) ttl() int {
	external := s.dynamic == dynamicExternal || s.peerASN != 0 && s.peerASN != s.localASN
	switch {
	case !external:
		return 0
	case s.multiHop:
		return 255
	}
	return 1
}

// settingsOf returns how a session with a peer is held, or everything that is wrong with the peer.
func settingsOf(p *backends.Peer) (settings, []error) {
	s := settings{
		key:      key{address: p.Address.Unmap(), iface: p.Interface, vrf: p.VRF, port: cmp.Or(p.Port, defaultPort)},
		localASN: cmp.Or(p.LocalASN, p.MyASN), peerASN: p.PeerASN, dynamic: p.DynamicASN,
		source: p.SourceAddress.Unmap(), routerID: p.RouterID.Unmap(),
		connect: cmp.Or(p.ConnectTime, defaultConnect), hurries: p.ConnectTime == 0,
		password: p.Password, gracefulRestart: p.GracefulRestart, multiHop: p.MultiHop, dualStack: p.DualStack,
	}
	var errs []error
	fault := func(field string, value any, format string, args ...any) {
		errs = append(errs, &PeerError{Peer: p.Source, Field: "spec." + field, Value: fmt.Sprint(value), Err: fmt.Errorf(format, args...)})
	}
	if p.Unready != "" {
		return s, []error{&PeerError{Peer: p.Source, Err: fmt.Errorf("%w: %s", errUnready, p.Unready)}}
	}
	checkASNs(p, fault)
	checkAddresses(&s, fault)
	s.hold, s.keepalive = timers(p, fault)
	if s.connect < time.Second {
		fault("connectTime", s.connect, "at least 1s")
	}
	if len(s.password) > maxPassword {
		fault("password", fmt.Sprintf("%d characters", len(s.password)), "TCP MD5 takes at most %d", maxPassword)
	}
	return s, errs
}

type faultFunc func(field string, value any, format string, args ...any)

func checkASNs(p *backends.Peer, fault faultFunc) {
	if p.MyASN == 0 {
		fault("myASN", 0, "an AS number is 1 to 4294967295 (RFC 7607)")
	}
	switch {
	case p.DynamicASN != "" && p.DynamicASN != dynamicInternal && p.DynamicASN != dynamicExternal:
		fault("dynamicASN", p.DynamicASN, "neither internal nor external")
	case p.DynamicASN == "" && p.PeerASN == 0:
		fault("peerASN", 0, "an AS number is 1 to 4294967295 (RFC 7607)")
	case p.DynamicASN != "" && p.PeerASN != 0:
		fault("dynamicASN", p.DynamicASN, "peerASN is set, too")
	}
}

func checkAddresses(s *settings, fault faultFunc) {
	switch {
	case !s.address.IsValid() && s.iface == "":
		fault("peerAddress", "", "neither an address nor an interface is given")
	case s.address.IsValid() && s.iface != "":
		fault("interface", s.iface, "peerAddress is set, too")
	case s.address.IsValid() && (s.address.IsUnspecified() || s.address.IsMulticast()):
		fault("peerAddress", s.address, "it is not the address of a router")
	case s.source.IsValid() && s.address.IsValid() && s.source.Is6() != s.address.Is6():
		fault("sourceAddress", s.source, "peerAddress %s is of the other IP family", s.address)
	}
	if s.routerID.IsValid() && (!s.routerID.Is4() || s.routerID.IsUnspecified()) {
		fault("routerID", s.routerID, "a router ID is an IPv4 address")
	}
}

// timers returns hold and keepalive time; of what is not asked for the other is made (RFC 4271, 10).
func timers(p *backends.Peer, fault faultFunc) (hold, keepalive time.Duration) {
	switch {
	case p.HoldTime != nil && p.KeepaliveTime != nil:
		hold, keepalive = *p.HoldTime, *p.KeepaliveTime
	case p.HoldTime != nil:
		hold, keepalive = *p.HoldTime, *p.HoldTime/3
	case p.KeepaliveTime != nil:
		hold, keepalive = 3**p.KeepaliveTime, *p.KeepaliveTime
	default:
		hold, keepalive = defaultHold, defaultHold/3
	}
	hold, keepalive = hold.Truncate(time.Second), keepalive.Truncate(time.Second)
	if hold != 0 && (hold < minHold || hold > maxHold) {
		fault("holdTime", hold, "use 0s, which turns it off, or 3s to 65535s (RFC 4271, 4.2)")
	}
	if keepalive < 0 || hold != 0 && keepalive > hold {
		fault("keepaliveTime", keepalive, "more than the hold time of %s", hold)
	}
	return hold, max(keepalive, time.Second)
}
