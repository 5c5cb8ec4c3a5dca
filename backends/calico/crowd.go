package calico

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/backends"
)

// maxPrefixes is how many entries of pools' prefixes there may be for each family. It was measured: Calico's confd has BIRD read its
// configuration twice when the list changes, a moment apart, with one SIGHUP each, and BIRD 1.6 forgets a signal that comes while it
// reads (sysdep/unix/io.c): it stays with half of the change until the next one. The longer the list, the longer it reads. Of five pools
// of 100 ranges each, all that were written came to be routes of three nodes; of five of 250, three; of 500, two; of 1,000, none.
const maxPrefixes = 100

// crowd counts the entries of pools' prefixes.
type crowd struct {
	v4, v6 int
}

// with returns the crowd with more prefixes.
func (c crowd) with(prefixes []netip.Prefix) crowd {
	for _, p := range prefixes {
		if p.Addr().Is4() {
			c.v4++
		} else {
			c.v6++
		}
	}
	return c
}

// most returns how many entries there are for the family that has more.
func (c crowd) most() int { return max(c.v4, c.v6) }

// exceeds reports whether what came to beside is more than there may be.
func (c crowd) exceeds(beside crowd) bool {
	return c.v4 > maxPrefixes && c.v4 > beside.v4 || c.v6 > maxPrefixes && c.v6 > beside.v6
}

// liveFirst puts the pools that have entries already before those that have none, so that no pool that comes has one go that is there.
func liveFirst(order []string, live map[string]bool) []string {
	rank := func(pool string) int {
		if live[pool] {
			return 0
		}
		return 1
	}
	out := slices.Clone(order)
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return out
}

// tooMany keeps a pool out whose prefixes are more than BIRD reads reliably, beside those that are there. One that is live stays: to take
// its routes away for that would be worse than what may happen, which is told.
func (r *routes) tooMany(pool string, by []*backends.BGPAdvertisement, beside, with crowd, live bool) {
	what, more := "the pool is not advertised", with.v4-beside.v4+with.v6-beside.v6
	if live {
		what = "a node may go on with an earlier list until the next change"
	}
	message := fmt.Sprintf("its prefixes, %d, make %d entries of spec.%s in one family, and BIRD reads no more than %d reliably: %s; "+
		"use addresses that are fewer prefixes, such as a whole CIDR in place of many ranges", more, with.most(), fieldBlocks, maxPrefixes, what)
	r.findings = append(r.findings, backends.Finding{
		Type: backends.UnsupportedField, Object: backends.Source{Kind: "IPAddressPool", Namespace: by[0].Source.Namespace, Name: pool},
		Field:   "spec.addresses",
		Message: message, Missing: !live,
	})
	if live {
		return
	}
	if r.crowded == nil {
		r.crowded = map[string]bool{}
	}
	r.crowded[pool] = true
	r.pools[pool] = backends.PoolOutcome{Message: fmt.Sprintf("Calico: it would make %d entries of spec.%s, and %d is the most that BIRD reads reliably", with.most(), fieldBlocks, maxPrefixes)}
}

// announced returns the announcements of the pools that are not kept out.
func (x *apply) announced() []backends.Announcement {
	if len(x.routes.crowded) == 0 {
		return x.want.Announcements
	}
	return slices.DeleteFunc(slices.Clone(x.want.Announcements), func(a backends.Announcement) bool { return x.routes.crowded[a.Pool] })
}
