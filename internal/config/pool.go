package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config/ranges"
)

// Pool is an IPAddressPool in force.
type Pool struct {
	Name string
	// Ranges are in the order of spec.addresses; they overlap neither each other nor those of another pool in force.
	Ranges     []netipx.IPRange
	AvoidBuggy bool // spec.avoidBuggyIPs
	AutoAssign bool // spec.autoAssign, true unless it says otherwise
	Restricted bool // it has a spec.serviceAllocation
	Priority   int  // of that; 0: none
	// Allocator is who gives out the addresses (AnnotationAllocator), empty for the built-in engine, and AllocatorPool is the pool of its own
	// that it takes them from.
	Allocator, AllocatorPool string

	Ref    Ref
	Labels labels.Set

	spec              v1beta1.IPAddressPoolSpec // what the rest was made from
	namespaces        []string
	namespaceSelector []labels.Selector
	serviceSelector   []labels.Selector
	former            []netipx.IPRange // those of the version before, if they were others
}

// Prefixes returns the pool's addresses as the fewest CIDRs, in address order, IPv4 first.
func (p *Pool) Prefixes() []netip.Prefix {
	var b netipx.IPSetBuilder
	for _, r := range p.Ranges {
		b.AddRange(r)
	}
	set, err := b.IPSet()
	if err != nil {
		panic("config: pool " + p.Name + " holds an invalid range: " + err.Error())
	}
	return set.Prefixes()
}

// Contains reports whether addr is in one of the pool's ranges.
func (p *Pool) Contains(addr netip.Addr) bool {
	return slices.ContainsFunc(p.Ranges, func(r netipx.IPRange) bool { return r.Contains(addr) })
}

// Left reports whether addr was in one of the ranges that the pool had before it was edited the last time, and is in none any more.
func (p *Pool) Left(addr netip.Addr) bool {
	return !p.Contains(addr) && slices.ContainsFunc(p.former, func(r netipx.IPRange) bool { return r.Contains(addr) })
}

// admits reports whether the pool's serviceAllocation admits a Service: its namespace is listed or matches one of the namespace
// selectors, and its labels match one of the service selectors. A group that is absent admits all.
func (p *Pool) admits(namespace string, namespaceLabels, serviceLabels labels.Set) bool {
	if len(p.namespaces)+len(p.namespaceSelector) > 0 &&
		!slices.Contains(p.namespaces, namespace) && !matchesAny(p.namespaceSelector, namespaceLabels) {
		return false
	}
	return len(p.serviceSelector) == 0 || matchesAny(p.serviceSelector, serviceLabels)
}

// Refusal says which rule of the pool's serviceAllocation keeps a Service out, empty if none does.
func (p *Pool) Refusal(namespace string, namespaceLabels, serviceLabels labels.Set) string {
	var out []string
	if len(p.namespaces)+len(p.namespaceSelector) > 0 &&
		!slices.Contains(p.namespaces, namespace) && !matchesAny(p.namespaceSelector, namespaceLabels) {
		var rules []string
		if len(p.namespaces) > 0 {
			rules = append(rules, "spec.serviceAllocation.namespaces")
		}
		if len(p.namespaceSelector) > 0 {
			rules = append(rules, "spec.serviceAllocation.namespaceSelectors")
		}
		out = append(out, fmt.Sprintf("%s of the pool leave out namespace %q", strings.Join(rules, " and "), namespace))
	}
	if len(p.serviceSelector) > 0 && !matchesAny(p.serviceSelector, serviceLabels) {
		out = append(out, "spec.serviceAllocation.serviceSelectors of the pool do not match the Service's labels")
	}
	return strings.Join(out, ", and ")
}

// SameAdmission reports whether both admit the same Services.
func (p *Pool) SameAdmission(o *Pool) bool {
	return equality.Semantic.DeepEqual(p.spec.AllocateTo, o.spec.AllocateTo)
}

// SameAllocator reports whether the same allocator gives out the addresses of both, from the same pool of its own.
func (p *Pool) SameAllocator(o *Pool) bool {
	return p.Allocator == o.Allocator && p.AllocatorPool == o.AllocatorPool
}

// SelectsNamespaces reports whether the labels of namespaces matter to the pool.
func (p *Pool) SelectsNamespaces() bool { return len(p.namespaceSelector) > 0 }

