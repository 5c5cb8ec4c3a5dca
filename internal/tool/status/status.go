package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// needs are the kinds without which nothing certain can be told.
var needs = []string{"IPAddressPools", "BGPAdvertisements", "L2Advertisements", "Services", "Namespaces", "Leases", "Deployments",
	"Backends"}

// ofSpeakers are those that matter where speakers serve anything.
var ofSpeakers = []string{"DaemonSets", "ConfigurationStates"}

// Of sums up an installation. sets are the DaemonSets of its speakers.
func Of(m *survey.Model, sets []appsv1.DaemonSet) *Report {
	r := &Report{Namespace: m.Namespace, Controller: controller(m), Backends: []Backend{}, Pools: pools(m), Services: services(m),
		Faults: len(m.Snapshot.Faults())}
	r.Speakers = speakers(m, sets)
	for i := range m.Survey.Backends {
		if b := &m.Survey.Backends[i]; b.Annotations[backends.LabelInstallation] == m.Namespace {
			r.Backends = append(r.Backends, backendOf(b.Name, b.Status.Serves, b.Status.Conditions))
		}
	}
	kinds := needs
	if r.Speakers != nil && r.Speakers.Needed {
		kinds = slices.Concat(needs, ofSpeakers)
	}
	for _, g := range m.Gaps {
		if slices.Contains(kinds, g.What) {
			r.Gaps = append(r.Gaps, g.String())
		}
	}
	r.unknown = m.Need(kinds...)
	r.Ready = r.unknown == nil && r.Complete()
	return r
}

func controller(m *survey.Model) Controller {
	k := m.Controller
	c := Controller{State: Ready, Version: k.Version, Replicas: k.Replicas, ReadyReplicas: k.Ready, Leader: k.Leader}
	unelected := k.Settings["leader-elect"] == "false"
	switch {
	case k.Works(m.At) && (k.Deployment == "" || k.Ready > 0), unelected && k.Ready > 0:
	case m.Lacks("Leases"), k.Deployment == "" && m.Lacks("Deployments"):
		c.State, c.Why = Unknown, "what says whether it runs may not be read"
	case k.Deployment == "" && !k.LeaseFound:
		c.State, c.Why = NotReady, fmt.Sprintf("there is none in namespace %q", m.Namespace)
	case k.Deployment != "" && k.Ready == 0:
		c.State, c.Why = NotReady, fmt.Sprintf("none of %d replicas is ready", k.Replicas)
	case !k.LeaseFound || k.Leader == "":
		c.State, c.Why = NotReady, "none leads"
	default:
		c.State, c.Why = NotReady, fmt.Sprintf("%q has not renewed its Lease since %s", k.Leader, k.Renewed.UTC().Format(time.RFC3339))
	}
	return c
}

func speakers(m *survey.Model, sets []appsv1.DaemonSet) *Speakers {
	alive, _ := m.Speakers()
	s := &Speakers{State: Ready, Needed: serve(m), Alive: slices.Sorted(maps.Keys(alive))}
	for i := range sets {
		s.Desired += sets[i].Status.DesiredNumberScheduled
		s.ReadyPods += sets[i].Status.NumberReady
	}
	switch {
	case len(sets) == 0 && len(alive) == 0 && !s.Needed:
		return nil
	case len(sets) > 0 && s.ReadyPods < s.Desired:
		s.State, s.Why = NotReady, "kubectl fairlead doctor says what keeps them"
	case len(alive) > 0:
	case m.Lacks("ConfigurationStates"):
		s.State, s.Why = Unknown, "what they say may not be read"
	default:
		s.State, s.Why = NotReady, "none says that it runs"
	}
	if s.Alive == nil {
		s.Alive = []string{}
	}
	return s
}

// serve reports whether speakers serve any advertisement.
func serve(m *survey.Model) bool {
	for _, a := range m.Snapshot.BGPAdvertisements() {
		if m.Choice.Backend(a) == announce.SpeakerBackend {
			return true
		}
	}
	for _, a := range m.Snapshot.L2Advertisements() {
		if m.Choice.L2Backend(a) == announce.SpeakerBackend {
			return true
		}
	}
	return false
}

func backendOf(name string, serves []string, conditions []metav1.Condition) Backend {
	b := Backend{Name: name, Serves: append([]string{}, serves...), State: NotReady, Why: "it has not said that it is"}
	if c := meta.FindStatusCondition(conditions, apply.ConditionReady); c != nil {
		b.Why = c.Reason + ": " + c.Message
		if c.Status == metav1.ConditionTrue {
			b.State, b.Why = Ready, ""
		}
	}
	return b
}

func pools(m *survey.Model) []Pool {
	out := []Pool{}
	for _, p := range explain.OfPools(m).Pools {
		if p.Problem != "" {
			out = append(out, Pool{Name: p.Name, Problem: p.Problem})
		}
		for _, f := range p.Families {
			out = append(out, Pool{Name: p.Name, Family: f.Family, InUse: f.InUse, Capacity: f.Capacity})
		}
	}
	return out
}

func services(m *survey.Model) Services {
	out := Services{Waiting: []Service{}}
	advertise := advertises(m)
	for i := range m.Services {
		svc := &m.Services[i]
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer || !m.Rules.Serves(svc) {
			continue
		}
		out.Total++
		if len(service.ShownAddresses(svc)) > 0 {
			out.WithAddress++
		}
		c := waitsFor(svc, advertise)
		if c == nil {
			continue
		}
		list := &out.Waiting
		if c.Reason == announce.ReasonSessionsUnknown {
			list = &out.Unknown
			out.UnknownHelp = explain.Help(m.Survey, c.Reason)
		}
		x := Service{Namespace: svc.Namespace, Name: svc.Name, Condition: c.Type, Reason: c.Reason, Message: c.Message}
		if !c.LastTransitionTime.IsZero() {
			x.Since = &c.LastTransitionTime.Time
		}
		*list = append(*list, x)
	}
	for _, list := range [][]Service{out.Waiting, out.Unknown} {
		slices.SortFunc(list, func(a, b Service) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
	}
	return out
}

// advertises reports whether the controller says of every Service whether its addresses are advertised: there are advertisements, and
// somebody is to serve them, as far as is known.
func advertises(m *survey.Model) bool {
	asked := m.Asked()
	return len(m.Snapshot.BGPAdvertisements())+len(m.Snapshot.L2Advertisements()) > 0 &&
		(asked.BGP != delegate.None || asked.Layer2 != delegate.None || m.Snapshot.NamesBackends())
}

// waitsFor returns the condition that is not as it should be; nil: the Service does not wait. advertise asks for one that says that it is
// advertised.
func waitsFor(svc *corev1.Service, advertise bool) *metav1.Condition {
	allocated := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	if allocated == nil {
		return &metav1.Condition{Type: service.ConditionAllocated, Reason: explain.FixNotJudged}
	}
	advertised := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAdvertised)
	if advertised == nil && advertise && len(service.ShownAddresses(svc)) > 0 {
		advertised = &metav1.Condition{Type: service.ConditionAdvertised, Reason: announce.ReasonPending, Message: "it has not been said yet whether the addresses are advertised"}
	}
	for _, c := range []*metav1.Condition{allocated, advertised} {
		if c != nil && c.Status != metav1.ConditionTrue {
			return c
		}
	}
	return nil
}
