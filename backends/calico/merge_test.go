package calico

import (
	"fmt"
	"net/netip"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"
)

func TestMergeBlocks(t *testing.T) {
	for _, tc := range []struct {
		name     string
		current  *configuration
		record   []string // what is owned
		want     []string
		held     []string
		leave    []string
		patch    string
		owned    string
		removed  string
		missing  string
		findings []string
		frozen   string
	}{
		{name: "nothing"},
		{name: "nothing wanted among others", current: conf("10.0.0.0/8")},
		{
			name: "first entries, sorted", want: []string{"2001:db8::/64", "192.0.2.0/24", "10.0.0.1/32"},
			patch: "serviceLoadBalancerIPs: 10.0.0.1/32 192.0.2.0/24 2001:db8::/64", owned: "10.0.0.1/32@main 192.0.2.0/24@main 2001:db8::/64@main",
		},
		{
			name: "entries of others and their order stay", current: conf("203.0.113.0/24", "", "10.0.0.0/24", "2001:db8:ff::/64"), want: []string{"192.0.2.0/24"},
			patch: "serviceLoadBalancerIPs: 203.0.113.0/24  10.0.0.0/24 2001:db8:ff::/64 192.0.2.0/24", owned: "192.0.2.0/24@main",
		},
		{
			name: "what is not wanted any more goes", current: conf("192.0.2.0/24", "203.0.113.0/24", "198.51.100.0/24"),
			record: []string{"192.0.2.0/24", "198.51.100.0/24"}, want: []string{"192.0.2.0/24"}, owned: "192.0.2.0/24@main",
			patch: "serviceLoadBalancerIPs: 203.0.113.0/24 192.0.2.0/24",
		},
		{name: "the last entry goes with the field", current: conf("192.0.2.0/24"), record: []string{"192.0.2.0/24"}, patch: "serviceLoadBalancerIPs: -"},
		{
			name: "another order is as good", current: conf("198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"),
			record: []string{"192.0.2.0/24", "198.51.100.0/24"}, want: []string{"192.0.2.0/24", "198.51.100.0/24"}, owned: "192.0.2.0/24@main 198.51.100.0/24@main",
		},
		{name: "an equal entry of others is used", current: conf("192.0.2.0/24"), want: []string{"192.0.2.0/24"}},
		{
			name: "equal, but written otherwise", current: conf("2001:DB8::/64"), want: []string{"2001:db8::/64"},
		},
		{
			name: "twice there, once ours", current: conf("192.0.2.0/24", "192.0.2.0/24"), record: []string{"192.0.2.0/24"}, patch: "serviceLoadBalancerIPs: 192.0.2.0/24",
		},
		{
			name: "a wider one of others", current: conf("192.0.0.0/16", "2001:db8::/32"), want: []string{"192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64"},
			patch: "serviceLoadBalancerIPs: 192.0.0.0/16 2001:db8::/32 198.51.100.0/24", owned: "198.51.100.0/24@main",
			findings: []string{
				"CoveredByExisting BGPConfiguration/default spec.serviceLoadBalancerIPs[192.0.0.0/16]", "CoveredByExisting BGPConfiguration/default spec.serviceLoadBalancerIPs[2001:db8::/32]",
			},
		},
		{
			name: "a wider one of others has come", current: conf("192.0.2.0/24", "192.0.0.0/16"), record: []string{"192.0.2.0/24"}, want: []string{"192.0.2.0/24"},
			patch: "serviceLoadBalancerIPs: 192.0.0.0/16", findings: []string{"CoveredByExisting BGPConfiguration/default spec.serviceLoadBalancerIPs[192.0.0.0/16]"},
		},
		{
			name: "a narrower one of others", current: conf("192.0.2.7/32"), want: []string{"192.0.2.0/24"},
			patch: "serviceLoadBalancerIPs: 192.0.2.7/32 192.0.2.0/24", owned: "192.0.2.0/24@main",
		},
		{
			name: "host bits", current: conf("10.1.0.7/24"), want: []string{"192.0.2.0/24"}, patch: "serviceLoadBalancerIPs: 10.1.0.7/24 192.0.2.0/24", owned: "192.0.2.0/24@main",
			findings: []string{"ConfigFrozen BGPConfiguration/default spec.serviceLoadBalancerIPs[10.1.0.7/24]"}, frozen: "spec.serviceLoadBalancerIPs[10.1.0.7/24]",
		},
		{
			name: "host bits over our own", current: conf("192.0.2.7/24"), record: []string{"192.0.2.0/24"}, want: []string{"192.0.2.0/24"},
			findings: []string{"ConfigFrozen BGPConfiguration/default spec.serviceLoadBalancerIPs[192.0.2.7/24]"}, frozen: "spec.serviceLoadBalancerIPs[192.0.2.7/24]",
		},
		{
			name: "no CIDR", current: conf("192.0.2.7"), want: []string{"192.0.2.0/24"}, patch: "serviceLoadBalancerIPs: 192.0.2.7 192.0.2.0/24", owned: "192.0.2.0/24@main",
			findings: []string{"ConfigFrozen BGPConfiguration/default spec.serviceLoadBalancerIPs[192.0.2.7]"}, frozen: "spec.serviceLoadBalancerIPs[192.0.2.7]",
		},
		{
			name: "taken out", current: conf("203.0.113.0/24"), record: []string{"192.0.2.0/24"}, want: []string{"192.0.2.0/24"},
			patch: "serviceLoadBalancerIPs: 203.0.113.0/24 192.0.2.0/24", owned: "192.0.2.0/24@main", removed: "192.0.2.0/24",
		},
		{
			name: "taken out, and left so, which keeps nothing else back", current: conf("203.0.113.0/24"), record: []string{"192.0.2.0/24"},
			want: []string{"192.0.2.0/24", "198.51.100.0/24"}, leave: []string{"192.0.2.0/24"}, patch: "serviceLoadBalancerIPs: 203.0.113.0/24 198.51.100.0/24",
			owned: "192.0.2.0/24@main 198.51.100.0/24@main", removed: "192.0.2.0/24",
		},
		{name: "the configuration is gone", record: []string{"192.0.2.0/24"}},
		{
			name: "held", current: conf("192.0.2.0/24", "198.51.100.0/24"), record: []string{"192.0.2.0/24", "198.51.100.0/24"}, held: []string{"192.0.2.0/24"},
			patch: "serviceLoadBalancerIPs: 192.0.2.0/24", owned: "192.0.2.0/24@main",
		},
		{
			name: "applied by somebody else", current: conf("203.0.113.0/24").applied("argocd", fieldBlocks), want: []string{"192.0.2.0/24", "2001:db8::/64"},
			missing: "192.0.2.0/24, 2001:db8::/64", findings: []string{"Contended BGPConfiguration/default spec.serviceLoadBalancerIPs"},
		},
		{
			name: "applied by somebody else, with what is wanted", current: conf("203.0.113.0/24", "192.0.2.0/24").applied("argocd", fieldBlocks), want: []string{"192.0.2.0/24"},
		},
		{
			name: "applied by somebody else since, and not wanted any more", current: conf("192.0.2.0/24").applied("argocd", fieldBlocks), record: []string{"192.0.2.0/24"},
		},
		{
			name: "applied, but another field", current: conf().applied("argocd", "nodeToNodeMeshEnabled"), want: []string{"192.0.2.0/24"},
			patch: "serviceLoadBalancerIPs: 192.0.2.0/24", owned: "192.0.2.0/24@main",
		},
		{
			name: "applied by us", current: conf().applied("fairlead", fieldBlocks), want: []string{"192.0.2.0/24"},
			patch: "serviceLoadBalancerIPs: 192.0.2.0/24", owned: "192.0.2.0/24@main",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := merging{
				current: tc.current, record: Record{Owned: owned(tc.record...)}, want: routes{entries: owned(tc.want...)}, held: owned(tc.held...), manager: "fairlead",
				leave: leave{entries: map[netip.Prefix]bool{}},
			}
			for _, s := range tc.leave {
				in.leave.entries[netip.MustParsePrefix(s)] = true
			}
			got := merge(in)
			assert.Equal(t, tc.patch, patched(got.spec))
			assert.Equal(t, tc.owned, entries(got.ours.Owned))
			assert.Equal(t, tc.removed, join(got.removed))
			assert.Equal(t, tc.missing, join(got.missing))
			assert.Equal(t, tc.findings, about(got.findings))
			assert.Equal(t, tc.frozen, got.frozen)
		})
	}
}

