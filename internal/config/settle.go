package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// origin is the object, and the version of it, that a value was made from.
type origin struct {
	Ref Ref

	// Backend is who is asked to serve an advertisement by the annotation fairlead.io/backend; empty: whoever serves its kind.
	Backend string

	created int64
	spec    any
}

// annotationBackend names the backend that serves an advertisement.
const annotationBackend = "fairlead.io/backend"

func originOf(gv schema.GroupVersion, kind string, m metav1.ObjectMeta, spec any) origin {
	return origin{Ref: refOf(gv, kind, m), Backend: m.Annotations[annotationBackend], created: m.CreationTimestamp.UnixNano(), spec: spec}
}

// backendNames are the values of annotationBackend.
var backendNames = []string{"calico", "cilium", "speaker", "none"}

func (o *origin) checkBackend(f *findings) {
	if o.Backend != "" && !slices.Contains(backendNames, o.Backend) {
		f.add("metadata.annotations["+annotationBackend+"]", fmt.Sprintf("%q is not a backend; use one of %s, or leave it out", o.Backend,
			strings.Join(backendNames, ", ")))
	}
}

func (o *origin) from() *origin { return o }

// version is one version of an object.
type version interface{ from() *origin }

// findings collects what is wrong with one object.
type findings struct {
	ref  Ref
	list []Fault
}

func (f *findings) add(field, problem string) {
	f.list = append(f.list, Fault{Object: f.ref, Field: field, Problem: problem})
}

// addMissing adds a reference to something that does not exist, perhaps not yet.
func (f *findings) addMissing(field, problem string) {
	f.list = append(f.list, Fault{Object: f.ref, Field: field, Problem: problem, Missing: true})
}

// settle decides which version of which object of a kind is in force. valid are those without a fault of their own. fit takes a
// version in, or returns why it cannot be in force beside those taken in before: first come those that were not changed, then
// the older ones. The last valid version of the others, and of those in rejected, stays in force if it fits.
func settle[T version](valid []T, rejected []Ref, last map[string]T, fit func(T) []Fault) (map[string]T, []Fault) {
	lastOf := func(r Ref) (was T, ok bool) {
		was, ok = last[r.Name]
		return was, ok && was.from().Ref.UID == r.UID
	}
	changed := func(v T) int {
		if _, same := unchanged(last, v.from()); same {
			return 0
		}
		return 1
	}
	slices.SortFunc(valid, func(v, w T) int {
		a, b := v.from(), w.from()
		return cmp.Or(cmp.Compare(changed(v), changed(w)), cmp.Compare(a.created, b.created), a.Ref.Compare(b.Ref))
	})
	inForce := make(map[string]T, len(valid))
	var losers []Ref
	var faults []Fault
	for _, v := range valid {
		if bad := fit(v); len(bad) > 0 {
			losers, faults = append(losers, v.from().Ref), append(faults, bad...)
			continue
		}
		inForce[v.from().Ref.Name] = v
	}
	rejected = slices.SortedFunc(slices.Values(rejected), Ref.Compare)
	for _, r := range append(losers, rejected...) {
		if was, ok := lastOf(r); ok && len(fit(was)) == 0 {
			inForce[r.Name] = was
		}
	}
	return inForce, faults
}

// unchanged returns the last valid version of an object if it was made from the same spec.
func unchanged[T version](last map[string]T, o *origin) (T, bool) {
	was, ok := last[o.Ref.Name]
	return was, ok && was.from().Ref.UID == o.Ref.UID && equality.Semantic.DeepEqual(was.from().spec, o.spec)
}

// onlyMissing reports whether there are faults, and all are references to what does not exist. An object that was not changed
// since these existed is in force as it was, with the rank that it had.
func onlyMissing(faults []Fault) bool {
	for _, f := range faults {
		if !f.Missing {
			return false
		}
	}
	return len(faults) > 0
}

// told marks the faults of objects that have an earlier version in force.
func told[T version](faults []Fault, inForce map[string]T) []Fault {
	for i := range faults {
		_, faults[i].LastValid = inForce[faults[i].Object.Name]
	}
	return faults
}

// byName returns values in the order of their names.
func byName[T version](m map[string]T) []T {
	out := make([]T, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b T) int { return a.from().Ref.Compare(b.from().Ref) })
	return out
}

// alone is the fit of kinds whose objects have nothing to do with each other.
func alone[T version](T) []Fault { return nil }
