package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// worlds returns a cluster as it is and as it would be, each with a controller that has done its work.
func worlds(now, then *survey.Survey) (before, after *world, err error) {
	var g errgroup.Group
	g.Go(func() (err error) {
		before, err = newWorld(now)
		return err
	})
	g.Go(func() (err error) {
		if after, err = newWorld(now); err != nil {
			return err
		}
		return after.become(then)
	})
	return before, after, g.Wait()
}

// Compare tells what differs between a cluster as it is and as it would be, as far as no backend has to be asked.
func Compare(now, then *survey.Survey) (*Report, error) {
	before, after, err := worlds(now, then)
	if err != nil {
		return nil, err
	}
	r := compare(now, before, after)
	r.judge()
	return r, nil
}

// compare tells what differs between two worlds. Services that would change of themselves, because the controller has not caught up, are
// no difference.
func compare(now *survey.Survey, before, after *world) *Report {
	r := &Report{Namespace: now.Namespace, Objects: []Object{}, Faults: faults(before.Snapshot, after.Snapshot),
		Services: services(before, after), Nodes: nodes(before, after), Backends: []Backend{}}
	what := matters
	if speak(before) || speak(after) {
		what = slices.Concat(matters, ofSpeakers)
	}
	for _, g := range now.Gaps {
		if slices.Contains(what, g.What) {
			r.Gaps = append(r.Gaps, g.String())
		}
	}
	r.unknown = now.Need(what...)
	if !before.RulesKnown {
		r.Notes = append(r.Notes, "the controller's flags cannot be read; which classes it serves is inferred from its Services")
	}
	if names := waitForAllocators(after); len(names) > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("what an allocator gives cannot be foretold; Services that would ask one and wait for it: %s", explain.Some(names)))
	}
	if n := outstanding(now, before); n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("Services that will change without this, too, as soon as the controller looks at them: %d", n))
	}
	return r
}

// waitForAllocators returns the Services that would wait for the answer of an allocator, by name.
func waitForAllocators(w *world) []string {
	var out []string
	for i := range w.Services {
		svc := &w.Services[i]
		c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
		if c != nil && c.Reason == service.ReasonWaitingForAllocator && w.Rules.Serves(svc) {
			out = append(out, svc.Namespace+"/"+svc.Name)
		}
	}
	slices.Sort(out)
	return out
}

// matters are the kinds without which something may be missing in the result; ofSpeakers are those that matter beside them where speakers
// serve anything.
var (
	matters = []string{
		"IPAddressPools", "BGPAdvertisements", "L2Advertisements", "AddressReservations", "Communities", "BFDProfiles", "BGPPeers", "Services",
		"Namespaces", "Nodes",
		"Backends", "Deployments",
	}
	ofSpeakers = []string{"EndpointSlices", "ServiceL2Statuses", "SpeakerLeases"}
)

// speak reports whether speakers serve any advertisement.
func speak(w *world) bool {
	return slices.ContainsFunc(w.Snapshot.BGPAdvertisements(),
		func(a *config.BGPAdvertisement) bool { return w.Choice.Backend(a) == announce.SpeakerBackend }) ||
		slices.ContainsFunc(w.Snapshot.L2Advertisements(),
			func(a *config.L2Advertisement) bool { return w.Choice.L2Backend(a) == announce.SpeakerBackend })
}

// outstanding counts the Services that the controller would have changed already.
func outstanding(now *survey.Survey, settled *world) int {
	n := 0
	for i := range now.Services {
		was := &now.Services[i]
		if is := settled.Service(was.Namespace, was.Name); is != nil && !slices.Equal(service.ShownAddresses(was), service.ShownAddresses(is)) {
			n++
		}
	}
	return n
}

