package convert

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config/ranges"
)

// pool is a pool as the ConfigMap and AddressPools have it: what its addresses are announced by belongs to it.
type pool struct {
	name, protocol string
	spec           v1beta1.IPAddressPoolSpec // but for the addresses
	ranges         []addressRange
	ads            []v1beta1.BGPAdvertisementSpec // of protocol bgp; none stands for one without settings
	told           bool                           // there is a problem with it already, which may be why something is missing
}

// addressRange is a range of a pool, and where it was read.
type addressRange struct {
	netipx.IPRange
	text string
	pool string
	at   reader
}

// ranges reads addresses of a pool. A single address stands for a range of one.
func (r reader) ranges() (out []addressRange) {
	r.items(func(i reader) {
		s := i.str()
		if s == "" {
			return
		}
		if addr, err := netip.ParseAddr(strings.TrimSpace(s)); err == nil {
			s = netip.PrefixFrom(addr, addr.BitLen()).String()
		}
		x, err := ranges.Parse(s)
		if err != nil {
			i.problem("%v", err)
			return
		}
		out = append(out, addressRange{IPRange: x, text: s, at: i})
	})
	return out
}

// addPool adds an IPAddressPool, and reports whether there are addresses left for it. A range that overlaps another is a problem, and left
// out: an address can be in one pool only, once.
func (c *converter) addPool(r reader, name string, spec v1beta1.IPAddressPoolSpec, ranges []addressRange) bool {
	for _, x := range ranges {
		x.pool = objectName(name)
		if i := slices.IndexFunc(c.claims, func(other addressRange) bool { return x.Overlaps(other.IPRange) }); i >= 0 {
			other := c.claims[i]
			x.at.problem("%s overlaps %s of pool %q (%s), and an address can be in one pool only, and there once: take it out of one of them",
				x.text, other.text, other.pool, other.at.place())
			continue
		}
		c.claims = append(c.claims, x)
		spec.Addresses = append(spec.Addresses, x.text)
	}
	if len(spec.Addresses) == 0 {
		return false
	}
	c.add(r, name, &v1beta1.IPAddressPool{Spec: spec})
	return true
}

// poolAndAds adds a pool and its advertisements, which are called as MetalLB's own converter calls them.
func (c *converter) poolAndAds(r reader, p pool) {
	switch {
	case p.protocol != "bgp" && p.protocol != "layer2":
		if !p.told {
			r.problem("protocol %q of pool %q is neither layer2 nor bgp", p.protocol, p.name)
		}
		return
	case p.name == "" || len(p.ranges) == 0:
		if !p.told {
			r.problem("a pool needs name and addresses")
		}
		return
	case p.protocol == "layer2" && len(p.ads) > 0:
		r.problem("pool %q has protocol layer2 and advertisements by BGP: remove one of them", p.name)
		return
	}
	if !c.addPool(r, p.name, p.spec, p.ranges) {
		return
	}
	pools := []string{objectName(p.name)}
	if p.protocol == "layer2" {
		c.layer2++
		c.add(r, "l2advertisement"+strconv.Itoa(c.layer2), &v1beta1.L2Advertisement{Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: pools}})
		return
	}
	if len(p.ads) == 0 {
		p.ads = append(p.ads, v1beta1.BGPAdvertisementSpec{})
	}
	for _, ad := range p.ads {
		c.bgp++
		ad.IPAddressPools = pools
		c.add(r, "bgpadvertisement"+strconv.Itoa(c.bgp), &v1beta1.BGPAdvertisement{Spec: ad})
	}
}
