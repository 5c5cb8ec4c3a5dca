package bgp

import (
	"encoding/binary"
	"net/netip"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fairlead/fairlead/backends"
)

// defaultLocalPref is what an internal router is told of a route without a local preference; it must be told one (RFC 4271, 5.1.5).
const defaultLocalPref = 100

// maxCommunityOctets is how many octets of communities leave room for everything else in a message.
const maxCommunityOctets = maxMessage - 256

// manner is how routes are told in a session: what the two sides have settled by OPEN.
type manner struct {
	asn        uint32 // before the route's AS path; 0: the router is of the same AS
	fourOctets bool   // the router knows AS numbers of four octets (RFC 6793)
	hops       hops   // invalid: prefixes of that family are not told
}

// attributes are a route's path attributes as they are sent, sorted by type: those up to MP_REACH_NLRI, where that belongs, and the others.
type attributes struct{ before, after []byte }

// attributes returns how a route to a next hop is told. Prefixes of which they are the same share UPDATEs.
func (m *manner) attributes(r *route, hop netip.Addr, plain bool) (attributes, error) {
	all := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)}
	path, wide := m.path()
	all = append(all, path)
	if plain {
		all = append(all, bgp.NewPathAttributeNextHop(hop.String()))
	}
	if m.asn == 0 {
		pref := r.localPref
		if pref == 0 && !r.least {
			pref = defaultLocalPref
		}
		all = append(all, bgp.NewPathAttributeLocalPref(pref))
	}
	standard, large := split(r.communities)
	if len(standard) > 0 {
		all = append(all, bgp.NewPathAttributeCommunities(standard))
	}
	behind := len(all)
	if len(large) > 0 {
		all = append(all, bgp.NewPathAttributeLargeCommunities(large))
	}
	if wide != nil {
		all = append(all, wide)
	}
	var out attributes
	for i, a := range all {
		b, err := a.Serialize()
		if err != nil {
			return out, err
		}
		if i < behind {
			out.before = append(out.before, b...)
		} else {
			out.after = append(out.after, b...)
		}
	}
	return out, nil
}

// path returns AS_PATH, and, if it cannot say everything to the router, AS4_PATH (RFC 6793, 4.2.2).
func (m *manner) path() (path, wide bgp.PathAttributeInterface) {
	const sequence = bgp.BGP_ASPATH_ATTR_TYPE_SEQ
	switch {
	case m.asn == 0:
		return bgp.NewPathAttributeAsPath(nil), nil
	case m.fourOctets:
		return bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(sequence, []uint32{m.asn})}), nil
	case m.asn <= 0xffff:
		return bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAsPathParam(sequence, []uint16{uint16(m.asn)})}), nil
	}
	return bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAsPathParam(sequence, []uint16{bgp.AS_TRANS})}),
		bgp.NewPathAttributeAs4Path([]*bgp.As4PathParam{bgp.NewAs4PathParam(sequence, []uint32{m.asn})})
}

func split(all []backends.Community) (standard []uint32, large []*bgp.LargeCommunity) {
	for _, c := range all {
		if c.Large {
			large = append(large, bgp.NewLargeCommunity(c.Parts[0], c.Parts[1], c.Parts[2]))
		} else {
			standard = append(standard, c.Parts[0]<<16|c.Parts[1])
		}
	}
	return standard, large
}

// plain reports whether a family is told the way of RFC 4271. IPv4 prefixes with a next hop of IPv6 are not (RFC 8950), nor is IPv6.
func (m *manner) plain(f family) bool { return f == ipv4 && m.hops.v4.Is4() }

// announce returns the UPDATEs, as few as possible, that tell prefixes of a family and the same attributes.
func (m *manner) announce(f family, prefixes []netip.Prefix, a attributes) [][]byte {
	if m.plain(f) {
		return pack(prefixes, room-len(a.before)-len(a.after), func(nlri []byte) []byte {
			return update(nil, [][]byte{a.before, a.after}, nlri)
		})
	}
	hop := m.hops.v4
	if f == ipv6 {
		hop = m.hops.v6
	}
	to := hop.As16()
	header := append([]byte{0, byte(f), bgp.SAFI_UNICAST, byte(len(to))}, to[:]...)
	header = append(header, 0) // reserved
	return pack(prefixes, room-len(a.before)-len(a.after)-extendedHeader-len(header), func(nlri []byte) []byte {
		return update(nil, [][]byte{a.before, multiprotocol(bgp.BGP_ATTR_TYPE_MP_REACH_NLRI, header, nlri), a.after}, nil)
	})
}

// withdraw returns the UPDATEs, as few as possible, that withdraw prefixes of a family.
func withdraw(f family, prefixes []netip.Prefix) [][]byte {
	if f == ipv4 {
		return pack(prefixes, room, func(nlri []byte) []byte { return update(nlri, nil, nil) })
	}
	header := []byte{0, byte(f), bgp.SAFI_UNICAST}
	return pack(prefixes, room-extendedHeader-len(header), func(nlri []byte) []byte {
		return update(nil, [][]byte{multiprotocol(bgp.BGP_ATTR_TYPE_MP_UNREACH_NLRI, header, nlri)}, nil)
	})
}

// endOfRIB says that everything of a family has been told (RFC 4724, 2).
func endOfRIB(f family) []byte { return withdraw(f, nil)[0] }

const (
	// room is what an UPDATE can hold beside its two lengths.
	room = maxMessage - headerLen - 4
	// extendedHeader is that of an attribute which may be longer than 255 octets.
	extendedHeader = 4
)

// update returns a whole UPDATE (RFC 4271, 4.3).
func update(withdrawn []byte, attrs [][]byte, nlri []byte) []byte {
	n := 0
	for _, a := range attrs {
		n += len(a)
	}
	body := make([]byte, 0, 4+len(withdrawn)+n+len(nlri))
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(withdrawn))), withdrawn...)
	body = binary.BigEndian.AppendUint16(body, uint16(n))
	for _, a := range attrs {
		body = append(body, a...)
	}
	return message(typeUpdate, append(body, nlri...))
}

// multiprotocol returns an attribute of RFC 4760.
func multiprotocol(kind bgp.BGPAttrType, header, nlri []byte) []byte {
	n := len(header) + len(nlri)
	out := make([]byte, 0, extendedHeader+n)
	if n > 255 {
		out = append(out, byte(bgp.BGP_ATTR_FLAG_OPTIONAL|bgp.BGP_ATTR_FLAG_EXTENDED_LENGTH), byte(kind))
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	} else {
		out = append(out, byte(bgp.BGP_ATTR_FLAG_OPTIONAL), byte(kind), byte(n))
	}
	return append(append(out, header...), nlri...)
}

// pack puts prefixes, in their order, into messages with so much room for them. It makes one at least.
func pack(prefixes []netip.Prefix, room int, makeUpdate func(nlri []byte) []byte) [][]byte {
	var out [][]byte
	nlri := make([]byte, 0, room)
	for _, p := range prefixes {
		n := (p.Bits() + 7) / 8
		if len(nlri)+1+n > room {
			out, nlri = append(out, makeUpdate(nlri)), nlri[:0]
		}
		nlri = append(nlri, byte(p.Bits()))
		if p.Addr().Is4() {
			a := p.Addr().As4()
			nlri = append(nlri, a[:n]...)
		} else {
			a := p.Addr().As16()
			nlri = append(nlri, a[:n]...)
		}
	}
	return append(out, makeUpdate(nlri))
}