func faults(before, after *config.Snapshot) []Fault {
	out := []Fault{}
	add := func(list, other []config.Fault, mended bool) {
		for _, f := range list {
			if slices.ContainsFunc(other, func(o config.Fault) bool {
				return o.Object.Compare(f.Object) == 0 && o.Field == f.Field && o.Problem == f.Problem
			}) {
				continue
			}
			out = append(out, Fault{Object: f.Object.String(), Field: f.Field, Problem: f.Problem, Consequence: f.Consequence(), Mended: mended})
		}
	}
	add(after.Faults(), before.Faults(), false)
	add(before.Faults(), after.Faults(), true)
	return out
}

func services(before, after *world) []Service {
	out := []Service{}
	for i := range after.Services {
		is := &after.Services[i]
		was := before.Service(is.Namespace, is.Name)
		x := Service{
			Namespace: is.Namespace, Name: is.Name, New: was == nil, Before: []string{}, After: texts(service.ShownAddresses(is)),
			AdvertisedBefore: []string{}, AdvertisedAfter: advertised(after.Model, is),
		}
		var reasonBefore string
		if was != nil {
			x.Before, x.AdvertisedBefore = texts(service.ShownAddresses(was)), advertised(before.Model, was)
			reasonBefore = said(was, nil)
		}
		reason := said(is, &x)
		x.Addresses = moved(x.Before, x.After)
		x.withdrawn(before, after, was, is)
		if x.Addresses == Stays && reason == reasonBefore && slices.Equal(x.AdvertisedBefore, x.AdvertisedAfter) && !x.Withdrawn {
			continue
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Service) int {
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
	return out
}

// withdrawn finds out whether somebody would advertise the addresses no longer.
func (s *Service) withdrawn(before, after *world, was, is *corev1.Service) {
	if was == nil || len(s.Before) == 0 || len(s.After) == 0 {
		return
	}
	s.Withdrawn = slices.ContainsFunc(s.AdvertisedBefore, func(a string) bool { return !slices.Contains(s.AdvertisedAfter, a) })
	if v := after.verdict(is); before.verdict(was).Status == metav1.ConditionTrue && v.Status == metav1.ConditionFalse {
		s.Withdrawn, s.Why = true, v.Message
	}
}

// verdict returns whether a Service is advertised, as far as the backends that rehearse tell.
func (w *world) verdict(svc *corev1.Service) announce.Verdict {
	held := w.Assigner.Held(allocator.Owner{Namespace: svc.Namespace, Name: svc.Name})
	return announce.Advertised(w.Snapshot, w.Choice, w.results, delegate.Subject(svc, held))
}

// said returns the reason of the condition Allocated, and puts it with its message into x.
func said(svc *corev1.Service, x *Service) string {
	c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	if c == nil {
		return ""
	}
	if x != nil {
		x.Reason, x.Message = c.Reason, c.Message
	}
	return c.Reason
}

func moved(before, after []string) string {
	lost := slices.ContainsFunc(before, func(a string) bool { return !slices.Contains(after, a) })
	gained := slices.ContainsFunc(after, func(a string) bool { return !slices.Contains(before, a) })
	switch {
	case lost && gained:
		return Renumbered
	case lost:
		return Loses
	case gained:
		return Gains
	}
	return Stays
}

func texts(addrs []netip.Addr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	slices.Sort(out)
	return out
}

// advertised returns the advertisements of a Service that somebody serves.
func advertised(m *survey.Model, svc *corev1.Service) []string {
	out := []string{}
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return out
	}
	for _, a := range explain.AdvertisementsOf(m, svc) {
		if a.Selects && a.Backend != "" {
			out = append(out, fmt.Sprintf("%s %s by %s", a.Kind, a.Name, a.Backend))
		}
	}
	slices.Sort(out)
	return out
}

// nodes compares what the speakers announce.
func nodes(before, after *world) []NodeChange {
	var was map[string][]string
	var earlier sync.WaitGroup
	earlier.Go(func() { was = announced(before) })
	is := announced(after)
	earlier.Wait()
	all := maps.Clone(was)
	maps.Copy(all, is)
	out := []NodeChange{}
	for _, what := range slices.Sorted(maps.Keys(all)) {
		if !slices.Equal(was[what], is[what]) {
			out = append(out, NodeChange{What: what, Before: append([]string{}, was[what]...), After: append([]string{}, is[what]...)})
		}
	}
	return out
}

// announced returns, for each thing that speakers announce, the nodes that do.
func announced(w *world) map[string][]string {
	out := map[string][]string{}
	speakers, ignore := w.Speakers()
	if len(speakers) == 0 {
		return out
	}
	claim(w, speakers)
	list, routers := w.Announced(), map[string]*announce.Node{}
	table := announce.NewTable(ignore, true)
	table.Configure(w.Snapshot, func(a *config.L2Advertisement) bool { return w.Choice.L2Backend(a) == announce.SpeakerBackend })
	for name, n := range w.AnnounceNodes() {
		table.SetNode(name, &n)
		if _, speaks := speakers[name]; speaks {
			routers[name] = &n
		}
	}
	for node, s := range speakers {
		table.SetSpeaker(node, &s)
	}
	for i := range list {
		table.SetService(list[i].ID(), &list[i])
	}
	addrs, _ := table.Decide()
	for _, addr := range addrs {
		if p := table.Placement(addr); p != nil && p.Node != "" {
			out[fmt.Sprintf("%s on the local network", addr)] = []string{p.Node}
		}
	}
	decided := announce.Everywhere(announce.RoutesInput{
		Snapshot: w.Snapshot, Services: list, IgnoreExclude: ignore,
		Serves: func(a *config.BGPAdvertisement) bool { return w.Choice.Backend(a) == announce.SpeakerBackend },
	}, routers)
	alike := map[*announce.RoutesDecision][]string{}
	for _, node := range slices.Sorted(maps.Keys(routers)) {
		alike[decided[node]] = append(alike[decided[node]], node)
	}
	for d, nodes := range alike {
		for i := range d.Routes {
			what := routeText(&d.Routes[i])
			out[what] = append(out[what], nodes...)
		}
	}
	for what := range out {
		slices.Sort(out[what])
	}
	return out
}

func routeText(r *backends.Route) string {
	what := fmt.Sprintf("%s to %s", r.Prefix, strings.Join(r.Peers, ", "))
	if len(r.Communities) > 0 {
		what += fmt.Sprintf(" with communities %v", r.Communities)
	}
	if r.LocalPref != 0 {
		what += fmt.Sprintf(" with localPref %d", r.LocalPref)
	}
	return what
}

// claim has the speakers claim what they say they announce: an address stays with its node.
func claim(w *world, speakers map[string]announce.Speaker) {
	for i := range w.L2 {
		x := &w.L2[i].Status
		speaker, alive := speakers[x.Node]
		svc := w.Service(x.ServiceNamespace, x.ServiceName)
		if !alive || svc == nil {
			continue
		}
		if speaker.Claims == nil {
			speaker.Claims = map[netip.Addr]bool{}
		}
		for _, addr := range service.ShownAddresses(svc) {
			speaker.Claims[addr] = true
		}
		speakers[x.Node] = speaker
	}
}

// judge fills in what follows from the rest of a Report.
func (r *Report) judge() {
	for _, s := range r.Services {
		r.Changes = true
		r.Disruptive = r.Disruptive || s.Addresses == Loses || s.Addresses == Renumbered || s.Withdrawn
	}
	for _, n := range r.Nodes {
		r.Changes = true
		r.Disruptive = r.Disruptive || slices.ContainsFunc(n.Before, func(node string) bool { return !slices.Contains(n.After, node) })
	}
	r.Incomplete = r.unknown != nil
	for _, b := range r.Backends {
		r.Changes = r.Changes || len(b.Writes) > 0
		r.Incomplete = r.Incomplete || b.Problem != ""
		for _, w := range b.Writes {
			r.Disruptive = r.Disruptive || w.Verb == rehearse.Delete
		}
	}
	for _, f := range r.Faults {
		r.Changes = true
		r.Disruptive = r.Disruptive || !f.Mended
	}
	for _, o := range r.Objects {
		r.Disruptive = r.Disruptive || o.Action == ActionInvalid
	}
}
