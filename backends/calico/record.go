package calico

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
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
}

// Entry is one prefix of the list, and the pool it was added for.
type Entry struct {
	Prefix netip.Prefix
	Pool   string
}

// Ledger keeps the Record where it outlives the process.
type Ledger interface {
	// Load returns the record; the zero Record if nothing was ever saved.
	Load(ctx context.Context) (Record, error)
	// Save replaces the record.
	Save(ctx context.Context, r Record) error
}

// Equal reports whether both records say the same.
func (r Record) Equal(o Record) bool {
	return r.APIVersion == o.APIVersion && r.CreatedDefault == o.CreatedDefault && slices.Equal(r.Owned, o.Owned)
}

// owns reports whether p is recorded.
func (r Record) owns(p netip.Prefix) bool {
	return slices.ContainsFunc(r.Owned, func(e Entry) bool { return e.Prefix == p })
}

// with returns the record with entries added to what it owns.
func (r Record) with(entries []Entry) Record {
	all := slices.Clone(entries)
	for _, e := range r.Owned {
		if !slices.ContainsFunc(entries, func(x Entry) bool { return x.Prefix == e.Prefix }) {
			all = append(all, e)
		}
	}
	sortEntries(all)
	r.Owned = all
	return r
}

func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
}
