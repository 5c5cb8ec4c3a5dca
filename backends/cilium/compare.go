package cilium

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/backends"
)

// change is one write: have is nil for a new object, want is nil for one to delete.
type change struct {
	have, want object
}

func (c change) key() key {
	if c.want != nil {
		return keyOf(c.want)
	}
	return keyOf(c.have)
}

// compare returns the writes that lead from the world to the objects wanted: first what is created and updated, then what is
// deleted, each in the order in which it has to happen. An object of that name which is somebody else's is not touched, and
// reported.
func (t *translation) compare() (changes []change) {
	wanted := map[key]bool{}
	for _, o := range t.objects {
		k := keyOf(o)
		wanted[k] = true
		switch old := t.have[k]; {
		case old == nil:
			changes = append(changes, change{want: o})
		case !owned(old, t.installation):
			t.somebodyElses(old)
		case !same(old, o):
			changes = append(changes, change{old, o})
		}
	}
	var deletes []change
	for _, o := range t.world.objects() {
		if k := keyOf(o); owned(o, t.installation) && !wanted[k] && !t.keep[k] {
			deletes = append(deletes, change{have: o})
		}
	}
	slices.SortStableFunc(deletes, func(a, b change) int {
		x, y := a.key(), b.key()
		return cmp.Or(cmp.Compare(slices.Index(deleteOrder, x.kind), slices.Index(deleteOrder, y.kind)), cmp.Compare(x.name, y.name))
	})
	return append(changes, deletes...)
}

// somebodyElses reports an object of somebody else's that has the name of one that is needed.
func (t *translation) somebodyElses(o object) {
	k := keyOf(o)
	t.taken[k] = fmt.Errorf("somebody else's %s has the name that is needed", k.quoted())
	t.find(backends.Finding{
		Type: backends.Contended, Object: backends.Source{Kind: k.kind, Namespace: k.namespace, Name: k.name}, Field: "metadata.labels",
		Message: "somebody else's object has the name that is needed (it lacks " + backends.LabelManagedBy + "=" + backends.ManagedBy + " and " +
			backends.LabelInstallation + "=" + t.installation +
			"): it is left alone, and what it should say is not advertised. Rename or delete it",
	})
}

// same reports whether an existing object says what is wanted, with the API server's defaults, and whatever labels others have
// put on it.
func same(have, want object) bool {
	return maps.Equal(ours(have.GetLabels()), ours(want.GetLabels())) &&
		maps.Equal(ours(have.GetAnnotations()), ours(want.GetAnnotations())) &&
		string(content(have)) == string(content(want))
}

// ours returns the labels or annotations that are this project's.
func ours(all map[string]string) map[string]string {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(k, _ string) bool { return !ownLabel(k) })
	return out
}

// content returns what an object says in one form: with all defaults, and as JSON, in which an empty list and none are equal.
func content(o object) []byte {
	var v any
	switch o := o.(type) {
	case *corev1.Secret:
		v = o.Data
	case *v2.CiliumBGPPeerConfig:
		spec := o.Spec.DeepCopy()
		spec.SetDefaults()
		v = spec
	case *v2.CiliumBGPClusterConfig:
		v = o.Spec
	case *v2.CiliumBGPAdvertisement:
		v = o.Spec
	case *v2alpha1.CiliumL2AnnouncementPolicy:
		v = o.Spec
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // these types hold nothing that JSON cannot
	}
	return b
}
