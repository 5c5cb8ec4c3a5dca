package bgp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/backends"
)

// gracefulShutdown is GRACEFUL_SHUTDOWN of RFC 8326.
var gracefulShutdown = backends.Community{Parts: [3]uint32{65535, 0}}

// route is how a prefix is told to a peer. Its communities are sorted, without repetitions. Prefixes that are told in the same way share
// one, and it is never changed.
type route struct {
	localPref   uint32 // 0: not set, unless it is least
	least       bool   // the local preference is 0
	communities []backends.Community
}

func (r *route) equal(o *route) bool {
	return r.localPref == o.localPref && r.least == o.least && slices.Equal(r.communities, o.communities)
}

// drained returns r as routers hear it that are to prefer other nodes. What the community makes of a route that comes from another AS
// (RFC 8326, 4.3), the local preference is to routers of the same one.
func (r *route) drained() *route {
	return &route{least: true, communities: sorted(append(slices.Clone(r.communities), gracefulShutdown))}
}

// routes makes the routes of a plan. Most are like the one before.
type routes struct {
	all  []*route
	from backends.Route // of which last was made
	last *route
}

// of returns how a route is told, or why it cannot be.
func (all *routes) of(r *backends.Route) (*route, error) {
	from := &all.from
	if all.last != nil && r.LocalPref == from.LocalPref && r.Draining == from.Draining && slices.Equal(r.Communities, from.Communities) {
		return all.last, nil
	}
	octets := 0
	for _, c := range r.Communities {
		switch {
		case c.Large:
			octets += 12
		case c.Parts[0] > 0xffff || c.Parts[1] > 0xffff:
			return nil, fmt.Errorf("community %s: the numbers of a standard community are 0 to 65535 (RFC 1997)", c)
		default:
			octets += 4
		}
	}
	if octets > maxCommunityOctets {
		return nil, fmt.Errorf("its %d communities are too many for a message of BGP", len(r.Communities))
	}
	x := &route{localPref: r.LocalPref, communities: sorted(slices.Clone(r.Communities))}
	if r.Draining {
		x = x.drained()
	}
	if i := slices.IndexFunc(all.all, x.equal); i >= 0 {
		x = all.all[i]
	} else {
		all.all = append(all.all, x)
	}
	all.from, all.last = *r, x
	return x, nil
}

func sorted(c []backends.Community) []backends.Community {
	slices.SortFunc(c, func(a, b backends.Community) int { return cmp.Or(cmp.Compare(a.String(), b.String()), 0) })
	return slices.Compact(c)
}

// planned is what is wanted of one session.
type planned struct {
	name     string // of the peer
	settings settings
	routes   map[netip.Prefix]*route
}

// plan is what is wanted of all sessions.
type plan map[key]*planned

// existing returns the settings of the session that a peer has; it is how a peer that cannot be set up keeps it.
type existing func(name string) (settings, bool)

// newPlan returns what is wanted of which session. The errors are of the type *PeerError and *backends.AnnounceError.
func newPlan(want backends.NodeDesired, has existing) (plan, []error) {
	p := plan{}
	var errs []error
	byName := map[string]*planned{}
	for i := range want.Peers {
		peer := &want.Peers[i]
		s, faults := settingsOf(peer)
		errs = append(errs, faults...)
		if len(faults) > 0 {
			var ok bool
			if s, ok = has(peer.Source.Name); !ok {
				continue
			}
		}
		if other, taken := p[s.key]; taken {
			field, value := "spec.peerAddress", s.address.String()
			if s.iface != "" {
				field, value = "spec.interface", s.iface
			}
			errs = append(errs, &PeerError{Peer: peer.Source, Field: field, Value: value, Err: fmt.Errorf("%w: %q", errDuplicate, other.name)})
			continue
		}
		x := &planned{name: peer.Source.Name, settings: s, routes: map[netip.Prefix]*route{}}
		p[s.key], byName[x.name] = x, x
	}
	known := &routes{}
	for i := range want.Routes {
		if err := p.add(&want.Routes[i], known, byName); err != nil {
			errs = append(errs, &backends.AnnounceError{Prefix: want.Routes[i].Prefix, Err: err})
		}
	}
	return p, errs
}

// add gives a route to the sessions that are to tell it, and returns why none is.
func (p plan) add(r *backends.Route, known *routes, byName map[string]*planned) error {
	if !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked() || r.Prefix.Addr().Is4In6() {
		return errors.New("it is not a prefix that BGP can tell")
	}
	x, err := known.of(r)
	if err != nil {
		return err
	}
	var hears []*planned
	if len(r.Peers) == 0 {
		for _, s := range p {
			hears = append(hears, s)
		}
	}
	for _, name := range r.Peers {
		if s, ok := byName[name]; ok {
			hears = append(hears, s)
		}
	}
	told := false
	for _, s := range hears {
		if !s.settings.carries(r.Prefix.Addr().Is6()) {
			continue
		}
		told = true
		if other, taken := s.routes[r.Prefix]; taken && !other.equal(x) {
			return fmt.Errorf("peer %q is to hear it twice, and differently", s.name)
		}
		s.routes[r.Prefix] = x
	}
	switch {
	case told:
		return nil
	case len(hears) == 0 && len(r.Peers) > 0:
		return fmt.Errorf("none of the peers %q is a usable peer of this node", r.Peers)
	case len(hears) == 0:
		return errors.New("this node has no usable peer")
	}
	return errors.New("no peer of this node takes prefixes of its IP family: give it a peer of that family, or set dualStackAddressFamily")
}