func TestMergeTags(t *testing.T) {
	one, two := tag("192.0.2.0/24", "64512:1"), tag("192.0.2.0/24", "64512:2")
	six := tag("2001:db8::/64", "64512:1")
	aliases := func(c *configuration) *configuration {
		c.Spec.Communities = []v3.Community{{Name: "gold", Value: "64512:1"}, {Name: "bad", Value: "64512:70000"}}
		return c
	}
	for _, tc := range []struct {
		name     string
		current  *configuration
		record   []Tag
		want     []Tag
		held     []string
		patch    string
		ours     string
		removed  string
		findings []string
	}{
		{name: "nothing"},
		{name: "first", want: []Tag{six, one}, patch: "prefixAdvertisements: 192.0.2.0/24 64512:1; 2001:db8::/64 64512:1", ours: "192.0.2.0/24 64512:1; 2001:db8::/64 64512:1"},
		{
			name: "beside one of others for the same prefix", current: conf().with(two), want: []Tag{one},
			patch: "prefixAdvertisements: 192.0.2.0/24 64512:2; 192.0.2.0/24 64512:1", ours: "192.0.2.0/24 64512:1",
		},
		{name: "an equal one of others is used", current: conf().with(one), want: []Tag{one}},
		{
			name: "changed", current: conf().with(one, six), record: []Tag{one, six}, want: []Tag{two, six},
			patch: "prefixAdvertisements: 192.0.2.0/24 64512:2; 2001:db8::/64 64512:1", ours: "192.0.2.0/24 64512:2; 2001:db8::/64 64512:1",
		},
		{name: "another order is as good", current: conf().with(six, one), record: []Tag{one, six}, want: []Tag{one, six}, ours: "192.0.2.0/24 64512:1; 2001:db8::/64 64512:1"},
		{name: "the last goes with the field", current: conf().with(one), record: []Tag{one}, patch: "prefixAdvertisements: -"},
		{name: "taken out", current: conf(), record: []Tag{one}, want: []Tag{one}, patch: "prefixAdvertisements: 192.0.2.0/24 64512:1", ours: one.String(), removed: one.String()},
		{name: "held", current: conf().with(one), record: []Tag{one}, held: []string{"192.0.2.0/24"}, ours: one.String()},
		{name: "held, of a single address", current: conf().with(one), record: []Tag{one}, held: []string{"192.0.2.7/32"}, ours: one.String()},
		{
			name: "applied by somebody else", current: conf().with(two).applied("argocd", fieldTags), want: []Tag{one},
			findings: []string{"Contended BGPConfiguration/default spec.prefixAdvertisements"},
		},
		{
			name: "host bits", current: conf().with(Tag{netip.MustParsePrefix("10.0.0.1/8"), []string{"64512:1"}}),
			findings: []string{"ConfigFrozen BGPConfiguration/default spec.prefixAdvertisements[10.0.0.1/8]"},
		},
		{
			name: "numbers that are too large", current: conf().with(tag("10.0.0.0/8", "64512:70000")),
			findings: []string{"ConfigFrozen BGPConfiguration/default spec.prefixAdvertisements[10.0.0.0/8]"},
		},
		{name: "large numbers", current: conf().with(tag("10.0.0.0/8", "64512:70000:1"))},
		{name: "a name", current: aliases(conf().with(tag("10.0.0.0/8", "gold", "unknown")))},
		{
			name: "a name of numbers that are too large", current: aliases(conf().with(tag("10.0.0.0/8", "bad"))),
			findings: []string{"ConfigFrozen BGPConfiguration/default spec.prefixAdvertisements[10.0.0.0/8]"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := merge(merging{current: tc.current, record: Record{Tags: tc.record}, want: routes{tags: tc.want}, held: owned(tc.held...), manager: "fairlead"})
			got.ours.Owned = nil
			delete(got.spec, fieldBlocks) // what is held is not in conf
			assert.Equal(t, tc.patch, patched(got.spec))
			assert.Equal(t, tc.ours, tags(got.ours.Tags))
			assert.Equal(t, tc.removed, tags(got.removedTags))
			assert.Equal(t, tc.findings, about(got.findings))
		})
	}
}

