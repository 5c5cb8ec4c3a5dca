package explain

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

const (
	kindBGP = "BGPAdvertisement"
	kindL2  = "L2Advertisement"
)

func isPassed(err error) bool {
	return errors.Is(err, allocator.ErrNotAsked) || errors.Is(err, allocator.ErrNotAutomatic)
}

// AdvertisementsOf says of every advertisement object whether it is about a Service.
func AdvertisementsOf(m *survey.Model, svc *corev1.Service) []Advertisement {
	var pools []*config.Pool
	for _, g := range m.Assigner.Held(ownerOf(svc)).Grants() {
		if p := m.Snapshot.Pool(g.Pool); p != nil && !slices.Contains(pools, p) {
			pools = append(pools, p)
		}
	}
	out := []Advertisement{}
	for _, a := range m.Snapshot.BGPAdvertisements() {
		x := Advertisement{Kind: kindBGP, Name: a.Ref.Name, Backend: m.Choice.Backend(a), Details: bgpDetails(a)}
		x.Selects, x.Why = selects(pools, a.Selects, a.SelectsService(svc.Labels))
		if x.Selects && a.PoolsOnly {
			x.Details = append(x.Details, "it is faulty, and only which pools it selects is in force")
		}
		out = append(out, x)
	}
	for _, a := range m.Snapshot.L2Advertisements() {
		x := Advertisement{Kind: kindL2, Name: a.Ref.Name, Backend: m.Choice.L2Backend(a)}
		x.Selects, x.Why = selects(pools, a.Selects, a.SelectsService(svc.Labels))
		if len(a.Interfaces) > 0 {
			x.Details = append(x.Details, "interfaces "+strings.Join(a.Interfaces, ", "))
		}
		if n := len(a.NodeSelectors()); n > 0 {
			x.Details = append(x.Details, "nodeSelectors: "+nodesOf(m, a.SelectsNode))
		}
		out = append(out, x)
	}
	for _, f := range m.Snapshot.Faults() {
		if (f.Object.Kind == kindBGP || f.Object.Kind == kindL2) && !slices.ContainsFunc(out,
			func(a Advertisement) bool { return a.Kind == f.Object.Kind && a.Name == f.Object.Name }) {
			out = append(out, Advertisement{Kind: f.Object.Kind, Name: f.Object.Name,
				Why: fmt.Sprintf("it is faulty and set aside: %s: %s", f.Field, f.Problem)})
		}
	}
	slices.SortStableFunc(out, func(a, b Advertisement) int {
		first := func(x Advertisement) int {
			if x.Selects {
				return 0
			}
			return 1
		}
		return cmp.Or(first(a)-first(b), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func selects(pools []*config.Pool, selectsPool func(*config.Pool) bool, service bool) (bool, string) {
	if len(pools) == 0 {
		return false, "the Service has no address from a pool"
	}
	if !slices.ContainsFunc(pools, selectsPool) {
		var names []string
		for _, p := range pools {
			names = append(names, fmt.Sprintf("%q", p.Name))
		}
		return false, "its ipAddressPools and ipAddressPoolSelectors do not select pool " + strings.Join(names, " or ")
	}
	if !service {
		return false, "its serviceSelectors do not match the labels of the Service"
	}
	return true, ""
}

func bgpDetails(a *config.BGPAdvertisement) []string {
	var out []string
	if a.AggregationLength != 0 && a.AggregationLength != 32 || a.AggregationLengthV6 != 0 && a.AggregationLengthV6 != 128 {
		out = append(out, fmt.Sprintf("routes of /%d and /%d", a.AggregationLength, a.AggregationLengthV6))
	}
	if a.LocalPref != 0 {
		out = append(out, fmt.Sprintf("localPref %d", a.LocalPref))
	}
	if len(a.Communities) > 0 {
		var all []string
		for _, c := range a.Communities {
			all = append(all, backends.Community(c).String())
		}
		out = append(out, "communities "+strings.Join(all, ", "))
	}
	if len(a.Peers) > 0 {
		out = append(out, "peers "+strings.Join(a.Peers, ", "))
	}
	return out
}

// nodesOf names the nodes that a selection selects.
func nodesOf(m *survey.Model, selectsNode func(labels.Set) bool) string {
	if m.Lacks("Nodes") {
		return "which nodes they select is not known"
	}
	var names []string
	for i := range m.Nodes {
		if selectsNode(m.Nodes[i].Labels) {
			names = append(names, m.Nodes[i].Name)
		}
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return "no node"
	case len(names) > 5:
		return fmt.Sprintf("%s and %d more nodes", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// backendsFor returns who serves the advertisements that select a Service, with what they wrote for it.
func backendsFor(m *survey.Model, svc *corev1.Service, ads []Advertisement) []Backend {
	out := []Backend{}
	for _, a := range ads {
		if !a.Selects || a.Backend == "" || slices.ContainsFunc(out, func(b Backend) bool { return b.Name == a.Backend }) {
			continue
		}
		o := m.Backend(a.Backend)
		if o == nil {
			out = append(out, Backend{Name: a.Backend, Serves: []string{}, Conditions: []Condition{}})
			continue
		}
		b := backendOf(o)
		b.Wrote = wroteFor(o, service.ShownAddresses(svc), ads)
		out = append(out, b)
	}
	return out
}

// wroteFor returns what of a backend's record concerns addresses, and the objects made from the advertisements that select them.
func wroteFor(o *v1alpha1.Backend, addrs []netip.Addr, ads []Advertisement) []string {
	var out []string
	contains := func(prefix string) bool {
		p, err := netip.ParsePrefix(prefix)
		return err == nil && slices.ContainsFunc(addrs, p.Contains)
	}
	for _, p := range o.Status.Owned.Prefixes {
		if contains(p.Prefix) {
			out = append(out, fmt.Sprintf("prefix %s of pool %q", p.Prefix, p.Pool))
		}
	}
	for _, c := range o.Status.Owned.Communities {
		if contains(c.Prefix) {
			out = append(out, fmt.Sprintf("communities %s for %s", strings.Join(c.Communities, ", "), c.Prefix))
		}
	}
	objects := o.Status.Owned.Objects
	if o.Name == announce.SpeakerBackend { // these are the advertisements themselves
		objects = slices.DeleteFunc(slices.Clone(objects), func(object string) bool {
			return !slices.ContainsFunc(ads, func(a Advertisement) bool {
				return a.Selects && strings.HasPrefix(object, a.Kind+"/") && strings.HasSuffix(object, "/"+a.Name)
			})
		})
	}
	return append(out, objects...)
}
