package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// restartTime is how long a router is asked to keep the routes while the speaker restarts (RFC 4724, 3); it is FRR's default, too.
const restartTime = 120 * time.Second

// opening is what the two sides of a session tell each other in OPEN (RFC 4271, 4.2) and matters here.
type opening struct {
	asn             uint32
	hold            time.Duration
	id              netip.Addr
	families        []family
	gracefulRestart bool     // RFC 4724
	restarting      bool     // has restarted
	preserved       []family // whose forwarding has gone on
	extended        bool     // IPv4 prefixes may have an IPv6 next hop (RFC 8950)
	refresh         bool     // RFC 2918
	fourOctets      bool     // RFC 6793
}

// marshal returns the whole message.
func (o *opening) marshal() ([]byte, error) {
	var caps []bgp.ParameterCapabilityInterface
	for _, f := range o.families {
		caps = append(caps, bgp.NewCapMultiProtocol(f.gobgp()))
	}
	if o.refresh {
		caps = append(caps, bgp.NewCapRouteRefresh())
	}
	if o.extended {
		caps = append(caps, bgp.NewCapExtendedNexthop([]*bgp.CapExtendedNexthopTuple{bgp.NewCapExtendedNexthopTuple(bgp.RF_IPv4_UC,
			bgp.AFI_IP6)}))
	}
	if o.fourOctets {
		caps = append(caps, bgp.NewCapFourOctetASNumber(o.asn))
	}
	if o.gracefulRestart {
		var tuples []*bgp.CapGracefulRestartTuple
		for _, f := range o.preserved {
			tuples = append(tuples, bgp.NewCapGracefulRestartTuple(f.gobgp(), true))
		}
		seconds := uint16(1) // GoBGP has nothing to keep for the router
		if len(tuples) > 0 {
			seconds = uint16(restartTime.Seconds())
		}
		caps = append(caps, bgp.NewCapGracefulRestart(o.restarting, false, seconds, tuples))
	}
	asn := uint16(bgp.AS_TRANS)
	if o.asn <= 0xffff {
		asn = uint16(o.asn)
	}
	return bgp.NewBGPOpenMessage(asn, uint16(o.hold.Seconds()), o.id.String(),
		[]bgp.OptionParameterInterface{bgp.NewOptionParameterCapability(caps)}).Serialize()
}

func (f family) gobgp() bgp.RouteFamily { return bgp.AfiSafiToRouteFamily(uint16(f), bgp.SAFI_UNICAST) }

// parseOpen reads the body of an OPEN message of a stranger.
func parseOpen(body []byte) (o opening, err error) {
	defer func() {
		// GoBGP's parser is not ours to trust.
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed OPEN: %v", r)
		}
	}()
	var m bgp.BGPOpen
	if err := m.DecodeFromBytes(body); err != nil {
		return o, fmt.Errorf("malformed OPEN: %w", err)
	}
	if m.Version != 4 {
		return o, &fault{code: codeOpen, subcode: 1, data: []byte{0, 4}, text: fmt.Sprintf("the router speaks version %d of BGP", m.Version)}
	}
	id, ok := netip.AddrFromSlice(m.ID)
	if !ok || id.IsUnspecified() {
		return o, &fault{code: codeOpen, subcode: 3, text: "the router's ID is 0.0.0.0"}
	}
	o = opening{asn: uint32(m.MyAS), hold: time.Duration(m.HoldTime) * time.Second, id: id}
	multiprotocol := false
	for _, p := range m.OptParams {
		caps, ok := p.(*bgp.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, c := range caps.Capability {
			_, mp := c.(*bgp.CapMultiProtocol)
			multiprotocol = multiprotocol || mp
			o.learn(c)
		}
	}
	if !multiprotocol {
		o.families = []family{ipv4} // RFC 4760, 8
	}
	if o.hold != 0 && o.hold < minHold {
		return o, &fault{code: codeOpen, subcode: 6, text: fmt.Sprintf("the router's hold time is %s; it must be 0s or at least %s", o.hold,
			minHold)}
	}
	return o, nil
}

// learn takes a capability in.
func (o *opening) learn(c bgp.ParameterCapabilityInterface) {
	switch c := c.(type) {
	case *bgp.CapMultiProtocol:
		for _, f := range []family{ipv4, ipv6} {
			if c.CapValue == f.gobgp() && !slices.Contains(o.families, f) {
				o.families = append(o.families, f)
			}
		}
	case *bgp.CapRouteRefresh:
		o.refresh = true
	case *bgp.CapFourOctetASNumber:
		o.asn, o.fourOctets = c.CapValue, true
	case *bgp.CapGracefulRestart:
		o.gracefulRestart = true
		o.restarting = c.Flags&0x08 != 0
	case *bgp.CapExtendedNexthop:
		for _, t := range c.Tuples {
			if t.NLRIAFI == bgp.AFI_IP && t.NLRISAFI == bgp.SAFI_UNICAST && t.NexthopAFI == bgp.AFI_IP6 {
				o.extended = true
			}
		}
	}
}

// check returns why a session cannot be held with a router that opens like this; ours is what the router was told.
func (s *settings) check(theirs, ours *opening) error {
	badAS := func(format string, args ...any) error {
		return &fault{code: codeOpen, subcode: 2, text: fmt.Sprintf(format, args...)}
	}
	switch {
	case theirs.asn == 0:
		return badAS("the router says that its AS is 0")
	case s.peerASN != 0 && theirs.asn != s.peerASN:
		return badAS("the router's AS is %d, but peerASN is %d", theirs.asn, s.peerASN)
	case s.dynamic == dynamicInternal && theirs.asn != s.localASN:
		return badAS("the router's AS is %d, but dynamicASN internal asks for our own, %d", theirs.asn, s.localASN)
	case s.dynamic == dynamicExternal && theirs.asn == s.localASN:
		return badAS("the router's AS is %d, our own, but dynamicASN is external", theirs.asn)
	case theirs.id == ours.id && theirs.asn == ours.asn: // RFC 6286, 2.2
		return &fault{code: codeOpen, subcode: 3, text: fmt.Sprintf("the router has our router ID, %s: set routerID", ours.id)}
	case len(common(theirs.families, ours.families)) == 0:
		return &fault{code: codeOpen, subcode: 7, text: fmt.Sprintf("the router does not take %s prefixes", ours.families[0])}
	}
	return nil
}

func common(a, b []family) []family {
	var out []family
	for _, f := range b {
		if slices.Contains(a, f) {
			out = append(out, f)
		}
	}
	return out
}

// errMalformed is the fault of what cannot be read.
func malformed(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	return &fault{code: codeOpen, text: err.Error()}
}
