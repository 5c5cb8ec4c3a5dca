package calico

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// configurationSource names the object that everybody shares.
var configurationSource = backends.Source{Kind: v3.KindBGPConfiguration, Name: defaultName}

// The fields that are shared, below spec.
const (
	fieldBlocks      = "serviceLoadBalancerIPs"
	fieldTags        = "prefixAdvertisements"
	fieldAggregation = "serviceLoadBalancerAggregation"
)

// merging is what merge brings together.
type merging struct {
	current *configuration // nil if there is none
	record  Record
	want    routes
	held    []Entry // entries of ours that stay as they are
	manager string  // ours
	leave   leave
	// lingering is set if entries may not go in one step with their communities, or before others that overlap them are in force.
	lingering bool
}

// leave is what somebody else took out and is not put back for now.
type leave struct {
	entries     map[netip.Prefix]bool
	tags        map[string]bool // by Tag.String
	aggregation bool
}

// merged is the BGPConfiguration as it is to be, and what of it is ours.
type merged struct {
	ours     Record         // entries, tags and aggregation only
	spec     map[string]any // the fields that change; nil stands for one that goes
	findings []backends.Finding
	// removed and removedTags are ours according to the record, wanted, and not there: somebody took them out, or they were never
	// written.
	removed     []netip.Prefix
	removedTags []Tag
	// missing are prefixes that are wanted and cannot be written, because somebody else applies the list.
	missing []netip.Prefix
	// covered are entries that are not made because a wider one of somebody else is there, with that one.
	covered map[Entry]netip.Prefix
	// going are the entries that are there and not wanted; leaving is set if one of them stays for now, or its communities do.
	going   []netip.Prefix
	leaving bool
	// frozen says which entry of others keeps BIRD from acting on any change; empty if none does.
	frozen string
}

// merge brings together what is there, what of that is ours, and what is wanted. Entries of others, and their order, stay as they
// are; an entry of theirs that is wanted here, too, is used and remains theirs. It is a pure function.
func merge(in merging) merged {
	m := merged{spec: map[string]any{}, covered: map[Entry]netip.Prefix{}}
	if in.current == nil {
		in.current = &configuration{}
	}
	m.blocks(&in)
	m.tags(&in)
	m.aggregation(&in)
	return m
}

func (m *merged) report(kind backends.FindingType, field, message string) {
	m.findings = append(m.findings, backends.Finding{Type: kind, Object: configurationSource, Field: field, Message: message})
}

// canonical parses an entry of the list; false if it is none that this package would write.
func canonical(cidr string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(cidr)
	return p, err == nil && p == p.Masked() && p.String() == cidr
}

func (m *merged) blocks(in *merging) {
	const field = "spec." + fieldBlocks
	owned := map[netip.Prefix]bool{}
	for _, e := range in.record.Owned {
		owned[e.Prefix] = true
	}
	var theirs, have []v3.ServiceLoadBalancerIPBlock // have are ours
	claimed, present := map[netip.Prefix]bool{}, map[netip.Prefix]bool{}
	for _, block := range in.current.Spec.ServiceLoadBalancerIPs {
		p, ok := canonical(block.CIDR)
		if ok && owned[p] && !present[p] {
			present[p], have = true, append(have, block)
			continue
		}
		theirs = append(theirs, block)
		if p.IsValid() {
			claimed[p.Masked()] = true
		}
		if block.CIDR != "" && (!p.IsValid() || p != p.Masked()) { // Calico ignores an empty one
			m.freeze(fmt.Sprintf("%s[%s]", field, block.CIDR), "has host bits or is no CIDR")
		}
	}
	lengths := lengthsOf(claimed)
	want := slices.Concat(in.want.entries, in.held)
	want = append(want, m.handingOver(in, want, present)...)
	sortEntries(want)
	var next []v3.ServiceLoadBalancerIPBlock // ours
	for _, e := range want {
		if by, ok := cover(e.Prefix, claimed, lengths); ok {
			if by != e.Prefix {
				m.covered[e] = by
				m.report(backends.CoveredByExisting, fmt.Sprintf("%s[%s]", field, by),
					fmt.Sprintf("covers %s of pool %q, for which no entry is made; it is not ours and says how its addresses are advertised", e.Prefix,
						e.Pool))
			}
			continue
		}
		m.ours.Owned = append(m.ours.Owned, e)
		if owned[e.Prefix] && !present[e.Prefix] {
			m.removed = append(m.removed, e.Prefix)
			if in.leave.entries[e.Prefix] {
				continue
			}
		}
		next = append(next, v3.ServiceLoadBalancerIPBlock{CIDR: e.Prefix.String()})
		if !present[e.Prefix] {
			m.missing = append(m.missing, e.Prefix)
		}
	}
	m.findings = distinct(m.findings)
	owner := appliedBy(in.current.ManagedFields, fieldBlocks, in.manager)
	if owner == "" {
		m.missing = nil
		if !sameBlocks(have, next) {
			set(m.spec, fieldBlocks, slices.Concat(theirs, next))
		}
		return
	}
	// The list is theirs, with all that is in it.
	m.ours.Owned, m.removed = nil, nil
	if len(m.missing) > 0 {
		m.report(backends.Contended, field, fmt.Sprintf("field manager %q applies the whole list, so that nothing is written; it has to hold %s",
			owner, join(m.missing)))
	}
}

