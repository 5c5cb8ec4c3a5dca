package calico

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// configurationSource names the object that everybody shares.
var configurationSource = backends.Source{Kind: v3.KindBGPConfiguration, Name: defaultName}

// merged is the BGPConfiguration as it is to be, and what of it is ours.
type merged struct {
	ours     Record         // entries, tags and aggregation only
	spec     map[string]any // the fields that change; nil stands for one that goes
	findings []backends.Finding
	// removed are entries of ours that somebody else took out.
	removed []netip.Prefix
	// frozen says which entry of others keeps BIRD from acting on any change; empty if none does.
	frozen string
}

// merge brings together what is there, what of that is ours, and what is wanted. Entries of others, and their order, stay as they
// are; an entry of theirs that is wanted here, too, is used and remains theirs. held are entries of ours that stay as they are.
// current may be nil. It is a pure function.
func merge(current *configuration, record Record, want routes, held []Entry, manager string) merged {
	m := merged{spec: map[string]any{}}
	if current == nil {
		current = &configuration{}
	}
	m.blocks(current, record, append(slices.Clone(want.entries), held...), manager)
	m.tags(current, record, want.tags, held)
	m.aggregation(current, record, want.aggregation)
	return m
}

func (m *merged) report(kind backends.FindingType, field, message string) {
	m.findings = append(m.findings, backends.Finding{Type: kind, Object: configurationSource, Field: field, Message: message})
}

func (m *merged) blocks(current *configuration, record Record, want []Entry, manager string) {
	const field = "spec.serviceLoadBalancerIPs"
	var list []v3.ServiceLoadBalancerIPBlock
	var claimed, present []netip.Prefix
	for _, block := range current.Spec.ServiceLoadBalancerIPs {
		p, err := netip.ParsePrefix(block.CIDR)
		if err == nil && p == p.Masked() && record.owns(p) {
			present = append(present, p)
			continue
		}
		list = append(list, block)
		if block.CIDR == "" {
			continue // Calico ignores it
		}
		if err != nil || p != p.Masked() {
			m.freeze(fmt.Sprintf("%s[%s]", field, block.CIDR), "has host bits or is no CIDR")
		}
		if err == nil {
			claimed = append(claimed, p.Masked())
		}
	}
	sortEntries(want)
	for _, e := range want {
		i := slices.IndexFunc(claimed, func(p netip.Prefix) bool { return p.Bits() <= e.Prefix.Bits() && p.Contains(e.Prefix.Addr()) })
		switch {
		case i >= 0 && claimed[i] == e.Prefix:
			continue
		case i >= 0:
			m.report(backends.CoveredByExisting, fmt.Sprintf("%s[%s]", field, claimed[i]),
				fmt.Sprintf("covers %s of pool %q, for which no entry is made; it is not ours and says how its addresses are advertised", e.Prefix, e.Pool))
			continue
		}
		m.ours.Owned = append(m.ours.Owned, e)
		list = append(list, v3.ServiceLoadBalancerIPBlock{CIDR: e.Prefix.String()})
		if record.owns(e.Prefix) && !slices.Contains(present, e.Prefix) {
			m.removed = append(m.removed, e.Prefix)
		}
	}
	m.findings = distinct(m.findings)
	if slices.Equal(list, current.Spec.ServiceLoadBalancerIPs) {
		return
	}
	if owner := appliedBy(current.ManagedFields, "f:serviceLoadBalancerIPs", manager); owner != "" {
		var missing []string
		for _, e := range m.ours.Owned {
			if !slices.Contains(present, e.Prefix) {
				missing = append(missing, e.Prefix.String())
			}
		}
		m.report(backends.Contended, field, fmt.Sprintf("field manager %q applies the whole list, so that nothing is written; it has to hold %s", owner, strings.Join(missing, ", ")))
		m.ours.Owned, m.removed = slices.DeleteFunc(m.ours.Owned, func(e Entry) bool { return !slices.Contains(present, e.Prefix) }), nil
		return
	}
	set(m.spec, "serviceLoadBalancerIPs", list)
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
		if e.Operation == metav1.ManagedFieldsOperationApply && e.Manager != ours && e.FieldsV1 != nil && strings.Contains(e.FieldsV1.GetRawString(), `"`+name+`"`) {
			return e.Manager
		}
	}
	return ""
}

