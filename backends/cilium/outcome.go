package cilium

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// mostOwned is how many objects of a kind are listed: there are as many as nodes.
const mostOwned = 100

// outcome tells how things are once the objects of t are written, but for those that failed; compare has been called before.
func (t *translation) outcome(d Detection, failed map[key]error) backends.Outcome {
	failed = maps.Clone(failed)
	if failed == nil {
		failed = map[key]error{}
	}
	maps.Copy(failed, t.taken)
	bgp, l2 := len(t.want.BGPAdvertisements) > 0, len(t.want.L2Advertisements) > 0
	out := backends.Outcome{
		APIVersion: d.APIVersion(),
		Facts:      d.Facts,
		Findings:   slices.Concat(d.findings(bgp, l2), t.findings, t.conditions()),
		Pools:      map[string]backends.PoolOutcome{},
		OnlyVIP:    true,
		Claims:     d.claims(),
		// Only on layer 2 it matters which Services there are: for those that share an address.
		IgnoresServices: !l2,
		WholeServices:   true,
	}
	if bgp || !l2 {
		out.Classes = append(out.Classes, classBGP)
	}
	if l2 || !bgp {
		out.Classes = append(out.Classes, classL2)
	}
	listed := map[string]int{}
	for _, o := range t.objects {
		k := keyOf(o)
		if listed[k.kind]++; failed[k] == nil && listed[k.kind] <= mostOwned {
			out.Owned = append(out.Owned, k.String())
		}
	}
	for k := range t.keep {
		out.Owned = append(out.Owned, k.String())
	}
	slices.Sort(out.Owned)
	out.Unheard = t.unheard()
	if !d.off() {
		out.Findings = append(out.Findings, t.unselected(failed)...)
	}
	ways := t.ways(d, failed)
	for name, s := range t.pools {
		out.Pools[name] = s.outcome(ways[name])
	}
	return out
}

// way is how, or why not, a pool is advertised by one object.
type way struct {
	works   bool
	message string
}

func (s *poolState) outcome(ways []way) backends.PoolOutcome {
	var good, bad []string
	for _, w := range ways {
		if w.works {
			good = append(good, w.message)
		} else {
			bad = append(bad, w.message)
		}
	}
	switch {
	case len(good) > 0:
		return backends.PoolOutcome{Advertised: true, Message: "Cilium: " + strings.Join(good, "; ")}
	case len(bad) > 0:
		return backends.PoolOutcome{Message: "Cilium: " + strings.Join(bad, "; ")}
	case len(s.withheld) > 0:
		return backends.PoolOutcome{Message: "Cilium: withheld, because it cannot express " + strings.Join(slices.Compact(s.withheld), " and ")}
	}
	return backends.PoolOutcome{Message: "Cilium: no BGPAdvertisement or L2Advertisement that it serves selects the pool"}
}

// ways returns the ways of each pool, by the pool's name, in the order of the objects.
func (t *translation) ways(d Detection, failed map[key]error) map[string][]way {
	out := map[string][]way{}
	add := func(w way, pools map[string]bool) {
		for label := range pools {
			if name, ok := t.names[label]; ok {
				out[name] = append(out[name], w)
			}
		}
	}
	configs := slices.Concat(t.ourConfigs(), t.foreignConfigs())
	for _, o := range t.objects {
		pools := map[string]bool{}
		var w way
		switch o := o.(type) {
		case *v2.CiliumBGPAdvertisement:
			for _, e := range o.Spec.Advertisements {
				insert(pools, poolsIn(e.Selector))
			}
			n := 0
			for _, c := range configs {
				if tells(c, o.Labels, bothFamilies) {
					n++
				}
			}
			w = way{n > 0, fmt.Sprintf("%s %q, selected by %s%s", kindAdvert, o.Name, count(n, "peer config"), remedy(n, o.Labels))}
			if d.off() {
				w = way{false, "its BGP control plane is off"}
			}
		case *policy:
			insert(pools, poolsIn(o.Spec.ServiceSelector))
			w = way{true, fmt.Sprintf("%s %q", kindPolicy, o.Name)}
			if d.config != nil && !d.L2 {
				w = way{false, "its layer 2 announcements are off"}
			}
		default:
			continue
		}
		if err := failed[keyOf(o)]; err != nil {
			w = way{false, err.Error()}
		}
		add(w, pools)
	}
	return out
}

// remedy says how an advertisement that no peer config selects could be selected.
func remedy(configs int, labels map[string]string) string {
	if configs > 0 {
		return ""
	}
	for _, l := range slices.Sorted(maps.Keys(labels)) {
		if l == labelAdvertise || strings.HasPrefix(l, peerLabelPrefix) {
			return fmt.Sprintf("; a CiliumBGPPeerConfig has to select %s=%s in spec.families[].advertisements", l, yes)
		}
	}
	return ""
}

func insert(set map[string]bool, values []string) {
	for _, v := range values {
		set[v] = true
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// conditions returns what Cilium says of our existing objects. That it knows no node is told if it is so of all of them: there may be
// nodes that it does not run on, and excluded ones.
func (t *translation) conditions() []backends.Finding {
	var out, alone []backends.Finding
	ours := 0
	for _, o := range t.world.clusterConfigs {
		if !owned(o, t.installation) {
			continue
		}
		ours++
		if f, ok := t.condition(o, v2.BGPClusterConfigConditionConflictingClusterConfigs, backends.PeerExists); ok && !t.takesOver(o.Name) {
			out = append(out, f)
		}
		if f, ok := t.condition(o, v2.BGPClusterConfigConditionNoMatchingNode, backends.BackendInactive); ok {
			alone = append(alone, f)
		}
	}
	if len(alone) == ours {
		out = append(out, alone...)
	}
	slices.SortFunc(out, func(a, b backends.Finding) int { return strings.Compare(a.String(), b.String()) })
	return out
}

func (t *translation) condition(o *v2.CiliumBGPClusterConfig, name string, is backends.FindingType) (backends.Finding, bool) {
	c := meta.FindStatusCondition(o.Status.Conditions, name)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != o.Generation {
		return backends.Finding{}, false
	}
	message := fmt.Sprintf("Cilium says %s", name)
	if c.Message != "" {
		message += ": " + c.Message
	}
	return backends.Finding{Type: is, Object: backends.Source{Kind: kindClusterConfig, Name: o.Name}, Field: "status.conditions",
		Message: message}, true
}

// takesOver reports whether a cluster config is to get its node from another one of ours.
func (t *translation) takesOver(clusterConfig string) bool {
	return slices.ContainsFunc(t.handovers(), func(h handover) bool { return h.to == clusterConfig })
}

// errors returns what the failures mean: an error for each prefix of the pools of an advertisement, and the rest as it is.
func (t *translation) errors(failed map[key]error) []error {
	var out []error
	for _, k := range slices.SortedFunc(maps.Keys(failed), func(a, b key) int { return strings.Compare(a.String(), b.String()) }) {
		pools := map[string]bool{}
		for _, o := range t.objects {
			if a, ok := o.(*v2.CiliumBGPAdvertisement); ok && keyOf(o) == k {
				for _, e := range a.Spec.Advertisements {
					insert(pools, poolsIn(e.Selector))
				}
			}
		}
		before := len(out)
		for _, a := range t.want.Announcements {
			if label, ok := t.labels[a.Pool]; ok && pools[label] {
				out = append(out, &backends.AnnounceError{Prefix: a.Prefix, Err: failed[k]})
			}
		}
		if len(out) == before {
			out = append(out, failed[k])
		}
	}
	return out
}
