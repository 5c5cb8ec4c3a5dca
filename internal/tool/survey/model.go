package survey

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/service"
)

// Model is a Survey in the eyes of the controller: its code, on a copy of the cluster, knows who has what and gives out nothing.
type Model struct {
	*Survey
	Snapshot *config.Snapshot
	Assigner *assign.Assigner
	Rules    assign.Rules
	Choice   announce.Choice
	// RulesKnown and ChoiceKnown are set if the controller, or its flags, have said so.
	RulesKnown, ChoiceKnown bool
}

// Snapshot returns the configuration in force. Of a faulty object it knows no earlier version.
func (s *Survey) Snapshot() *config.Snapshot { return config.Build(s.Config, nil) }

// Model returns the model of a Survey.
func (s *Survey) Model() (*Model, error) {
	m := &Model{Survey: s, Snapshot: s.Snapshot()}
	m.Rules, m.RulesKnown = s.Rules()
	m.Choice, m.ChoiceKnown = s.Choice()
	m.Assigner = assign.New(m.Rules, assign.Notify{Service: func(allocator.Owner) {}, Pool: func(string) {}})
	nodes := map[string][]netip.Addr{}
	for i := range s.Nodes {
		nodes[s.Nodes[i].Name] = service.NodeAddressesOf(&s.Nodes[i])
	}
	m.Assigner.SetNodes(nodes)
	services := make([]*corev1.Service, len(s.Services))
	for i := range s.Services {
		seen := s.Services[i] // the Assigner keeps it, and changes nothing in it
		services[i] = &seen
	}
	if !slices.Contains(s.spared, ServiceBGPStatuses) {
		m.addUnsaid(func(types.NamespacedName) bool { return true })
	}
	err := m.Assigner.Observe(m.Snapshot, services, assign.Reserves(s.Config.Reservations))
	if s.ClaimsKnown {
		claims := make([]allocator.Claimed, len(s.Claims))
		for i, x := range s.Claims {
			claims[i] = x.Claimed
		}
		m.Assigner.Listed(config.AllocatorClusterAPI, claims)
	}
	return m, err
}

// NamespaceLabels returns the labels of a namespace.
func (s *Survey) NamespaceLabels(name string) labels.Set { return s.Namespaces[name] }

// Announced returns the Services with addresses, as the speakers see them.
func (s *Survey) Announced() []announce.Service {
	var out []announce.Service
	of := s.SlicesByService()
	for i := range s.Services {
		svc := &s.Services[i]
		if x, ours := observe.Service(svc); ours {
			x.Endpoints = endpoints(of[types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}])
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b announce.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// AnnounceNodes returns the nodes, as the speakers see them.
func (s *Survey) AnnounceNodes() map[string]announce.Node {
	out := map[string]announce.Node{}
	for i := range s.Nodes {
		out[s.Nodes[i].Name] = observe.Node(&s.Nodes[i])
	}
	return out
}

// Speakers returns the speakers that say they run and give a sign of life, by node. ignoreExclude is set if one of them announces in spite
// of the label that excludes its node.
func (s *Survey) Speakers() (out map[string]announce.Speaker, ignoreExclude bool) {
	out = map[string]announce.Speaker{}
	for i := range s.Leases {
		node, l, ok := presence.Read(&s.Leases[i])
		if _, silent := s.Silent[node]; ok && !silent {
			out[node] = announce.Speaker{Links: l.Links, SameSubnet: l.SameSubnet}
			ignoreExclude = ignoreExclude || l.IgnoreExclude
		}
	}
	return out, ignoreExclude
}

// Input returns what is decided on about who advertises what.
func (m *Model) Input(password func(*config.BGPPeer) (password, unready string)) announce.Input {
	in := announce.Input{
		Snapshot: m.Snapshot, Choice: m.Choice, ManagePeers: m.Controller.Settings["manage-peers"] != "false" && len(m.Snapshot.BGPPeers()) > 0,
		Password: password,
	}
	for i := range m.Nodes {
		in.Nodes = append(in.Nodes, backends.Node{Name: m.Nodes[i].Name, Labels: m.Nodes[i].Labels})
	}
	slices.SortFunc(in.Nodes, func(a, b backends.Node) int { return cmp.Compare(a.Name, b.Name) })
	for i := range m.Services {
		svc := &m.Services[i]
		if x, ok := delegate.Service(svc); ok && svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			in.Services = append(in.Services, x)
		}
	}
	slices.SortFunc(in.Services, delegate.ByName)
	return in
}
