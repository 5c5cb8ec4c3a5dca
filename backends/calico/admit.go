package calico

import (
	"fmt"
	"slices"

	"github.com/fairlead/fairlead/backends"
)

func unsupported(a *backends.BGPAdvertisement, field, message string, withheld bool) backends.Finding {
	return backends.Finding{Type: backends.UnsupportedField, Object: a.Source, Field: field, Message: message, Withheld: withheld}
}

// withheld returns what of an advertisement Calico cannot express, and whether the advertisement is not served for that reason.
func withheld(a *backends.BGPAdvertisement, s surroundings) (refused bool, findings []backends.Finding) {
	why := ""
	switch {
	case !s.managesPeers:
		why = "every node advertises to all of Calico's own peers; create BGPPeers of metallb.io, whose sessions the controller manages, or leave the field out"
	case len(s.foreignPeers) > 0:
		why = fmt.Sprintf("BGPPeer %q of Calico, which is not ours, would hear the routes, too; replace it by one of metallb.io, or leave the field out", s.foreignPeers[0])
	case !s.filters:
		why = "this Calico has no BGPFilter, which came with v3.26, to keep routes from a peer; leave the field out"
	}
	if len(a.Peers) > 0 && why != "" {
		findings = append(findings, unsupported(a, "spec.peers", why, !s.allowWider))
	}
	if len(a.NodeSelectors) > 0 && why != "" {
		findings = append(findings, unsupported(a, "spec.nodeSelectors", why, !s.allowWider))
	}
	refused = len(findings) > 0 && !s.allowWider
	if a.LocalPref != 0 {
		findings = append(findings, unsupported(a, "spec.localPref",
			"Calico sets no local preference; routes to peers of the same AS carry its default", false))
	}
	return refused, findings
}

// admit returns which of the advertisements of a pool are served.
func (r *routes) admit(pool string, by []*backends.BGPAdvertisement, mode Aggregation, s surroundings) []*backends.BGPAdvertisement {
	if mode != PerIP {
		by = slices.DeleteFunc(slices.Clone(by), func(a *backends.BGPAdvertisement) bool {
			if len(a.ServiceSelectors) == 0 {
				return false
			}
			r.findings = append(r.findings, unsupported(a, "spec.serviceSelectors",
				"Calico advertises every Service with an address from an entry; choose the aggregation per-ip, which needs Calico v3.30.7, v3.31.5 or v3.32", !s.allowWider))
			r.refuse(pool, a, "spec.serviceSelectors", s)
			return !s.allowWider
		})
		return by
	}
	other := apart(by)
	if other == nil {
		return by
	}
	return slices.DeleteFunc(slices.Clone(by), func(a *backends.BGPAdvertisement) bool {
		field := "spec.serviceSelectors"
		if len(a.ServiceSelectors) == 0 {
			field = "spec.peers"
			if len(a.Peers) == 0 {
				field = "spec.nodeSelectors"
			}
		}
		r.findings = append(r.findings,
			unsupported(a, field, fmt.Sprintf("with other advertisements of pool %q for other Services and other peers or nodes, "+
				"Calico would show the routes of all of them to all of these; use a pool for each", pool), !s.allowWider))
		r.refuse(pool, a, field, s)
		return !s.allowWider
	})
}

// apart returns the first advertisement of a pool whose Services go to other peers or nodes than those of another one; nil if there
// is none. Filters keep pools apart, not Services.
func apart(by []*backends.BGPAdvertisement) *backends.BGPAdvertisement {
	services := false
	for _, a := range by {
		if len(a.Peers)+len(a.NodeSelectors)+len(a.ServiceSelectors) == 0 {
			return nil // this one shows everything to everybody
		}
		services = services || len(a.ServiceSelectors) > 0
	}
	if !services {
		return nil
	}
	for _, a := range by {
		if audience(a) != audience(by[0]) {
			return a
		}
	}
	return nil
}

// audience is equal for advertisements that go to the same peers and nodes.
func audience(a *backends.BGPAdvertisement) string {
	var nodes []string
	for _, s := range a.NodeSelectors {
		nodes = append(nodes, s.String())
	}
	return fmt.Sprintf("%q %q", slices.Sorted(slices.Values(a.Peers)), slices.Sorted(slices.Values(nodes)))
}

// refuse tells why a pool is not advertised, unless it is all the same.
func (r *routes) refuse(pool string, a *backends.BGPAdvertisement, field string, s surroundings) {
	if _, told := r.pools[pool]; !told && !s.allowWider {
		r.pools[pool] = backends.PoolOutcome{Message: fmt.Sprintf("%s asks for %s, which Calico cannot do", a.Source, field)}
	}
}
