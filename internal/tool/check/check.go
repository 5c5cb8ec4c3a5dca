// Package check finds out whether the addresses of Services can be reached from where it runs, and if not, which is the first step on the
// way that is broken.
package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// The steps on the way to a Service, in their order.
const (
	StepAssigned   = "assigned"   // the Service has an address
	StepAdvertised = "advertised" // the condition fairlead.io/Advertised
	StepSession    = "session"    // BGP sessions that are up
	StepEndpoint   = "endpoint"   // endpoints that serve
	StepNeighbour  = "neighbour"  // who has the address on the own link
	StepConnect    = "connect"    // a TCP connection
	StepHTTP       = "http"       // an answer to a GET request
)

// The states of a step.
const (
	OK      = "ok"
	Broken  = "broken"
	Unknown = "unknown" // nobody says, or too little may be read
	Skipped = "skipped" // it does not apply, or cannot be tried
)

// Step is one step on the way.
type Step struct {
	Step   string `json:"step"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Millis is how long it took, where that was measured.
	Millis *float64 `json:"millis,omitempty"`
}

// Result is the way to one port of one address of a Service; Address and Port are empty if the Service has none.
type Result struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Address   string `json:"address,omitempty"`
	Port      int32  `json:"port,omitempty"`
	Protocol  string `json:"protocol,omitempty"`
	Steps     []Step `json:"steps"`
	// Reachable says whether a connection was made; it is Unknown where none can be tried, as with UDP.
	Reachable string `json:"reachable"`
	// Broken is the first step that is broken; Help says what helps.
	Broken string `json:"broken,omitempty"`
	Help   string `json:"help,omitempty"`

	addr netip.AddrPort
}

// Report is what was found.
type Report struct {
	At time.Time `json:"at"`
	// From is where the connections came from: "here", or the pod.
	From    string   `json:"from"`
	Results []Result `json:"results"`
	Gaps    []string `json:"gaps,omitempty"`
}

// Broken reports whether any way is.
func (r *Report) Broken() bool {
	return slices.ContainsFunc(r.Results, func(x Result) bool { return x.Broken != "" })
}

// Targets returns the addresses and ports to which connections can be tried.
func (r *Report) Targets() []netip.AddrPort {
	var out []netip.AddrPort
	seen := map[netip.AddrPort]bool{}
	for i := range r.Results {
		if x := &r.Results[i]; x.addr.IsValid() && x.Protocol == string(corev1.ProtocolTCP) && !seen[x.addr] {
			seen[x.addr] = true
			out = append(out, x.addr)
		}
	}
	return out
}

// reader reads the ways to many Services. What is the same for several is worked out once.
type reader struct {
	*survey.Model
	slices   map[types.NamespacedName][]*discoveryv1.EndpointSlice
	sessions map[string]Step // by pool and BGPAdvertisements
}

// Read returns what the cluster says of the ways to Services, before any connection is tried. which selects the Services and addresses.
func Read(m *survey.Model, which func(svc *corev1.Service, addr netip.Addr) bool) *Report {
	out := &Report{At: m.At, From: "here", Results: []Result{}}
	r := &reader{m, m.SlicesByService(), map[string]Step{}}
	for _, g := range m.Gaps {
		out.Gaps = append(out.Gaps, g.String())
	}
	for i := range m.Services {
		svc := &m.Services[i]
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer || !m.Rules.Serves(svc) {
			continue
		}
		addrs := service.ShownAddresses(svc)
		if len(addrs) == 0 && which(svc, netip.Addr{}) {
			x := Result{Namespace: svc.Namespace, Name: svc.Name, Reachable: Broken, Broken: StepAssigned}
			x.Steps = []Step{unassigned(svc)}
			x.Help = helpFor(m, svc, service.ConditionAllocated, "see 'kubectl fairlead explain service "+svc.Namespace+"/"+svc.Name+"'")
			out.Results = append(out.Results, x)
		}
		for _, addr := range addrs {
			if !which(svc, addr) {
				continue
			}
			for _, port := range svc.Spec.Ports {
				out.Results = append(out.Results, r.before(svc, addr, port))
			}
		}
	}
	return out
}

func unassigned(svc *corev1.Service) Step {
	s := Step{Step: StepAssigned, State: Broken, Detail: "the Service has no address"}
	if c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated); c != nil {
		s.Detail = c.Message
	}
	return s
}

// before is the way to a port as far as the cluster tells.
func (r *reader) before(svc *corev1.Service, addr netip.Addr, port corev1.ServicePort) Result {
	protocol := port.Protocol
	if protocol == "" {
		protocol = corev1.ProtocolTCP
	}
	x := Result{
		Namespace: svc.Namespace, Name: svc.Name, Address: addr.String(), Port: port.Port, Protocol: string(protocol),
		addr:      netip.AddrPortFrom(addr, uint16(port.Port)),
		Reachable: Unknown,
	}
	x.add(Step{Step: StepAssigned, State: OK, Detail: "from " + poolText(svc)}, "")
	advertised := advertisedStep(svc)
	explained := "see 'kubectl fairlead explain service " + svc.Namespace + "/" + svc.Name + "'"
	x.add(advertised, helpFor(r.Model, svc, service.ConditionAdvertised, explained))
	x.add(r.sessionStep(svc, addr), explain.Help(r.Survey, "NoSession"))
	x.add(r.endpointStep(svc), explain.Help(r.Survey, "NoEndpoints"))
	return x
}

func poolText(svc *corev1.Service) string {
	if pools := service.PoolsOf(svc); len(pools) > 0 {
		return fmt.Sprintf("pool %q", pools[0])
	}
	return "an unknown pool"
}

// add adds a step; help is what helps if it is the first that is broken.
func (x *Result) add(s Step, help string) {
	x.Steps = append(x.Steps, s)
	if s.State == Broken && x.Broken == "" {
		x.Broken, x.Help = s.Step, help
	}
}

func advertisedStep(svc *corev1.Service) Step {
	c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAdvertised)
	if c == nil {
		return Step{Step: StepAdvertised, State: Unknown, Detail: "nobody is asked to advertise it"}
	}
	state := map[metav1.ConditionStatus]string{metav1.ConditionTrue: OK, metav1.ConditionFalse: Broken}[c.Status]
	if state == "" {
		state = Unknown
	}
	return Step{Step: StepAdvertised, State: state, Detail: c.Message}
}

func helpFor(m *survey.Model, svc *corev1.Service, condition, otherwise string) string {
	if c := meta.FindStatusCondition(svc.Status.Conditions, condition); c != nil && c.Status != metav1.ConditionTrue {
		if h := explain.Help(m.Survey, c.Reason); h != "" {
			return h
		}
	}
	return otherwise
}

// sessionStep counts the sessions that may carry the routes of an address, as far as anybody tells of them.
func (r *reader) sessionStep(svc *corev1.Service, addr netip.Addr) Step {
	s := Step{Step: StepSession, State: Skipped, Detail: "no BGPAdvertisement selects it"}
	pool, _ := r.Assigner.PoolOf(addr)
	if pool == nil {
		return s
	}
	key := ""
	for _, a := range r.Snapshot.BGPAdvertisements() {
		if a.Selects(pool) && a.SelectsService(svc.Labels) {
			key += "/" + a.Ref.Name
		}
	}
	if key == "" {
		return s
	}
	key = pool.Name + key
	if _, known := r.sessions[key]; !known {
		r.sessions[key] = sessionsStep(explain.SessionsOver(r.Model, svc, pool.Name))
	}
	return r.sessions[key]
}

func sessionsStep(over []*v1alpha1.BGPSession) Step {
	s, up := Step{Step: StepSession, State: Unknown, Detail: "no BGP session is known"}, 0
	for _, o := range over {
		if o.Status.State == backends.Established {
			up++
		}
	}
	switch {
	case up > 0:
		s.State, s.Detail = OK, fmt.Sprintf("%d of %d BGP sessions are up", up, len(over))
	case len(over) > 0:
		s.State, s.Detail = Broken, fmt.Sprintf("none of %d BGP sessions is up", len(over))
	}
	return s
}

func (r *reader) endpointStep(svc *corev1.Service) Step {
	s := Step{Step: StepEndpoint, State: Unknown}
	if r.Lacks(survey.EndpointSlices) {
		s.Detail = "EndpointSlices may not be read"
		return s
	}
	sum := explain.CountEndpoints(r.slices[types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}])
	if s.State, s.Detail = OK, fmt.Sprintf("%d serve", sum.Serving); sum.Serving == 0 {
		s.State, s.Detail = Broken, "no endpoint serves"
	}
	return s
}

// Attempt is how trying to reach a target went.
type Attempt struct {
	Took time.Duration
	Err  string // empty: it worked
	// HTTP is the status that was answered; 0 if none was asked for or none came, HTTPErr why.
	HTTP     int
	HTTPErr  string
	HTTPTook time.Duration
}

// Prober tries to reach targets.
type Prober interface {
	// Where says from where it does.
	Where() string
	// Try tries all targets.
	Try(ctx context.Context, targets []netip.AddrPort) (map[netip.AddrPort]Attempt, error)
	// Neighbour says who has an address on the own link; onLink is false if none has a subnet with the address, or that is not known.
	Neighbour(addr netip.Addr) (detail string, found, onLink bool)
}

// Complete adds to a Report what p finds.
func Complete(ctx context.Context, r *Report, p Prober, http bool) error {
	r.From = p.Where()
	attempts, err := p.Try(ctx, r.Targets())
	if err != nil {
		return err
	}
	for i := range r.Results {
		x := &r.Results[i]
		if !x.addr.IsValid() {
			continue
		}
		a, tried := attempts[x.addr]
		x.neighbour(p)
		if !tried {
			x.add(Step{Step: StepConnect, State: Skipped, Detail: "only TCP can be tried, this is " + x.Protocol}, "")
			continue
		}
		x.connect(&a, http)
	}
	return nil
}

func (x *Result) neighbour(p Prober) {
	detail, found, onLink := p.Neighbour(x.addr.Addr())
	s := Step{Step: StepNeighbour, State: Skipped, Detail: "the address is not on a link of this host"}
	switch {
	case onLink && found:
		s.State, s.Detail = OK, detail
	case onLink:
		s.State, s.Detail = Broken, "nobody on the link answers for it"
	case detail != "":
		s.Detail = detail
	}
	x.add(s, "the address is of this host's own network, where a node has to answer for it: see that a node announces it by layer 2 (kubectl fairlead explain address "+x.Address+"), "+
		"or that the host has a route to a node")
}

func (x *Result) connect(a *Attempt, http bool) {
	s := Step{Step: StepConnect, State: OK, Millis: millis(a.Took)}
	x.Reachable = OK
	if a.Err != "" {
		s.State, s.Detail = Broken, a.Err
		x.Reachable = Broken
	}
	x.add(s, "everything before is as it should be: see that packets for "+net.JoinHostPort(x.Address,
		strconv.Itoa(int(x.Port)))+" come to a node (tcpdump there), that kube-proxy or the CNI has the Service, "+
		"and that no firewall or NetworkPolicy drops them")
	if !http || a.Err != "" {
		return
	}
	h := Step{Step: StepHTTP, State: OK, Detail: fmt.Sprintf("status %d", a.HTTP), Millis: millis(a.HTTPTook)}
	if a.HTTPErr != "" {
		h.State, h.Detail = Broken, a.HTTPErr
	}
	x.add(h, "the connection works; what answers does not speak HTTP, or not in time: see the pods")
}

func millis(d time.Duration) *float64 {
	out := float64(d.Microseconds()) / 1000
	return &out
}
