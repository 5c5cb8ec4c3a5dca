package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Reasons of a Fix beside those of conditions.
const (
	FixNotLoadBalancer = "NotLoadBalancer"
	FixClassNotServed  = "ClassNotServed"
	FixNoController    = "ControllerNotRunning"
	FixNotJudged       = "NotJudgedYet"
	FixBackendNotReady = "BackendNotReady"
	FixSessionDown     = "SessionDown"
)

// firstFix returns what is to be fixed first: what is first on the way from the request to the packets.
func firstFix(m *survey.Model, svc *corev1.Service, r *Service) *Fix {
	for _, step := range []struct {
		name string
		fix  func(*survey.Model, *corev1.Service, *Service) *Fix
	}{
		{StepRequest, fixRequest}, {StepController, fixController}, {StepAddress, fixAllocation}, {StepAdvertisement, fixAdvertisement},
		{StepBackend, fixBackends}, {StepEndpoints, fixEndpoints}, {StepSessions, fixSessions},
	} {
		if f := step.fix(m, svc, r); f != nil {
			f.Step = cmp.Or(steps[f.Reason], step.name)
			return f
		}
	}
	return nil
}

// The steps on the way from the request to the packets.
const (
	StepRequest       = "request"
	StepController    = "controller"
	StepPools         = "pools"
	StepAddress       = "address"
	StepAdvertisement = "advertisement"
	StepBackend       = "backend"
	StepNodes         = "nodes"
	StepSessions      = "sessions"
	StepEndpoints     = "endpoints"
)

// steps are where the way is broken, by reasons of conditions that more than one step can lead to.
var steps = map[string]string{
	service.ReasonInvalidRequest: StepRequest, service.ReasonNoClusterIP: StepRequest, service.ReasonNotEnoughClusterIPs: StepRequest,
	service.ReasonPoolExhausted: StepPools, service.ReasonPoolMismatch: StepPools, service.ReasonPoolNotAdmitting: StepPools,
	service.ReasonPoolNotFound: StepPools, service.ReasonNoMatchingPool: StepPools, service.ReasonAddressNotInPool: StepPools,

	announce.ReasonApplyFailed: StepBackend, announce.ReasonNoBackend: StepBackend, announce.ReasonNotAdvertised: StepBackend,
	announce.ReasonClassNotAdvertised: StepBackend,

	announce.ReasonPending: StepNodes, announce.ReasonNoSpeaker: StepNodes, announce.ReasonNotAnnounced: StepNodes, announce.ReasonNoInterface: StepNodes,
	announce.ReasonNodeLabeledExclude: StepNodes, announce.ReasonNodeNetworkUnavailable: StepNodes, announce.ReasonNodeNotSelected: StepNodes,
	announce.ReasonNodeUnknown: StepNodes, announce.ReasonSpeakerLeaving: StepNodes, announce.ReasonAddressTaken: StepNodes,

	announce.ReasonNoPeer: StepSessions, announce.ReasonNoSession: StepSessions, announce.ReasonSessionsUnknown: StepSessions,
	announce.ReasonNoEndpoints: StepEndpoints, announce.ReasonNoLocalEndpoints: StepEndpoints,
}

func fixRequest(m *survey.Model, svc *corev1.Service, r *Service) *Fix {
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return &Fix{
			Reason: FixNotLoadBalancer, What: fmt.Sprintf("spec.type is %s", svc.Spec.Type),
			Help: "only Services of type LoadBalancer get addresses; most are not meant to",
		}
	}
	if r.Served {
		return nil
	}
	what := "the Service has no spec.loadBalancerClass"
	if class := service.Class(svc); class != "" {
		what = fmt.Sprintf("spec.loadBalancerClass is %q", class)
	}
	return &Fix{
		Reason: FixClassNotServed, What: fmt.Sprintf("%s; served are %s", what, classes(m.Rules.Classes)),
		Help: m.Advice("the class of a Service cannot be changed: create it anew, or have the controller serve the class by {--lb-class|loadBalancerClass of the chart}"),
	}
}

func fixController(m *survey.Model, svc *corev1.Service, _ *Service) *Fix {
	c := m.Controller
	judged := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated) != nil
	switch {
	case c.Works(m.At), m.Lacks("Leases"), !c.LeaseFound && judged:
		return nil // without a Lease, it may run with --leader-elect=false
	case !c.LeaseFound:
		return &Fix{
			Reason: FixNoController, What: fmt.Sprintf("no controller has ever led in namespace %q", m.Namespace),
			Help:    "install it there, or name its namespace by --system-namespace",
			Command: "kubectl get deployments -A -l app.kubernetes.io/name=fairlead",
		}
	}
	return &Fix{
		Reason: FixNoController, What: fmt.Sprintf("the controller has not renewed its Lease for %s", m.At.Sub(c.Renewed).Round(time.Second)),
		Help:    "nothing changes until it runs",
		Command: fmt.Sprintf("kubectl -n %s get pods -l app.kubernetes.io/name=fairlead,app.kubernetes.io/component=controller", m.Namespace),
	}
}