func (m *merged) tags(current *configuration, record Record, want []Tag, held []Entry) {
	var list []v3.PrefixAdvertisement
	for _, p := range current.Spec.PrefixAdvertisements {
		t, ok := tagOf(p)
		if ok && slices.ContainsFunc(record.Tags, t.equal) {
			if slices.ContainsFunc(held, func(e Entry) bool { return e.Prefix == t.Prefix }) && !slices.ContainsFunc(want, t.equal) {
				want = append(want, t)
			}
			continue
		}
		list = append(list, p)
		if problem := faulty(p, current.Spec.Communities); problem != "" {
			m.freeze(fmt.Sprintf("spec.prefixAdvertisements[%s]", p.CIDR), problem)
		}
	}
	for _, t := range want {
		m.ours.Tags = append(m.ours.Tags, t)
		list = append(list, v3.PrefixAdvertisement{CIDR: t.Prefix.String(), Communities: t.Communities})
	}
	if !slices.EqualFunc(list, current.Spec.PrefixAdvertisements, func(a, b v3.PrefixAdvertisement) bool {
		return a.CIDR == b.CIDR && slices.Equal(a.Communities, b.Communities)
	}) {
		set(m.spec, "prefixAdvertisements", list)
	}
}

func tagOf(p v3.PrefixAdvertisement) (Tag, bool) {
	prefix, err := netip.ParsePrefix(p.CIDR)
	return Tag{prefix, p.Communities}, err == nil
}

// faulty returns why BIRD refuses its configuration for the sake of an entry, or "".
func faulty(p v3.PrefixAdvertisement, aliases []v3.Community) string {
	prefix, err := netip.ParsePrefix(p.CIDR)
	if err != nil || prefix != prefix.Masked() {
		return "has host bits or is no CIDR"
	}
	for _, c := range p.Communities {
		for _, a := range aliases {
			if a.Name == c {
				c = a.Value
			}
		}
		parts := strings.Split(c, ":")
		bits := 16
		if len(parts) == 3 {
			bits = 32
		}
		for _, part := range parts {
			if _, err := strconv.ParseUint(part, 10, bits); err != nil && len(parts) > 1 {
				return fmt.Sprintf("has the community %s, whose numbers are too large", c)
			}
		}
	}
	return ""
}

// freeze reports an entry that keeps BIRD from reading its configuration: the nodes stay with the last good one.
func (m *merged) freeze(field, problem string) {
	m.frozen = field
	m.report(backends.ConfigFrozen, field, problem+": BIRD refuses the whole configuration, and every node stays with the last good one; correct or remove the entry, which is not ours")
}

func (m *merged) aggregation(current *configuration, record Record, want v3.ServiceLoadBalancerAggregation) {
	const field = "serviceLoadBalancerAggregation"
	now := current.aggregation()
	was := record.Aggregation
	switch {
	case want == "" && was == nil:
	case want == "":
		if now == was.Set && was.Before != was.Set {
			m.spec[field] = nil
			if was.Before != "" {
				m.spec[field] = string(was.Before)
			}
		}
	case was != nil && was.Set == want && now != want:
		m.ours.Aggregation = was
		m.report(backends.Contended, "spec."+field, fmt.Sprintf("was set to %s here and changed to %q by somebody else; it is left so", want, now))
	case now == want:
		m.ours.Aggregation = was
	default:
		m.ours.Aggregation = &Switched{Before: now, Set: want}
		if was != nil {
			m.ours.Aggregation.Before = was.Before
		}
		m.spec[field] = string(want)
	}
}