func TestTagLimit(t *testing.T) {
	current := conf().with(tag("10.0.0.0/8", "64512:1"))
	var want []Tag
	for i := range maxPrefixAdvertisements {
		want = append(want, tag(fmt.Sprintf("192.%d.%d.0/24", i/256, i%256), "64512:1"))
	}
	got := merge(merging{current: current, want: routes{tags: want}})
	assert.Len(t, got.spec[fieldTags], maxPrefixAdvertisements)
	assert.Equal(t, []string{"UnsupportedField BGPConfiguration/default spec.prefixAdvertisements: holds at most 500 entries, 1 of which are not ours, " +
		"and the communities of 500 prefixes are wanted; the last 1 have none"}, found(got.findings))
}

func TestMergeAggregation(t *testing.T) {
	const on, off = v3.ServiceLoadBalancerAggregationEnabled, v3.ServiceLoadBalancerAggregationDisabled
	for _, tc := range []struct {
		name     string
		current  *configuration
		was      *Switched
		want     v3.ServiceLoadBalancerAggregation
		leave    bool
		patch    string
		ours     *Switched
		findings []string
	}{
		{name: "not asked for", current: conf("192.0.2.0/24").set(on)},
		{name: "switched", current: conf().set(on), want: off, patch: "serviceLoadBalancerAggregation: Disabled", ours: &Switched{on, off}},
		{name: "switched, absent before", current: conf(), want: off, patch: "serviceLoadBalancerAggregation: Disabled", ours: &Switched{"", off}},
		{name: "as the user has it", current: conf().set(off), want: off},
		{name: "switched already", current: conf().set(off), was: &Switched{on, off}, want: off, ours: &Switched{on, off}},
		{name: "the write before failed", current: conf().set(on), was: &Switched{on, off}, want: off, patch: "serviceLoadBalancerAggregation: Disabled", ours: &Switched{on, off}},
		{name: "switched over", current: conf().set(off), was: &Switched{"", off}, want: on, patch: "serviceLoadBalancerAggregation: Enabled", ours: &Switched{"", on}},
		{name: "restored", current: conf().set(off), was: &Switched{on, off}, patch: "serviceLoadBalancerAggregation: Enabled"},
		{name: "restored to absent", current: conf().set(off), was: &Switched{"", off}, patch: "serviceLoadBalancerAggregation: -"},
		{name: "changed by the user meanwhile, and not restored", current: conf().set(on), was: &Switched{"", off}},
		{
			name: "changed by the user meanwhile, and left", current: conf().set(on), was: &Switched{"", off}, want: off, leave: true, ours: &Switched{"", off},
			findings: []string{"Contended BGPConfiguration/default spec.serviceLoadBalancerAggregation"},
		},
		{
			name: "applied by somebody else", current: conf().set(on).applied("argocd", fieldAggregation), want: off,
			findings: []string{"Contended BGPConfiguration/default spec.serviceLoadBalancerAggregation"},
		},
		{name: "applied by somebody else, as it is wanted", current: conf().set(off).applied("argocd", fieldAggregation), want: off},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := merge(merging{
				current: tc.current, record: Record{Aggregation: tc.was}, manager: "fairlead", leave: leave{aggregation: tc.leave},
				want: routes{aggregation: tc.want, entries: map[bool][]Entry{true: owned("192.0.2.0/24")}[tc.want != ""]},
			})
			delete(got.spec, fieldBlocks)
			assert.Equal(t, tc.patch, patched(got.spec))
			assert.Equal(t, tc.ours, got.ours.Aggregation)
			assert.Equal(t, tc.findings, about(got.findings))
		})
	}
}

