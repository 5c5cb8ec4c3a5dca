package calico

import (
	"net/netip"
	"slices"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
)

const (
	// contentionLimit is how many times within contentionWindow what somebody took out is put back.
	contentionLimit  = 3
	contentionWindow = 10 * time.Minute
)

// memory is what this process has seen of ours in the BGPConfiguration. Only of that does it say that somebody took it out: the
// record may also name what could not be written.
type memory struct {
	entries  map[netip.Prefix]bool
	tags     map[string]bool // by Tag.String
	switched v3.ServiceLoadBalancerAggregation
	putBack  []time.Time // when something was put back
}

// see remembers what is there of ours.
func (m *memory) see(r Record) {
	m.entries, m.tags, m.switched = map[netip.Prefix]bool{}, map[string]bool{}, ""
	for _, e := range r.Owned {
		m.entries[e.Prefix] = true
	}
	for _, t := range r.Tags {
		m.tags[t.String()] = true
	}
	if r.Aggregation != nil {
		m.switched = r.Aggregation.Set
	}
}

// takenOut drops from what merge found missing all that was never there. It reports whether anything is left.
func (m *memory) takenOut(x *merged) bool {
	x.removed = slices.DeleteFunc(x.removed, func(p netip.Prefix) bool { return !m.entries[p] })
	x.removedTags = slices.DeleteFunc(x.removedTags, func(t Tag) bool { return !m.tags[t.String()] })
	return len(x.removed)+len(x.removedTags) > 0
}

// tired reports whether something was put back too often to do it again.
func (m *memory) tired(now time.Time) bool {
	m.putBack = slices.DeleteFunc(m.putBack, func(t time.Time) bool { return now.Sub(t) > contentionWindow })
	return len(m.putBack) >= contentionLimit
}

// leaves returns what is not put back.
func (m *merged) leaves() leave {
	out := leave{entries: map[netip.Prefix]bool{}, tags: map[string]bool{}}
	for _, p := range m.removed {
		out.entries[p] = true
	}
	for _, t := range m.removedTags {
		out.tags[t.String()] = true
	}
	return out
}
