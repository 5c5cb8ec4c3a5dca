package explain

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Service is the whole story of one Service.
type Service struct {
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Request   Request `json:"request"`
	// Served is false if the Service is not of the type or class that the installation serves.
	Served bool `json:"served"`
	// Pools are all pools, those that are considered first, in their order.
	Pools     []Pool    `json:"pools"`
	Addresses []Address `json:"addresses"`
	// Claims are those by which allocators were asked for the Service.
	Claims []Claim `json:"claims,omitempty"`
	// Conditions are fairlead.io/Allocated and fairlead.io/Advertised, as far as they are there.
	Conditions     []Condition     `json:"conditions"`
	Advertisements []Advertisement `json:"advertisements"`
	// Backends are those that serve the advertisements that select the Service.
	Backends []Backend `json:"backends"`
	// Nodes are those that announce the Service, or have an endpoint of it.
	Nodes     []Node    `json:"nodes"`
	Sessions  []Session `json:"sessions"`
	Endpoints Endpoints `json:"endpoints"`
	// Notes are what a reader should know of how this was found out.
	Notes []string `json:"notes,omitempty"`
	// Gaps are what could not be checked.
	Gaps []string `json:"gaps,omitempty"`
	// Fix is the first thing to fix; absent if there is nothing.
	Fix *Fix `json:"fix,omitempty"`
}

// Request is what a Service asks for.
type Request struct {
	Type string `json:"type"`
	// Class is spec.loadBalancerClass; absent: none.
	Class string `json:"class,omitempty"`
	// Families are IPv4 and IPv6, the preferred one first.
	Families []string `json:"families"`
	// Policy is spec.ipFamilyPolicy.
	Policy string `json:"policy,omitempty"`
	// TrafficPolicy is spec.externalTrafficPolicy.
	TrafficPolicy string `json:"trafficPolicy,omitempty"`
	Asks          []Ask  `json:"asks"`
	// Ports are like 80/TCP.
	Ports []string `json:"ports"`
	// Problem says why the request cannot be read; absent: it can.
	Problem string `json:"problem,omitempty"`
}

// Ask is one thing that is asked for by annotation or by spec.loadBalancerIP.
type Ask struct {
	Field string `json:"field"`
	Value string `json:"value"`
	// Ignored is set if the same is asked under the prefix metallb.io/, which counts.
	Ignored bool `json:"ignored,omitempty"`
}

// The verdicts on a pool.
const (
	PoolHolds    = "holds"    // the Service has its address from here
	PoolWouldDo  = "wouldDo"  // it would give an address
	PoolRefuses  = "refuses"  // it is considered, and does not serve the Service
	PoolPassed   = "passed"   // it is not considered
	PoolSetAside = "setAside" // it is faulty
)

// Pool is what a Service meets at one pool.
type Pool struct {
	Name string `json:"name"`
	// Verdict is holds, wouldDo, refuses, passed or setAside.
	Verdict string `json:"verdict"`
	// Addresses are those that the Service has from the pool, or would get.
	Addresses []string `json:"addresses,omitempty"`
	// Why says why the pool does not serve the Service, or not all of it.
	Why string `json:"why,omitempty"`
}

// Address is an address of a Service.
type Address struct {
	IP   string `json:"ip"`
	Pool string `json:"pool,omitempty"`
	// SharedWith are the other Services that have it, as namespace/name.
	SharedWith []string `json:"sharedWith,omitempty"`
}

// Claim is a claim by which an allocator was asked for an address.
type Claim struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Family    string `json:"family"`
	// AllocatorPool is the allocator's name of its pool.
	AllocatorPool string `json:"allocatorPool"`
	// For is the Service that it was made for, as namespace/name.
	For string `json:"for"`
	// Address is what the allocator has given; absent: nothing. Refusal is why it gives none, if it refuses, and Why is what it says.
	Address string `json:"address,omitempty"`
	Refusal string `json:"refusal,omitempty"`
	Why     string `json:"why,omitempty"`
	// Conditions are those of the claim.
	Conditions []string `json:"conditions,omitempty"`
}

// Condition is a condition of an object.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// Advertisement is what an advertisement object means for one Service.
type Advertisement struct {
	// Kind is BGPAdvertisement or L2Advertisement.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Selects is set if it is about an address of the Service.
	Selects bool `json:"selects"`
	// Why says why it does not.
	Why string `json:"why,omitempty"`
	// Backend serves it; absent: nobody.
	Backend string `json:"backend,omitempty"`
	// Details are in words what it says of the routes.
	Details []string `json:"details,omitempty"`
}

// Backend is a way in which addresses are made reachable.
type Backend struct {
	Name       string      `json:"name"`
	Serves     []string    `json:"serves"`
	APIVersion string      `json:"apiVersion,omitempty"`
	Detected   []Fact      `json:"detected,omitempty"`
	Conditions []Condition `json:"conditions"`
	// Wrote are the entries and objects in the CNI's configuration; of a Service, those that concern it.
	Wrote []string `json:"wrote,omitempty"`
	// Installation is the namespace of the installation that it belongs to.
	Installation string `json:"installation,omitempty"`
}

// Fact is something that was found out about a CNI.
type Fact struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source,omitempty"`
}

// Node is what one node does for a Service.
type Node struct {
	Name string `json:"name"`
	// Layer2 is set if the node says that it answers for the addresses on the local network, on Interfaces; empty: all.
	Layer2     bool     `json:"layer2,omitempty"`
	Interfaces []string `json:"interfaces,omitempty"`
	// Peers are the BGPPeers that it advertises the addresses to.
	Peers []string `json:"peers,omitempty"`
	// Ready and Serving count the endpoints there; one that terminates can serve without being ready.
	Ready   int `json:"ready"`
	Serving int `json:"serving"`
}

// Session is a BGP session of a node with a peer.
type Session struct {
	Node    string `json:"node"`
	Peer    string `json:"peer"`
	Address string `json:"address,omitempty"`
	State   string `json:"state"`
	// BFD is the state of the BFD session; absent without BFD.
	BFD          string     `json:"bfd,omitempty"`
	PrefixesSent int64      `json:"prefixesSent"`
	Since        *time.Time `json:"since,omitempty"`
	LastError    string     `json:"lastError,omitempty"`
}

// StateUnknown is the state of a session of which nobody says how it is.
const StateUnknown = "unknown"

// Up reports whether the session carries routes.
func (s *Session) Up() bool { return s.State == backends.Established }

// Down reports whether it is known that the session carries none.
func (s *Session) Down() bool { return !s.Up() && s.State != StateUnknown }

// Endpoints counts the endpoints of a Service.
type Endpoints struct {
	Total   int `json:"total"`
	Ready   int `json:"ready"`
	Serving int `json:"serving"`
}

// Fix is what to do first.
type Fix struct {
	// Reason is the condition reason or a word of this tool for what is wrong.
	Reason string `json:"reason"`
	What   string `json:"what"`
	Help   string `json:"help"`
	// Step is where the way from the request to the packets is broken: request, controller, pools, address, advertisement, backend, nodes,
	// sessions or endpoints.
	Step string `json:"step"`
	// Command does it, or shows more; absent if there is none to give.
	Command string `json:"command,omitempty"`
}

func conditionOf(c *metav1.Condition) Condition {
	return Condition{Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time}
}

func gaps(s *survey.Survey, matter ...string) []string {
	var out []string
	for _, g := range s.Gaps {
		for _, what := range matter {
			if g.What == what {
				out = append(out, g.String())
			}
		}
	}
	return out
}

// Some names a few of many.
func Some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
