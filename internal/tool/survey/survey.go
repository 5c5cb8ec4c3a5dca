// Package survey is a cluster at one moment, as far as a user may see it: the objects that decide about addresses, read once, and
// what could not be read. What is built on it is pure.
package survey

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
)

// Survey is what was read. Every list is complete unless a Gap says otherwise, or its kind was to be spared.
type Survey struct {
	// Namespace is that of the installation.
	Namespace string
	// At is when it was read.
	At time.Time

	Config     config.Objects
	Services   []corev1.Service
	Namespaces map[string]labels.Set
	Nodes      []corev1.Node
	Slices     []discoveryv1.EndpointSlice
	Backends   []v1alpha1.Backend
	States     []v1beta1.ConfigurationState
	Leases     []coordinationv1.Lease // of speakers, and of others in their namespace
	L2         []v1beta1.ServiceL2Status
	BGP        []v1beta1.ServiceBGPStatus
	Sessions   []v1alpha1.BGPSession
	// Claims are those of the installation by which allocators are asked, with the IDs that the controller has for them; ClaimsKnown is set if
	// they were read. AllocatorPools is what the pools of allocators say of themselves, by the name that pools have for them.
	Claims         []clusterapi.Found
	ClaimsKnown    bool
	AllocatorPools map[string]allocator.PoolState
	// Silent are the nodes whose speakers give no sign of life, and since when.
	Silent map[string]time.Time
	// Controller is what is known of the process that assigns addresses.
	Controller Controller
	// Chosen is who serves advertisements, where somebody has found that out although no controller says so; else nil.
	Chosen *announce.Choice
	// Gaps are what could not be read, in the order in which it was tried.
	Gaps []Gap

	spared []string // the kinds whose objects have been left out
}

// Controller is what is known of the controller of the installation.
type Controller struct {
	// Deployment is its name; empty if none with the chart's labels was found.
	Deployment string
	// Release is the Helm release that the Deployment is of; empty: of none.
	Release string
	// Image is what the Deployment runs, and Version that of the image: its tag, or what the labels say; empty if that is not to be seen.
	Image, Version string
	// Replicas is how many the Deployment is to have, Ready how many of them are ready.
	Replicas, Ready int32
	// Settings are its flags; their zero value stands for what is not known.
	Settings Settings
	// Leader is who holds the Lease; empty: nobody.
	Leader string
	// LeaseFound is set if there is a Lease. Renewed is when it was renewed the last time; LeaseFor is how long it lasts from then on.
	LeaseFound bool
	Renewed    time.Time
	LeaseFor   time.Duration
}

// Works reports whether a leader renews the Lease.
func (c Controller) Works(at time.Time) bool {
	return c.LeaseFound && c.Leader != "" && at.Before(c.Renewed.Add(c.LeaseFor))
}

// Gap is something that could not be read, and why.
type Gap struct {
	// What is a kind of objects: "Nodes".
	What string
	// Why is one sentence: "you may not list nodes".
	Why string
	// Missing is set if the API server does not have the kind.
	Missing bool
}

// String is "cannot check Nodes: you may not list nodes".
func (g Gap) String() string { return fmt.Sprintf("cannot check %s: %s", g.What, g.Why) }

// GapOf turns an error of the API server about a kind into a Gap.
func GapOf(what string, err error) Gap {
	g := Gap{What: what, Why: err.Error()}
	var status apierrors.APIStatus
	switch {
	case meta.IsNoMatchError(err):
		g.Why, g.Missing = "the API server does not have them", true
	case apierrors.IsForbidden(err) && errors.As(err, &status):
		g.Why = "you may not read " + strings.ToLower(what)
		if d := status.Status().Details; d != nil && d.Kind != "" {
			resource := d.Kind
			if d.Group != "" {
				resource += "." + d.Group
			}
			g.Why = fmt.Sprintf("you may not %s %s", verbOf(status.Status().Message), resource)
			if in := namespaceOf(status.Status().Message); in != "" {
				g.Why += fmt.Sprintf(" in namespace %q", in)
			}
		}
	}
	return g
}

