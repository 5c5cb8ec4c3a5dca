package calico

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
)

// Record is what this backend has written and not yet taken back. It may name more than is there, after a crash between
// recording an intent and carrying it out; it never names less.
type Record struct {
	// APIVersion is the group and version that was last written through.
	APIVersion string
	// CreatedDefault is set if the BGPConfiguration "default" did not exist before.
	CreatedDefault bool
	// Owned are the entries of serviceLoadBalancerIPs, by prefix.
	Owned []Entry
	// Tags are the entries of prefixAdvertisements, by prefix.
	Tags []Tag
	// Aggregation is what became of serviceLoadBalancerAggregation; nil if it is as it was found.
	Aggregation *Switched
	// Objects are the other objects: Kind/name or Kind/namespace/name, sorted.
	Objects []string
}

// Entry is one prefix of the list, and the pool it was added for.
type Entry struct {
	Prefix netip.Prefix
	Pool   string
}

// Switched is a value that was set, and the one before; empty stands for an absent field.
type Switched struct {
	Before, Set v3.ServiceLoadBalancerAggregation
}

// Ledger keeps the Record where it outlives the process.
type Ledger interface {
	// Load returns the record; the zero Record if nothing was ever saved.
	Load(ctx context.Context) (Record, error)
	// Save replaces the record.
	Save(ctx context.Context, r Record) error
}

// IsEmpty reports whether nothing is owned.
func (r Record) IsEmpty() bool {
	return len(r.Owned)+len(r.Tags)+len(r.Objects) == 0 && !r.CreatedDefault && r.Aggregation == nil
}

// Equal reports whether both records say the same.
func (r Record) Equal(o Record) bool {
	same := func(a, b *Switched) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
	return r.APIVersion == o.APIVersion && r.CreatedDefault == o.CreatedDefault && slices.Equal(r.Owned, o.Owned) &&
		slices.EqualFunc(r.Tags, o.Tags, Tag.equal) && same(r.Aggregation, o.Aggregation) && slices.Equal(r.Objects, o.Objects)
}

// with returns the record with what another one names in addition, entry by entry.
func (r Record) with(o Record) Record {
	r.Owned = slices.Clone(r.Owned)
	entries, tags := map[netip.Prefix]bool{}, map[string]bool{}
	for _, e := range r.Owned {
		entries[e.Prefix] = true
	}
	for _, e := range o.Owned {
		if !entries[e.Prefix] {
			r.Owned = append(r.Owned, e)
		}
	}
	sortEntries(r.Owned)
	r.Tags = slices.Clone(r.Tags)
	for _, t := range r.Tags {
		tags[t.String()] = true
	}
	for _, t := range o.Tags {
		if !tags[t.String()] {
			r.Tags = append(r.Tags, t)
		}
	}
	slices.SortFunc(r.Tags, compareTags)
	if r.Aggregation == nil {
		r.Aggregation = o.Aggregation
	}
	r.Objects = slices.Concat(r.Objects, o.Objects)
	slices.Sort(r.Objects)
	r.Objects = slices.Compact(r.Objects)
	r.CreatedDefault = r.CreatedDefault || o.CreatedDefault
	return r
}

func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return comparePrefixes(a.Prefix, b.Prefix) })
}

func compareTags(a, b Tag) int {
	return cmp.Or(comparePrefixes(a.Prefix, b.Prefix), slices.Compare(a.Communities, b.Communities))
}