// TestOnlyDefaults: a configuration that was made here is deleted only if nothing is in it that somebody has put there.
func TestOnlyDefaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fields map[string]any
		patch  map[string]any
		want   bool
	}{
		{name: "no spec", want: true},
		{name: "no spec, and a patch", patch: map[string]any{fieldAggregation: "Disabled"}},
		{name: "what Calico fills in", fields: map[string]any{"logSeverityScreen": "Info", fieldAggregation: "Enabled"}, want: true},
		{name: "ours, which go", fields: map[string]any{fieldBlocks: []any{"x"}, fieldTags: []any{"x"}}, patch: map[string]any{fieldBlocks: nil, fieldTags: nil}, want: true},
		{name: "ours among others", fields: map[string]any{fieldBlocks: []any{"x", "y"}}, patch: map[string]any{fieldBlocks: []any{"y"}}},
		{name: "disabled by the user", fields: map[string]any{fieldAggregation: "Disabled"}},
		{name: "disabled here", fields: map[string]any{fieldAggregation: "Disabled"}, patch: map[string]any{fieldAggregation: nil}, want: true},
		{name: "another field", fields: map[string]any{"asNumber": int64(64512)}},
		{name: "a field that this package does not know", fields: map[string]any{"newInNextVersion": false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &configuration{fields: tc.fields}
			assert.Equal(t, tc.want, c.after(tc.patch).onlyDefaults())
			assert.Equal(t, len(tc.fields), len(c.fields), "the configuration itself has not changed")
		})
	}
}