// verbOf finds the verb in what the API server says of a request that it forbids.
func verbOf(message string) string {
	for _, verb := range []string{"list", "get", "watch", "create", "patch", "update"} {
		if strings.Contains(message, "cannot "+verb+" ") {
			return verb
		}
	}
	return "read"
}

func namespaceOf(message string) string {
	_, rest, ok := strings.Cut(message, `in the namespace "`)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// Lacks reports whether a kind could not be read.
func (s *Survey) Lacks(what string) bool {
	return slices.ContainsFunc(s.Gaps, func(g Gap) bool { return g.What == what })
}

// Need returns an error if one of some kinds may not be read, without which nothing certain can be told. Kinds that the API server does not
// have are no obstacle: there are no objects of them.
func (s *Survey) Need(kinds ...string) error {
	var why []string
	for _, g := range s.Gaps {
		if slices.Contains(kinds, g.What) && !g.Missing && !slices.Contains(why, g.Why) {
			why = append(why, g.Why)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; ask for these permissions, or name the namespace of the installation by --system-namespace", ErrNotReadable,
		strings.Join(why, ", "))
}

// Installed returns ErrNotInstalled if the API server has no IPAddressPools.
func (s *Survey) Installed() error {
	if slices.ContainsFunc(s.Gaps, func(g Gap) bool { return g.What == "IPAddressPools" && g.Missing }) {
		return ErrNotInstalled
	}
	return nil
}

// ErrNotInstalled: the cluster has none of our kinds.
var ErrNotInstalled = errors.New("in this cluster, Fairlead is not installed: the API server has no ipaddresspools.metallb.io; docs/install.md says how to install it")

// ErrNotReadable: what was asked cannot be told, because too little of the cluster may be read.
var ErrNotReadable = errors.New("this is not known")

// Service returns a Service, nil if there is none.
func (s *Survey) Service(namespace, name string) *corev1.Service {
	for i := range s.Services {
		if x := &s.Services[i]; x.Namespace == namespace && x.Name == name {
			return x
		}
	}
	return nil
}

// Backend returns the Backend object of that name if it is this installation's, else nil.
func (s *Survey) Backend(name string) *v1alpha1.Backend {
	for i := range s.Backends {
		if b := &s.Backends[i]; b.Name == name && b.Annotations[backends.LabelInstallation] == s.Namespace {
			return b
		}
	}
	return nil
}

// SlicesByService returns the EndpointSlices of each Service.
func (s *Survey) SlicesByService() map[types.NamespacedName][]*discoveryv1.EndpointSlice {
	out := map[types.NamespacedName][]*discoveryv1.EndpointSlice{}
	for i := range s.Slices {
		x := &s.Slices[i]
		name := types.NamespacedName{Namespace: x.Namespace, Name: x.Labels[discoveryv1.LabelServiceName]}
		out[name] = append(out[name], x)
	}
	return out
}

// EndpointSlices returns those of a Service.
func (s *Survey) EndpointSlices(namespace, name string) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for i := range s.Slices {
		if x := &s.Slices[i]; x.Namespace == namespace && x.Labels[discoveryv1.LabelServiceName] == name {
			out = append(out, x)
		}
	}
	return out
}

// Endpoints sums up the endpoints of a Service.
func (s *Survey) Endpoints(namespace, name string) announce.Endpoints {
	return endpoints(s.EndpointSlices(namespace, name))
}

func endpoints(of []*discoveryv1.EndpointSlice) announce.Endpoints {
	out := announce.Endpoints{Nodes: map[string]bool{}}
	for _, x := range of {
		e := observe.Endpoints(x)
		out.Any = out.Any || e.Any
		for n := range e.Nodes {
			out.Nodes[n] = true
		}
	}
	return out
}
