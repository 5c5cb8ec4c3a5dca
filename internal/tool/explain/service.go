package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// OfService tells the story of a Service that is in the model.
func OfService(m *survey.Model, namespace, name string) *Service {
	svc := m.Service(namespace, name)
	out := &Service{Namespace: namespace, Name: name, Request: requestOf(svc), Served: m.Rules.Serves(svc)}
	for _, t := range []string{service.ConditionAllocated, service.ConditionAdvertised} {
		if c := meta.FindStatusCondition(svc.Status.Conditions, t); c != nil {
			out.Conditions = append(out.Conditions, conditionOf(c))
		}
	}
	out.Addresses = addressesOf(m, svc)
	out.Claims = claimsFor(m, ownerOf(svc))
	out.Endpoints, out.Nodes = EndpointsOf(m, svc)
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		if _, err := m.Assigner.Consider(svc, m.NamespaceLabels(namespace)); err != nil {
			out.Request.Problem = err.Error()
		}
		out.Pools = poolsFor(m, svc)
		out.Advertisements = AdvertisementsOf(m, svc)
		out.Backends = backendsFor(m, svc, out.Advertisements)
		out.Sessions = append(sessionsFor(m, out.Nodes), delegatedSessions(m, svc)...)
	}
	out.Notes = notes(m, svc)
	out.Gaps = gaps(m.Survey, "IPAddressPools", "BGPAdvertisements", "L2Advertisements", "AddressReservations", "Services", "Namespaces",
		"EndpointSlices",
		"Backends", "ServiceL2Statuses", "ServiceBGPStatuses", "BGPSessions", "Leases", survey.IPAddressClaims)
	out.Fix = firstFix(m, svc, out)
	return out
}

func requestOf(svc *corev1.Service) Request {
	r := Request{
		Type: string(svc.Spec.Type), Class: service.Class(svc), TrafficPolicy: string(svc.Spec.ExternalTrafficPolicy),
		Families: []string{}, Asks: []Ask{}, Ports: []string{},
	}
	if svc.Spec.IPFamilyPolicy != nil {
		r.Policy = string(*svc.Spec.IPFamilyPolicy)
	}
	if f, _, err := assign.Families(svc); err == nil {
		r.Families = append(r.Families, f.Primary.String())
		if f.Dual() {
			r.Families = append(r.Families, f.Secondary.String())
		}
	}
	for _, a := range service.Asked(svc) {
		r.Asks = append(r.Asks, Ask{Field: a.Field, Value: a.Value, Ignored: a.Hidden})
	}
	for _, p := range svc.Spec.Ports {
		protocol := p.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		r.Ports = append(r.Ports, fmt.Sprintf("%d/%s", p.Port, protocol))
	}
	return r
}

func addressesOf(m *survey.Model, svc *corev1.Service) []Address {
	out := []Address{}
	self := ownerOf(svc)
	for _, addr := range service.ShownAddresses(svc) {
		a := Address{IP: addr.String()}
		if pool, _ := m.Assigner.PoolOf(addr); pool != nil {
			a.Pool = pool.Name
		} else if names := service.PoolsOf(svc); m.Need("IPAddressPools") != nil && len(names) == 1 {
			a.Pool = names[0]
		}
		for _, o := range m.Assigner.Holders(addr) {
			if o != self {
				a.SharedWith = append(a.SharedWith, o.String())
			}
		}
		out = append(out, a)
	}
	return out
}

// poolsFor asks each pool, as the controller does.
func poolsFor(m *survey.Model, svc *corev1.Service) []Pool {
	considered, err := m.Assigner.Consider(svc, m.NamespaceLabels(svc.Namespace))
	if err != nil {
		considered = nil
		for _, name := range m.Assigner.PoolOrder() {
			considered = append(considered, allocator.Considered{Pool: name, Err: fmt.Errorf("the request cannot be served by any pool: %w", err)})
		}
	}
	out := []Pool{}
	for i := range considered {
		out = append(out, poolFor(m, &considered[i]))
	}
	for _, name := range m.Snapshot.SetAsidePools() {
		fault, _ := m.Snapshot.SetAside(name)
		p := Pool{Name: name, Verdict: PoolSetAside, Why: fmt.Sprintf("%s: %s", fault.Field, fault.Problem)}
		if i := slices.IndexFunc(out, func(x Pool) bool { return x.Name == name }); i >= 0 {
			out[i] = p // it is asked for by name
		} else {
			out = append(out, p)
		}
	}
	return out
}

func poolFor(m *survey.Model, c *allocator.Considered) Pool {
	p := Pool{Name: c.Pool, Addresses: texts(append(slices.Clone(c.Held), c.Free...))}
	if c.Err != nil {
		p.Why = c.Err.Error()
		if x := m.Snapshot.Pool(c.Pool); x != nil { // the pool's name is beside it already
			p.Why = strings.TrimPrefix(p.Why, fmt.Sprintf("pool %q: ", c.Pool))
		}
	}
	switch {
	case len(c.Held) > 0:
		p.Verdict, p.Addresses = PoolHolds, texts(c.Held)
	case len(c.Free) > 0:
		p.Verdict = PoolWouldDo
	case isPassed(c.Err):
		p.Verdict = PoolPassed
	default:
		p.Verdict = PoolRefuses
	}
	return p
}