func fixAllocation(m *survey.Model, svc *corev1.Service, r *Service) *Fix {
	c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	if c == nil {
		return &Fix{Reason: FixNotJudged, What: "the controller has said nothing of this Service",
			Help: "wait a moment; if it stays so, see its log"}
	}
	if c.Status == metav1.ConditionTrue && c.Reason != service.ReasonAddressKept && c.Reason != service.ReasonAddressOfNode &&
		c.Reason != service.ReasonAllocatorDisagrees {
		return nil
	}
	f := &Fix{Reason: c.Reason, What: c.Message, Help: Help(m.Survey, c.Reason), Command: lookInto(m, svc, c.Reason, r)}
	if c.Reason == service.ReasonAddressKept {
		f.Help, f.Command = keptHelp(m, svc, r)
	}
	return f
}

// keptHelp returns what helps a Service that keeps an address although it asks for something else: what makes that possible, and the
// command that takes the request back.
func keptHelp(m *survey.Model, svc *corev1.Service, r *Service) (text, command string) {
	text, command = Help(m.Survey, service.ReasonAddressKept), lookInto(m, svc, service.ReasonAddressKept, r)
	considered, err := m.Assigner.Consider(svc, m.NamespaceLabels(svc.Namespace))
	for i := range considered {
		if e := considered[i].Err; e != nil && !isPassed(e) {
			err = e
			break
		}
	}
	if err != nil {
		if h := Help(m.Survey, assign.ReasonOf(err)); h != "" {
			text = h
		}
	}
	var annotations []string
	for _, a := range r.Request.Asks {
		if key, ok := strings.CutPrefix(a.Field, "metadata.annotations["); ok && !a.Ignored {
			annotations = append(annotations, strings.TrimSuffix(key, "]")+"-")
		}
	}
	if len(annotations) > 0 {
		text += "; or keep the address, and take the request back"
		command = fmt.Sprintf("kubectl -n %s annotate service %s %s", svc.Namespace, svc.Name, strings.Join(annotations, " "))
	}
	return text, command
}

func fixAdvertisement(m *survey.Model, svc *corev1.Service, r *Service) *Fix {
	c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAdvertised)
	if c == nil || c.Status == metav1.ConditionTrue {
		return nil
	}
	return &Fix{Reason: c.Reason, What: c.Message, Help: advertisementHelp(m, c), Command: lookInto(m, svc, c.Reason, r)}
}

// advertisementHelp returns what helps against a condition Advertised. Of a CNI that does not advertise a pool, that is what helps against
// what its backend has found.
func advertisementHelp(m *survey.Model, c *metav1.Condition) string {
	if c.Reason == announce.ReasonNotAdvertised {
		for i := range m.Survey.Backends {
			b := &m.Survey.Backends[i]
			for _, x := range b.Status.Conditions {
				for _, finding := range Findings(x.Message) {
					_, said, _ := strings.Cut(finding, ": ")
					if h := findingHelp[backends.FindingType(x.Type)]; h != "" && said != "" && strings.Contains(c.Message, said) {
						return m.Advice(h)
					}
				}
			}
		}
	}
	return Help(m.Survey, c.Reason)
}