func parsePool(o *v1beta1.IPAddressPool) (*Pool, []Fault) {
	ref := refOf(v1beta1.GroupVersion, "IPAddressPool", o.ObjectMeta)
	p := &Pool{
		Name: o.Name, AvoidBuggy: o.Spec.AvoidBuggyIPs, AutoAssign: o.Spec.AutoAssign == nil || *o.Spec.AutoAssign,
		Ref: ref, Labels: o.Labels, spec: o.Spec,
	}
	var faults []Fault
	add := func(field, problem string) {
		faults = append(faults, Fault{Object: ref, Field: field, Problem: problem})
	}

	if len(o.Spec.Addresses) == 0 {
		add("spec.addresses", "the list is empty; at least one entry like 192.0.2.0/24 or 192.0.2.10-192.0.2.20 is needed")
	}
	var seen sortedRanges
	for i, s := range o.Spec.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		r, err := ranges.Parse(s)
		if err != nil {
			add(field, err.Error())
			continue
		}
		if other, overlaps := seen.add(r, ref.Name); overlaps {
			add(field, fmt.Sprintf("%q overlaps %s, which the pool holds already; remove one of them", s, other.r))
			continue
		}
		p.Ranges = append(p.Ranges, r)
	}
	p.Allocator, p.AllocatorPool = allocatorOf(o.Annotations, add)
	if a := o.Spec.AllocateTo; a != nil {
		p.Restricted, p.Priority, p.namespaces = true, a.Priority, a.Namespaces
		var err error
		if p.namespaceSelector, err = selectors("spec.serviceAllocation.namespaceSelectors", a.NamespaceSelectors, add); err != nil {
			return nil, faults
		}
		if p.serviceSelector, err = selectors("spec.serviceAllocation.serviceSelectors", a.ServiceSelectors, add); err != nil {
			return nil, faults
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return p, nil
}

// settlePools decides which version of which pool is in force. Of two pools that overlap, the one that was not changed is; of
// two that both are new or changed, the older object is.
func settlePools(objects []v1beta1.IPAddressPool, last map[string]*Pool) (map[string]*Pool, []Fault) {
	var parsed []*Pool
	var rejected []*v1beta1.IPAddressPool
	var faults []Fault
	created := map[string]int64{}
	for i := range objects {
		o := &objects[i]
		created[o.Name] = o.CreationTimestamp.UnixNano()
		p, bad := parsePool(o)
		if len(bad) > 0 {
			rejected, faults = append(rejected, o), append(faults, bad...)
			continue
		}
		parsed = append(parsed, p)
	}
	changed := func(p *Pool) int {
		if was := last[p.Name]; was != nil && was.Ref.UID == p.Ref.UID && slices.Equal(was.spec.Addresses, p.spec.Addresses) {
			return 0
		}
		return 1
	}
	slices.SortFunc(parsed, func(a, b *Pool) int {
		return cmp.Or(cmp.Compare(changed(a), changed(b)), cmp.Compare(created[a.Name], created[b.Name]), cmp.Compare(a.Name, b.Name))
	})

	inForce := make(map[string]*Pool, len(parsed))
	var taken sortedRanges
	accept := func(p *Pool) error {
		for i, r := range p.Ranges {
			if other, overlaps := taken.find(r); overlaps {
				return &overlapError{field: fmt.Sprintf("spec.addresses[%d]", i), r: r, other: other}
			}
		}
		for _, r := range p.Ranges {
			taken.add(r, p.Name)
		}
		inForce[p.Name] = p
		return nil
	}
	var losers []*Pool
	for _, p := range parsed {
		var overlap *overlapError
		if err := accept(p); errors.As(err, &overlap) {
			losers = append(losers, p)
			faults = append(faults, Fault{Object: p.Ref, Field: overlap.field, Problem: overlap.Error()})
		}
	}
	for _, p := range losers {
		keepLast(p.Name, p.Ref, last, accept)
	}
	for _, o := range rejected {
		keepLast(o.Name, refOf(v1beta1.GroupVersion, "IPAddressPool", o.ObjectMeta), last, accept)
	}
	for name, p := range inForce {
		switch was := last[name]; {
		case was == nil, was == p, was.Ref.UID != p.Ref.UID:
		case slices.Equal(was.Ranges, p.Ranges):
			p.former = was.former
		default:
			p.former = was.Ranges
		}
	}
	for i := range faults {
		faults[i].LastValid = inForce[faults[i].Object.Name] != nil
	}
	return inForce, faults
}

// keepLast keeps the last valid version of a pool in force, if there is one and nothing has taken its place.
func keepLast(name string, ref Ref, last map[string]*Pool, accept func(*Pool) error) {
	if was := last[name]; was != nil && was.Ref.UID == ref.UID {
		_ = accept(was) // refused: a newer, valid object holds its addresses; the pool is set aside
	}
}

type overlapError struct {
	field string
	r     netipx.IPRange
	other namedRange
}

func (e *overlapError) Error() string {
	return fmt.Sprintf("%s overlaps %s of pool %q; an address may be in one pool only", e.r, e.other.r, e.other.pool)
}

// namedRange is a range and the pool it belongs to.
type namedRange struct {
	r    netipx.IPRange
	pool string
}

// sortedRanges is a set of disjoint ranges in address order.
type sortedRanges []namedRange

// find returns a member that overlaps r.
func (s sortedRanges) find(r netipx.IPRange) (namedRange, bool) {
	// The first member that does not end before r begins is the only candidate.
	i, _ := slices.BinarySearchFunc(s, r.From(), func(m namedRange, from netip.Addr) int {
		if m.r.To().Less(from) {
			return -1
		}
		return 1
	})
	if i < len(s) && s[i].r.Overlaps(r) {
		return s[i], true
	}
	return namedRange{}, false
}

// add inserts r unless it overlaps a member, which is returned.
func (s *sortedRanges) add(r netipx.IPRange, pool string) (namedRange, bool) {
	if other, overlaps := s.find(r); overlaps {
		return other, true
	}
	i, _ := slices.BinarySearchFunc(*s, r.From(), func(m namedRange, from netip.Addr) int { return m.r.From().Compare(from) })
	*s = slices.Insert(*s, i, namedRange{r, pool})
	return namedRange{}, false
}
