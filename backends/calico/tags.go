package calico

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/fairlead/fairlead/backends"
)

// Tag is one entry of spec.prefixAdvertisements: the communities of a prefix.
type Tag struct {
	Prefix      netip.Prefix
	Communities []string // sorted
}

// String is equal for equal tags only.
func (t Tag) String() string { return t.Prefix.String() + " " + strings.Join(t.Communities, ",") }

func (t Tag) equal(o Tag) bool {
	return t.Prefix == o.Prefix && slices.Equal(t.Communities, o.Communities)
}

func tagOf(p v3.PrefixAdvertisement) (Tag, bool) {
	prefix, ok := canonical(p.CIDR)
	return Tag{prefix, p.Communities}, ok
}

func (m *merged) tags(in *merging) {
	const field = "spec." + fieldTags
	owned := map[string]bool{}
	for _, t := range in.record.Tags {
		owned[t.String()] = true
	}
	var theirs []v3.PrefixAdvertisement
	claimed, present := map[string]bool{}, map[string]Tag{}
	for _, p := range in.current.Spec.PrefixAdvertisements {
		t, ok := tagOf(p)
		_, twice := present[t.String()]
		if ok && owned[t.String()] && !twice {
			present[t.String()] = t
			continue
		}
		theirs = append(theirs, p)
		claimed[t.String()] = ok
		if problem := faulty(p, in.current.Spec.Communities); problem != "" {
			m.freeze(fmt.Sprintf("%s[%s]", field, p.CIDR), problem)
		}
	}
	want := slices.DeleteFunc(m.withLeaving(in, present), func(t Tag) bool { return claimed[t.String()] })
	if room := max(0, maxPrefixAdvertisements-len(theirs)); len(want) > room {
		m.findings = append(m.findings, backends.Finding{
			Type: backends.UnsupportedField, Object: configurationSource, Field: field,
			Message: fmt.Sprintf("holds at most %d entries, %d of which are not ours, and the communities of %d prefixes are wanted; the last %d have none",
				maxPrefixAdvertisements, len(theirs), len(want), len(want)-room),
		})
		want = want[:room]
	}
	list, changes := theirs, 0
	for _, t := range want {
		m.ours.Tags = append(m.ours.Tags, t)
		_, there := present[t.String()]
		if !there && owned[t.String()] {
			m.removedTags = append(m.removedTags, t)
			if in.leave.tags[t.String()] {
				continue
			}
		}
		if !there {
			changes++
		}
		delete(present, t.String())
		list = append(list, v3.PrefixAdvertisement{CIDR: t.Prefix.String(), Communities: t.Communities})
	}
	if changes+len(present) == 0 { // what is left of present is not wanted any more
		return
	}
	if owner := appliedBy(in.current.ManagedFields, fieldTags, in.manager); owner != "" {
		m.ours.Tags, m.removedTags = nil, nil
		if changes > 0 {
			var missing []string
			for _, t := range want {
				missing = append(missing, t.String())
			}
			m.report(backends.Contended, field, fmt.Sprintf("field manager %q applies the whole list, so that nothing is written; it has to hold %s",
				owner, strings.Join(missing, ", ")))
		}
		return
	}
	set(m.spec, fieldTags, list)
}

// withHeld returns the tags that are wanted, and those that are there for entries that stay as they are, sorted.
func withHeld(in *merging, present map[string]Tag) []Tag {
	want := slices.Clone(in.want.tags)
	for _, t := range in.record.Tags {
		held := slices.ContainsFunc(in.held, func(e Entry) bool { return e.Prefix.Overlaps(t.Prefix) })
		if _, there := present[t.String()]; held && there && !slices.ContainsFunc(want, func(w Tag) bool { return w.Prefix == t.Prefix }) {
			want = append(want, t)
		}
	}
	slices.SortFunc(want, compareTags)
	return want
}

// withLeaving returns the same, and the tags of entries that are there and go: their routes would be heard without communities else,
// for a moment.
func (m *merged) withLeaving(in *merging, present map[string]Tag) []Tag {
	want := withHeld(in, present)
	if !in.lingering {
		return want
	}
	wanted := map[netip.Prefix]bool{}
	for _, t := range want {
		wanted[t.Prefix] = true
	}
	for _, t := range in.record.Tags {
		_, there := present[t.String()]
		if there && !wanted[t.Prefix] && slices.ContainsFunc(m.going, t.Prefix.Overlaps) {
			want, m.leaving = append(want, t), true
		}
	}
	slices.SortFunc(want, compareTags)
	return want
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