// lookInto returns the command that shows more of a reason.
func lookInto(m *survey.Model, svc *corev1.Service, reason string, r *Service) string {
	switch reason {
	case service.ReasonAddressInUse, service.ReasonSharingConflict, service.ReasonAddressReserved, service.ReasonAddressNotInPool,
		service.ReasonAddressNotUsable, service.ReasonAddressConflict, service.ReasonAddressOfNode:
		if addr := askedAddress(r); addr != "" {
			return Command(m.Namespace, "explain address "+addr)
		}
	case service.ReasonPoolExhausted, service.ReasonNoMatchingPool, service.ReasonPoolNotFound, service.ReasonPoolMismatch,
		service.ReasonPoolNotAdmitting:
		return Command(m.Namespace, "pools")
	case announce.ReasonNoBackend, announce.ReasonApplyFailed, announce.ReasonNotAdvertised, announce.ReasonClassNotAdvertised,
		service.ReasonIPAMConflict:
		return Command(m.Namespace, "backends -o wide")
	case announce.ReasonNoAdvertisement, announce.ReasonServiceNotSelected, announce.ReasonNodeNotSelected,
		announce.ReasonConflictingAdvertisements, announce.ReasonNoInterface:
		return fmt.Sprintf("kubectl -n %s get bgpadvertisements,l2advertisements", m.Namespace)
	case announce.ReasonNoPeer, announce.ReasonNoSession:
		return Command(m.Namespace, "peers")
	case announce.ReasonNoSpeaker, announce.ReasonNotAnnounced:
		return Command(m.Namespace, "doctor")
	case announce.ReasonNoEndpoints, announce.ReasonNoLocalEndpoints:
		return fmt.Sprintf("kubectl -n %s get endpointslices -l kubernetes.io/service-name=%s", svc.Namespace, svc.Name)
	case service.ReasonForeignStatus:
		return service.EmptyStatus(svc)
	case service.ReasonStatusContended, service.ReasonInvalidRequest, service.ReasonAddressKept:
		return fmt.Sprintf("kubectl -n %s get service %s -o yaml --show-managed-fields", svc.Namespace, svc.Name)
	}
	return ""
}

// Command is a command line of this tool for an installation.
func Command(namespace, command string) string {
	if namespace == survey.DefaultNamespace {
		return "kubectl fairlead " + command
	}
	return "kubectl fairlead " + command + " --system-namespace " + namespace
}

// askedAddress returns the first address that a Service asks for, or has.
func askedAddress(r *Service) string {
	for _, a := range r.Request.Asks {
		if !strings.Contains(a.Field, "loadBalancerIP") || a.Ignored {
			continue
		}
		first, _, _ := strings.Cut(a.Value, ",")
		if addr, err := netip.ParseAddr(strings.TrimSpace(first)); err == nil {
			return addr.String()
		}
	}
	if len(r.Addresses) > 0 {
		return r.Addresses[0].IP
	}
	return ""
}

// urgent are the findings of a backend that keep what it serves from working.
var urgent = []backends.FindingType{backends.BackendInactive, backends.IPAMConflict, backends.ConfigFrozen, backends.Contended}

func fixBackends(m *survey.Model, _ *corev1.Service, r *Service) *Fix {
	for _, b := range r.Backends {
		command := "kubectl describe backends.fairlead.io " + b.Name
		o := m.Backend(b.Name)
		if o == nil {
			if m.Lacks("Backends") {
				continue
			}
			return &Fix{Reason: FixBackendNotReady, What: fmt.Sprintf("there is no Backend object %q yet", b.Name),
				Help: "wait a moment; if it stays so, see the log of the controller"}
		}
		if c := ready(o); c == nil || c.Status != string(metav1.ConditionTrue) {
			f := &Fix{Reason: FixBackendNotReady, What: fmt.Sprintf("backend %q has not said that it is ready", b.Name), Help: "see what it says",
				Command: command}
			if c != nil {
				f.What = fmt.Sprintf("backend %q is not ready: %s: %s", b.Name, c.Reason, c.Message)
			}
			return f
		}
		for _, c := range b.Conditions {
			if slices.Contains(urgent, backends.FindingType(c.Type)) && c.Status == string(metav1.ConditionTrue) {
				return &Fix{Reason: c.Type, What: fmt.Sprintf("backend %q: %s", b.Name, c.Message), Help: Help(m.Survey, c.Type), Command: command}
			}
		}
	}
	return nil
}

func fixEndpoints(m *survey.Model, svc *corev1.Service, r *Service) *Fix {
	if r.Endpoints.Serving > 0 || m.Lacks("EndpointSlices") {
		return nil
	}
	what := "the Service has no endpoints; who sends packets to its address gets no answer"
	if r.Endpoints.Total > 0 {
		what = fmt.Sprintf("none of the %d endpoints serves; who sends packets to the address gets no answer", r.Endpoints.Total)
	}
	return &Fix{Reason: announce.ReasonNoEndpoints, What: what, Help: Help(m.Survey, announce.ReasonNoEndpoints),
		Command: lookInto(m, svc, announce.ReasonNoEndpoints, r)}
}

func fixSessions(m *survey.Model, _ *corev1.Service, r *Service) *Fix {
	for _, s := range r.Sessions {
		if !s.Down() {
			continue
		}
		what := fmt.Sprintf("the session of node %q with peer %q is %s", s.Node, s.Peer, s.State)
		if s.LastError != "" {
			what += ": " + s.LastError
		}
		return &Fix{Reason: FixSessionDown, What: what, Help: "correct the BGPPeer, or see to the router",
			Command: Command(m.Namespace, "peers -o wide")}
	}
	return nil
}
