package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

type l2Advertisement = *config.L2Advertisement

// tool is a command line of this tool.
func (f *Facts) tool(command string) string { return explain.Command(f.Namespace, command) }

// Pools is what there is to say of pools, without asking the cluster anything more.
func Pools(m *survey.Model) []Finding {
	c := &check{name: "pools"}
	poolsCheck(&Facts{Model: m}, c)
	return c.out
}

// configurationCheck tells of each fault, and of faults that only a process sees.
func configurationCheck(f *Facts, c *check) {
	for _, fault := range f.Snapshot.Faults() {
		if fault.Missing && (f.Lacks("Communities") || f.Lacks("BFDProfiles")) {
			continue // what it refers to may be there, and is not to be seen
		}
		severity := Error
		if fault.Missing {
			severity = Warning // it may come yet
		}
		c.add(severity, Finding{
			What: fmt.Sprintf("%s: %s: %s", fault.Object, fault.Field, fault.Problem), Why: "the object, or the faulty part of it, is not in force",
			Command: fmt.Sprintf("kubectl -n %s edit %s.%s %s", fault.Object.Namespace, strings.ToLower(fault.Object.Kind),
				group(fault.Object.APIVersion), fault.Object.Name),
		})
	}
	for i := range f.States {
		s := &f.States[i]
		if s.Status.Result != v1beta1.ConfigurationInvalid || len(f.Snapshot.Faults()) > 0 {
			continue
		}
		c.add(Warning, Finding{
			What:    fmt.Sprintf("ConfigurationState %s: %s", s.Name, s.Status.ErrorSummary),
			Why:     "a process holds the configuration for faulty, although what is there now is not",
			Command: fmt.Sprintf("kubectl -n %s describe configurationstate %s", s.Namespace, s.Name),
		})
	}
}

func group(apiVersion string) string {
	g, _, _ := strings.Cut(apiVersion, "/")
	return g
}

// fullAt is from which percentage on a pool is nearly full.
const fullAt = 90

// poolsCheck looks for pools that do not give.
func poolsCheck(f *Facts, c *check) {
	if f.Lacks("IPAddressPools") {
		return
	}
	pools := explain.OfPools(f.Model)
	automatic := false
	for _, p := range pools.Pools {
		automatic = automatic || p.AutoAssign && p.Problem == ""
		for _, u := range p.Families {
			switch {
			case u.Free == 0 && p.Waiting > 0:
				c.add(Error, Finding{What: fmt.Sprintf("pool %q has no %s address left, and %s for one", p.Name, u.Family, waits(p.Waiting)),
					Why: "they stay without an address", Command: f.tool("pools " + p.Name)})
			case u.Free == 0 && u.InUse > 1:
				c.add(Warning, Finding{What: fmt.Sprintf("pool %q has no %s address left", p.Name, u.Family), Why: "the next Service gets none",
					Command: f.tool("pools " + p.Name)})
			case u.Percent() >= fullAt && u.Capacity > 10:
				c.add(Info, Finding{What: fmt.Sprintf("pool %q: %d%% of its %s addresses are in use or reserved", p.Name, u.Percent(), u.Family),
					Command: f.tool("pools " + p.Name)})
			}
		}
	}
	nodes := map[string][]service.NodeAddress{}
	for _, x := range f.Assigner.NodeAddresses() {
		nodes[x.Pool] = append(nodes[x.Pool], x)
	}
	for _, pool := range slices.Sorted(maps.Keys(nodes)) {
		c.add(Warning, Finding{
			What:    fmt.Sprintf("pool %q: %s", pool, service.NodeAddressesText(nodes[pool])),
			Why:     "a node whose address a Service has cannot be reached",
			Command: f.tool("explain address " + nodes[pool][0].Addr.String()),
		})
	}
	switch {
	case len(f.Config.Pools) == 0:
		c.add(Error, Finding{
			What:    fmt.Sprintf("there is no IPAddressPool in namespace %q", f.Namespace),
			Why:     "there is nothing to assign; put addresses of your network into the command",
			Command: fmt.Sprintf(`printf 'apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: main, namespace: %s}\nspec: {addresses: [192.0.2.0/24]}\n' | kubectl apply -f -`, f.Namespace),
		})
	case !automatic:
		c.add(Warning, Finding{What: "no pool in force assigns automatically", Why: "only Services that ask for a pool get an address",
			Command: f.tool("pools")})
	}
}

// severe are the findings of a backend that keep what it serves from working.
var severe = []backends.FindingType{backends.BackendInactive, backends.IPAMConflict, backends.ConfigFrozen, backends.Contended,
	backends.PeerNotReady}

// backendsCheck looks at the Backend objects, or, where no controller keeps them, at the CNI itself.
func backendsCheck(f *Facts, c *check) {
	if !f.idle() {
		for i := range f.Survey.Backends {
			if b := &f.Survey.Backends[i]; b.Annotations[backends.LabelInstallation] == f.Namespace {
				backendCheck(f, c, b.Name, b.Status.Conditions)
			} else {
				c.add(Info, Finding{What: fmt.Sprintf("Backend %q belongs to the installation in namespace %q", b.Name,
					b.Annotations[backends.LabelInstallation]), Why: "only one installation can write to a CNI"})
			}
		}
		unserved(f, c)
		return
	}
	var facts []string
	for _, x := range f.Detected {
		facts = append(facts, x.Name+" is "+x.Value)
	}
	if len(facts) > 0 {
		c.add(Info, Finding{What: "found of the CNIs: " + strings.Join(facts, ", ")})
	}
	if f.Seen != "" {
		c.add(Warning, Finding{What: f.Seen, Why: "with backend auto, nobody would advertise by BGP",
			Command: f.command(change{"--set backend=calico", []string{"--backend=calico"},
				"or cilium; or {speaker, with the DaemonSet of dist/manifests/speaker.yaml|backend=speaker,speaker.enabled=true}"})})
	}
	for _, name := range slices.Sorted(maps.Keys(f.Rehearsed)) {
		r := f.Rehearsed[name]
		if r.Outcome == nil {
			if r.Err != nil && (f.Choice.BGP == name || f.Choice.Layer2 == name) {
				c.add(Error, Finding{What: fmt.Sprintf("backend %q: %v", name, backends.Flatten(r.Err)[0]), Why: "it is to advertise, and cannot"})
			}
			continue
		}
		for _, x := range r.Outcome.Findings {
			c.add(severityOf(string(x.Type)), Finding{What: fmt.Sprintf("backend %q: %s: %s", name, x.Type, x),
				Why: explain.Help(f.Survey, string(x.Type))})
		}
	}
}