func texts(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func ownerOf(svc *corev1.Service) allocator.Owner {
	return allocator.Owner{Namespace: svc.Namespace, Name: svc.Name}
}

// CountEndpoints counts the endpoints in the EndpointSlices of a Service.
func CountEndpoints(in []*discoveryv1.EndpointSlice) Endpoints {
	var everywhere Node
	return count(in, func(string) *Node { return &everywhere })
}

// count counts the endpoints in the EndpointSlices of a Service, and those on each node.
func count(in []*discoveryv1.EndpointSlice, node func(name string) *Node) (sum Endpoints) {
	seen := map[string]bool{} // a dual-stack endpoint is in a slice of each family
	for _, slice := range in {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			id := fmt.Sprint(e.Addresses)
			if e.TargetRef != nil {
				id = string(e.TargetRef.UID) + e.TargetRef.Name
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			sum.Total++
			ready, serving := e.Conditions.Ready == nil || *e.Conditions.Ready, observe.Serves(e)
			var n Node
			at := &n
			if e.NodeName != nil {
				at = node(*e.NodeName)
			}
			if ready {
				sum.Ready++
				at.Ready++
			}
			if serving {
				sum.Serving++
				at.Serving++
			}
		}
	}
	return sum
}

// EndpointsOf counts the endpoints of a Service, and collects what each node does for it.
func EndpointsOf(m *survey.Model, svc *corev1.Service) (sum Endpoints, nodes []Node) {
	by := map[string]*Node{}
	node := func(name string) *Node {
		if by[name] == nil {
			by[name] = &Node{Name: name}
		}
		return by[name]
	}
	sum = count(m.EndpointSlices(svc.Namespace, svc.Name), node)
	for i := range m.L2 {
		if x := &m.L2[i].Status; x.ServiceNamespace == svc.Namespace && x.ServiceName == svc.Name && x.Node != "" {
			n := node(x.Node)
			n.Layer2 = true
			for _, f := range x.Interfaces {
				n.Interfaces = append(n.Interfaces, f.Name)
			}
		}
	}
	for i := range m.BGP {
		if x := &m.BGP[i].Status; x.ServiceNamespace == svc.Namespace && x.ServiceName == svc.Name && x.Node != "" && len(x.Peers) > 0 {
			n := node(x.Node)
			n.Peers = append(n.Peers, x.Peers...)
		}
	}
	nodes = []Node{}
	for _, n := range by {
		nodes = append(nodes, *n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return sum, nodes
}

func sessionsFor(m *survey.Model, nodes []Node) []Session {
	out := []Session{}
	for _, n := range nodes {
		for _, peer := range n.Peers {
			found := false
			for i := range m.Sessions {
				if x := &m.Sessions[i].Status; x.Node == n.Name && x.Peer == peer {
					out, found = append(out, sessionOf(&m.Sessions[i])), true
				}
			}
			if !found {
				out = append(out, Session{Node: n.Name, Peer: peer, State: StateUnknown})
			}
		}
	}
	return out
}

// delegatedSessions are those that a CNI has told of that may carry the routes of a Service, each once.
func delegatedSessions(m *survey.Model, svc *corev1.Service) []Session {
	var out []Session
	for _, o := range SessionsOver(m, svc, service.PoolsOf(svc)...) {
		if o.Labels[delegate.LabelBackend] != "" {
			out = append(out, sessionOf(o))
		}
	}
	return out
}

// SessionsOver returns the sessions that anybody has told of, of the backends that are to advertise a Service's addresses from pools, and
// that may carry their routes; each once.
func SessionsOver(m *survey.Model, svc *corev1.Service, pools ...string) []*v1alpha1.BGPSession {
	nodes := m.AnnounceNodes()
	var out []*v1alpha1.BGPSession
	taken := map[*v1alpha1.BGPSession]bool{}
	for _, a := range m.Snapshot.BGPAdvertisements() {
		if !a.SelectsService(svc.Labels) || !slices.ContainsFunc(pools, func(name string) bool {
			pool := m.Snapshot.Pool(name)
			return pool != nil && a.Selects(pool)
		}) {
			continue
		}
		for i := range m.Sessions {
			o := &m.Sessions[i]
			holds := cmp.Or(o.Labels[delegate.LabelBackend], delegate.Speaker) == m.Choice.Backend(a)
			hears := len(a.Peers) == 0 || slices.Contains(a.Peers, o.Status.Peer)
			if holds && hears && (m.Lacks("Nodes") || a.SelectsNode(nodes[o.Status.Node].Labels)) && !taken[o] {
				taken[o] = true
				out = append(out, o)
			}
		}
	}
	return out
}

func notes(m *survey.Model, svc *corev1.Service) []string {
	var out []string
	if !m.RulesKnown && svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		out = append(out, fmt.Sprintf("the controller's flags cannot be read; going by its Services, it serves %s",
			classes(m.Rules.Classes)))
	}
	if len(m.Snapshot.Faults()) > 0 {
		out = append(out, fmt.Sprintf("faults in the configuration (kubectl fairlead doctor shows them): %d; of a faulty object, the controller may go on with its last valid version, which is not to be seen here", len(m.Snapshot.Faults())))
	}
	return out
}

func classes(in []string) string {
	var out []string
	for _, c := range in {
		if c == "" {
			out = append(out, "Services without a class")
		} else {
			out = append(out, fmt.Sprintf("class %q", c))
		}
	}
	return strings.Join(out, " and ")
}