// handingOver returns the entries that are there, go, and overlap others that come: their addresses would be unreachable for a moment
// if they went in the same step, because confd renders routes and what is to be exported each in its own time.
func (m *merged) handingOver(in *merging, want []Entry, present map[netip.Prefix]bool) []Entry {
	if !in.lingering {
		return nil
	}
	wanted := map[netip.Prefix]bool{}
	var coming []netip.Prefix
	for _, e := range want {
		wanted[e.Prefix] = true
		if !present[e.Prefix] {
			coming = append(coming, e.Prefix)
		}
	}
	var out []Entry
	for _, e := range in.record.Owned {
		if !present[e.Prefix] || wanted[e.Prefix] {
			continue
		}
		m.going = append(m.going, e.Prefix)
		if slices.ContainsFunc(coming, e.Prefix.Overlaps) {
			out, m.leaving = append(out, e), true
		}
	}
	return out
}

// sameBlocks reports whether both have the same entries, in any order.
func sameBlocks(a, b []v3.ServiceLoadBalancerIPBlock) bool {
	in := map[string]bool{}
	for _, x := range a {
		in[x.CIDR] = true
	}
	return len(a) == len(b) && !slices.ContainsFunc(b, func(x v3.ServiceLoadBalancerIPBlock) bool { return !in[x.CIDR] })
}

// lengthsOf returns the lengths of prefixes, the shortest first.
func lengthsOf(prefixes map[netip.Prefix]bool) []int {
	var out []int
	for p := range prefixes {
		out = append(out, p.Bits())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// cover returns the widest of some prefixes, which have these lengths, that p is in.
func cover(p netip.Prefix, prefixes map[netip.Prefix]bool, lengths []int) (netip.Prefix, bool) {
	if prefixes[p] {
		return p, true
	}
	for _, bits := range lengths {
		if bits >= p.Bits() {
			break
		}
		if wider := netip.PrefixFrom(p.Addr(), bits).Masked(); prefixes[wider] {
			return wider, true
		}
	}
	return netip.Prefix{}, false
}

func join(prefixes []netip.Prefix) string {
	var out []string
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// set puts a list into a merge patch: an empty one removes the field.
func set[T any](spec map[string]any, field string, list []T) {
	spec[field] = list
	if len(list) == 0 {
		spec[field] = nil
	}
}

// appliedBy returns the manager, other than ours, that applies a field of an object from the server side: it owns all of an atomic
// list, and writes it again whenever it applies.
func appliedBy(fields []metav1.ManagedFieldsEntry, name, ours string) string {
	for _, e := range fields {
		if e.Operation == metav1.ManagedFieldsOperationApply && e.Manager != ours && e.FieldsV1 != nil &&
			strings.Contains(e.FieldsV1.GetRawString(), `"f:`+name+`"`) {
			return e.Manager
		}
	}
	return ""
}

// freeze reports an entry that keeps BIRD from reading its configuration: the nodes stay with the last good one.
func (m *merged) freeze(field, problem string) {
	m.frozen = field
	m.report(backends.ConfigFrozen, field,
		problem+": BIRD refuses the whole configuration, and every node stays with the last good one; correct or remove the entry, which is not ours")
}

func (m *merged) aggregation(in *merging) {
	now, was, want := in.current.aggregation(), in.record.Aggregation, in.want.aggregation
	owner := appliedBy(in.current.ManagedFields, fieldAggregation, in.manager)
	switch {
	case in.leave.aggregation && len(m.ours.Owned) > 0:
		m.ours.Aggregation = was
		m.report(backends.Contended, "spec."+fieldAggregation, fmt.Sprintf("was set to %s here and changed to %q by somebody else; it is left so",
			was.Set, now))
	case want == "" && was == nil:
	case want == "":
		if now == was.Set && was.Before != was.Set {
			m.spec[fieldAggregation] = nil
			if was.Before != "" {
				m.spec[fieldAggregation] = string(was.Before)
			}
		}
	case now == want:
		m.ours.Aggregation = was
	case owner != "":
		m.report(backends.Contended, "spec."+fieldAggregation,
			fmt.Sprintf("field manager %q applies it, so that it is not written; it has to be %s", owner, want))
	default:
		m.ours.Aggregation = &Switched{Before: now, Set: want}
		if was != nil {
			m.ours.Aggregation.Before = was.Before
		}
		m.spec[fieldAggregation] = string(want)
	}
}