func severityOf(finding string) string {
	if slices.Contains(severe, backends.FindingType(finding)) {
		return Error
	}
	return Warning
}

func backendCheck(f *Facts, c *check, name string, conditions []metav1.Condition) {
	command := "kubectl describe backends.fairlead.io " + name
	for _, x := range conditions {
		switch {
		case x.Type == apply.ConditionReady && x.Status == metav1.ConditionTrue:
		case x.Type == apply.ConditionReady && name == delegate.None:
			c.add(Error, Finding{What: fmt.Sprintf("nobody advertises: %s", x.Message),
				Why: "addresses are assigned, and nobody outside knows the way to them", Command: command})
		case x.Type == apply.ConditionReady:
			c.add(Error, Finding{What: fmt.Sprintf("backend %q is not ready: %s: %s", name, x.Reason, x.Message),
				Why: "what it serves may not be advertised", Command: command})
		case x.Status == metav1.ConditionTrue:
			for _, finding := range explain.Findings(x.Message) {
				c.add(severityOf(x.Type), Finding{What: fmt.Sprintf("backend %q: %s: %s", name, x.Type, finding), Why: explain.Help(f.Survey, x.Type),
					Command: command})
			}
		}
	}
}

// unserved tells of advertisements that nobody serves although somebody could be asked to.
func unserved(f *Facts, c *check) {
	if !f.ChoiceKnown {
		return
	}
	var bgp, layer2 []string
	for _, a := range f.Snapshot.BGPAdvertisements() {
		if f.Choice.Backend(a) == "" && a.Backend == "" {
			bgp = append(bgp, "BGPAdvertisement "+a.Ref.Name)
		}
	}
	for _, a := range f.Snapshot.L2Advertisements() {
		if f.Choice.L2Backend(a) == "" && a.Backend == "" {
			layer2 = append(layer2, "L2Advertisement "+a.Ref.Name)
		}
	}
	run := ",speaker.enabled=true"
	if f.speakerSet() != nil {
		run = "" // they are there
	}
	for _, x := range []struct {
		names []string
		why   string
		how   change
	}{
		{bgp, "addresses are not advertised by BGP because of them; {--bgp-backend|bgpBackend of the chart} says who is to", change{
			"--set bgpBackend=calico", []string{"--bgp-backend=calico"}, "or cilium; or {speaker|bgpBackend=speaker" + run + "}",
		}},
		{layer2, "addresses are not announced on the local network because of them; {--l2-backend|l2Backend of the chart} says who is to", change{
			"--set l2Backend=speaker" + run, []string{"--l2-backend=speaker"}, "or {cilium|l2Backend=cilium}",
		}},
	} {
		if len(x.names) > 0 {
			c.add(Warning, Finding{What: "nobody serves " + explain.Some(x.names), Why: f.advice(x.why), Command: f.command(x.how)})
		}
	}
}

// servicesCheck groups the Services that are not served, or not advertised, by the reason.
func servicesCheck(f *Facts, c *check) {
	groups := map[[3]string][]string{} // severity, condition and reason
	for i := range f.Services {
		svc := &f.Services[i]
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer || !f.Rules.Serves(svc) {
			continue
		}
		name := svc.Namespace + "/" + svc.Name
		add := func(severity, condition, reason string) {
			k := [3]string{severity, condition, reason}
			groups[k] = append(groups[k], name)
		}
		if x := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated); x != nil {
			switch {
			case x.Status != metav1.ConditionTrue:
				add(Error, "no address", x.Reason)
			case x.Reason == service.ReasonAddressKept:
				add(Warning, "not the address that is asked for", x.Reason)
			case x.Reason == service.ReasonAddressOfNode:
				add(Warning, "an address that is a node's own", x.Reason)
			}
		} else if f.RulesKnown && f.Controller.Works(f.At) {
			add(Warning, "not judged yet", "Pending")
		}
		if x := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAdvertised); x != nil && x.Status != metav1.ConditionTrue {
			severity, condition := Error, "not advertised"
			switch {
			case x.Status != metav1.ConditionUnknown:
			case len(f.Nodes) == 0 && !f.Lacks("Nodes"):
				severity, condition = Info, "not known to be advertised, as there are no nodes"
			default:
				severity = Warning
			}
			add(severity, condition, x.Reason)
		}
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
	for _, k := range keys {
		names := groups[k]
		slices.Sort(names)
		command := f.tool("explain service " + names[0])
		if k[2] == service.ReasonForeignStatus {
			namespace, name, _ := strings.Cut(names[0], "/")
			command = service.EmptyStatus(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
		}
		why := explain.Help(f.Survey, k[2])
		if k[0] == Info {
			why = "" // there is nothing to do
		}
		c.add(k[0], Finding{
			What: fmt.Sprintf("%s: %s (%s): %s", counted(len(names), "Service"), k[1], k[2], explain.Some(names)), Why: why, Command: command,
		})
	}
}
