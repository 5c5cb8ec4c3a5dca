package cilium

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/backends"
)

// facts is what the translation has to know beside the desired set.
type facts struct {
	installation string
	allowWider   bool
	// secretsNamespace is where Cilium looks for passwords; empty: nowhere.
	secretsNamespace string
	// noAggregation4 and noAggregation6 are set if the installed CRD lacks the fields.
	noAggregation4, noAggregation6 bool
	world                          *world
}

// translation turns a desired set into Cilium's objects. It is pure: the same input gives the same result.
type translation struct {
	facts
	want backends.Desired
	hold map[string]bool // labels of the pools on hold
	have map[key]object  // the objects of the world

	// What comes out.
	objects  []object
	keep     map[key]bool  // existing objects that stay as they are
	taken    map[key]error // wanted objects whose name is somebody else's; compare fills it in
	findings []backends.Finding
	pools    map[string]*poolState
	names    map[string]string // of pools, by the value of their label
	labels   map[string]string // the other way round
	setUp    map[string]bool   // BGPPeers with a session on some node
}

// poolState is what is known of a pool beside the objects that select it.
type poolState struct {
	withheld []string // by which user's object and field, if it is
}

// translate returns what the objects of an installation have to be.
func translate(want backends.Desired, f facts) *translation {
	if f.world == nil {
		f.world = &world{}
	}
	t := &translation{facts: f, want: want, hold: map[string]bool{}, have: map[key]object{}, keep: map[key]bool{}, taken: map[key]error{},
		pools: map[string]*poolState{}, names: map[string]string{}, labels: map[string]string{}, setUp: map[string]bool{}}
	for _, o := range f.world.objects() {
		t.have[keyOf(o)] = o
	}
	for _, pool := range want.Hold {
		t.hold[backends.LabelValue(pool)] = true
		t.know([]backends.Pool{{Name: pool, Label: backends.LabelValue(pool)}})
	}
	for _, a := range want.Announcements {
		t.pool(a.Pool)
	}
	t.bgpAdvertisements()
	if want.Peers != nil {
		t.peers()
	}
	t.l2Advertisements()
	t.shared()
	slices.SortStableFunc(t.objects, func(a, b object) int {
		x, y := keyOf(a), keyOf(b)
		return cmp.Or(cmp.Compare(slices.Index(addOrder, x.kind), slices.Index(addOrder, y.kind)), cmp.Compare(x.name, y.name))
	})
	return t
}

// existing returns the object of ours that has the name, nil if there is none.
func existing[T object](t *translation, kind, name string) (out T) {
	if o, ok := t.have[key{kind: kind, name: name}].(T); ok && owned(o, t.installation) {
		return o
	}
	return out
}

// pool returns the state of a pool, which is reported from now on.
func (t *translation) pool(name string) *poolState {
	s, ok := t.pools[name]
	if !ok {
		s = &poolState{}
		t.pools[name] = s
	}
	return s
}

// know has pools reported.
func (t *translation) know(pools []backends.Pool) {
	for _, p := range pools {
		t.pool(p.Name)
		t.names[p.Label], t.labels[p.Name] = p.Name, p.Label
	}
}

// find adds a finding.
func (t *translation) find(f backends.Finding) { t.findings = append(t.findings, f) }

// once adds a finding that is made for each of many nodes.
func (t *translation) once(f backends.Finding) {
	if !slices.Contains(t.findings, f) {
		t.find(f)
	}
}

// unsupported adds the finding that a field is not honoured.
func (t *translation) unsupported(o backends.Source, field, message string) {
	t.find(backends.Finding{Type: backends.UnsupportedField, Object: o, Field: field, Message: message})
}

// withhold adds the finding that a field cannot be honoured and that ignoring it would widen who hears the pools. It reports
// whether they are to be withheld, which the user may have declined.
func (t *translation) withhold(o backends.Source, field, message string, pools []backends.Pool) bool {
	f := backends.Finding{Type: backends.UnsupportedField, Object: o, Field: field, Message: message, Withheld: !t.allowWider}
	if f.Withheld {
		for _, p := range pools {
			s := t.pool(p.Name)
			s.withheld = append(s.withheld, o.String()+" "+field)
		}
	}
	t.find(f)
	return f.Withheld
}

// labelsOf returns the labels of pools, sorted, those on hold that an existing object lists, and those of Services that have their
// addresses from two of these pools: of a Service that it selects, Cilium advertises every address.
func (t *translation) labelsOf(pools []backends.Pool, listed []string) []string {
	set := map[string]bool{}
	for _, p := range pools {
		set[p.Label] = true
	}
	for _, l := range listed {
		if t.hold[l] {
			set[l] = true
		}
	}
	for i := range t.want.Services {
		s := &t.want.Services[i]
		if one, other, two := strings.Cut(s.Pool, ","); two && set[backends.LabelValue(one)] && set[backends.LabelValue(other)] {
			set[backends.PoolLabel(s.Pool)] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}