func TestRecordWith(t *testing.T) {
	next := Record{APIVersion: "b", Owned: owned("192.0.2.0/24@b", "10.0.0.0/24"), Tags: []Tag{tag("192.0.2.0/24", "64512:2")}, Objects: []string{"c", "a"}}
	old := Record{
		APIVersion: "a", CreatedDefault: true, Owned: owned("192.0.2.0/24@a", "198.51.100.0/24"), Aggregation: &Switched{"", "Disabled"},
		Tags: []Tag{tag("192.0.2.0/24", "64512:1"), tag("192.0.2.0/24", "64512:2")}, Objects: []string{"b", "a"},
	}
	got := next.with(old)
	assert.Equal(t, "10.0.0.0/24@main 192.0.2.0/24@b 198.51.100.0/24@main", entries(got.Owned), "the newer one tells the pool")
	assert.Equal(t, "192.0.2.0/24 64512:1; 192.0.2.0/24 64512:2", tags(got.Tags))
	assert.Equal(t, []string{"a", "b", "c"}, got.Objects)
	assert.Equal(t, old.Aggregation, got.Aggregation)
	assert.True(t, got.CreatedDefault)
	assert.Equal(t, "b", got.APIVersion)
	assert.Equal(t, "192.0.2.0/24@b 10.0.0.0/24@main", entries(next.Owned), "the record itself has not changed")
	assert.True(t, Record{APIVersion: "a"}.IsEmpty())
	for _, r := range []Record{{CreatedDefault: true}, {Owned: owned("10.0.0.0/8")}, {Tags: []Tag{{}}}, {Aggregation: &Switched{}}, {Objects: []string{"a"}}} {
		assert.False(t, r.IsEmpty(), "%+v", r)
		assert.False(t, r.Equal(Record{}), "%+v", r)
		assert.True(t, r.Equal(r.with(Record{})), "%+v", r)
	}
}

// TestMergeTwice: what a merge has written is what the next one finds right.
func TestMergeTwice(t *testing.T) {
	want := routes{entries: owned("192.0.2.0/24", "2001:db8::/64"), tags: []Tag{tag("192.0.2.0/24", "64512:1")}, aggregation: "Disabled"}
	first := merge(merging{current: conf("203.0.113.0/24").with(tag("203.0.113.0/24", "64512:9")), want: want})
	c := conf("203.0.113.0/24", "192.0.2.0/24", "2001:db8::/64").with(tag("203.0.113.0/24", "64512:9"), tag("192.0.2.0/24", "64512:1")).set("Disabled")
	second := merge(merging{current: c, record: first.ours, want: want})
	assert.Empty(t, second.spec)
	assert.True(t, first.ours.Equal(second.ours))
	last := merge(merging{current: c, record: second.ours})
	assert.Equal(t, "serviceLoadBalancerIPs: 203.0.113.0/24\nprefixAdvertisements: 203.0.113.0/24 64512:9\nserviceLoadBalancerAggregation: -", patched(last.spec))
	assert.Equal(t, Record{}, last.ours)
}
