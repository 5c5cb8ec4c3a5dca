package explain

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Backends is who makes addresses reachable.
type Backends struct {
	// BGP and Layer2 serve the advertisements that name no backend; absent: nobody.
	BGP    string `json:"bgp,omitempty"`
	Layer2 string `json:"layer2,omitempty"`
	// Known is false if the controller has not said so yet.
	Known    bool      `json:"known"`
	Backends []Backend `json:"backends"`
	Gaps     []string  `json:"gaps,omitempty"`
}

// OfBackends tells of all Backend objects.
func OfBackends(m *survey.Model) *Backends {
	out := &Backends{BGP: m.Choice.BGP, Layer2: m.Choice.Layer2, Known: m.ChoiceKnown, Backends: []Backend{},
		Gaps: gaps(m.Survey, "Backends", "Deployments")}
	for i := range m.Survey.Backends {
		b := backendOf(&m.Survey.Backends[i])
		b.Wrote = wrote(&m.Survey.Backends[i])
		out.Backends = append(out.Backends, b)
	}
	return out
}

func backendOf(o *v1alpha1.Backend) Backend {
	b := Backend{Name: o.Name, Serves: append([]string{}, o.Status.Serves...), APIVersion: o.Status.APIVersion, Conditions: []Condition{},
		Installation: o.Annotations[backends.LabelInstallation]}
	for _, f := range o.Status.Detected {
		b.Detected = append(b.Detected, Fact(f))
	}
	for i := range o.Status.Conditions {
		b.Conditions = append(b.Conditions, conditionOf(&o.Status.Conditions[i]))
	}
	return b
}

// wrote returns all that a backend has recorded.
func wrote(o *v1alpha1.Backend) []string {
	var out []string
	for _, p := range o.Status.Owned.Prefixes {
		out = append(out, fmt.Sprintf("prefix %s of pool %q", p.Prefix, p.Pool))
	}
	for _, c := range o.Status.Owned.Communities {
		out = append(out, fmt.Sprintf("communities %s for %s", strings.Join(c.Communities, ", "), c.Prefix))
	}
	if a := o.Status.Owned.Aggregation; a != nil {
		out = append(out, fmt.Sprintf("serviceLoadBalancerAggregation %s", a.Set))
	}
	return append(out, o.Status.Owned.Objects...)
}

// ready returns the condition Ready of a Backend object, nil if there is none.
func ready(o *v1alpha1.Backend) *Condition {
	if c := meta.FindStatusCondition(o.Status.Conditions, apply.ConditionReady); c != nil {
		x := conditionOf(c)
		return &x
	}
	return nil
}

// Peers is the state of all sessions with routers.
type Peers struct {
	Peers []Peer   `json:"peers"`
	Gaps  []string `json:"gaps,omitempty"`
}

// Peer is one BGPPeer.
type Peer struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	// Interface is where the peer is looked for, if it has no address.
	Interface string `json:"interface,omitempty"`
	MyASN     uint32 `json:"myASN"`
	PeerASN   uint32 `json:"peerASN,omitempty"`
	// DynamicASN is internal or external if peerASN is not given.
	DynamicASN string `json:"dynamicASN,omitempty"`
	// BFDProfile is the name of the profile; absent: no BFD.
	BFDProfile string `json:"bfdProfile,omitempty"`
	// Backend holds the sessions: speaker, calico, cilium; absent: nobody does.
	Backend string `json:"backend,omitempty"`
	// Sessions are those of the speakers, by node.
	Sessions []Session `json:"sessions"`
	// Objects are those in the CNI's configuration that hold the session.
	Objects []string `json:"objects,omitempty"`
	// Faulty is set if the object is not in force; what is told of it is what it says.
	Faulty bool `json:"faulty,omitempty"`
	// Problems are what is wrong with the object, or what its backend says of it.
	Problems []string `json:"problems,omitempty"`
}

// OfPeers tells of all BGPPeers.
func OfPeers(m *survey.Model) *Peers {
	out := &Peers{Peers: []Peer{}, Gaps: gaps(m.Survey, "BGPPeers", "BGPSessions", "Backends")}
	for _, p := range m.Snapshot.BGPPeers() {
		x := Peer{
			Name: p.Ref.Name, Interface: p.Interface, MyASN: p.MyASN, PeerASN: p.PeerASN, DynamicASN: string(p.DynamicASN), Backend: servesPeers(m),
			Sessions: []Session{},
		}
		if p.Address.IsValid() {
			x.Address = p.Address.String()
		}
		if p.BFD != nil {
			x.BFDProfile = p.BFD.Ref.Name
		}
		out.Peers = append(out.Peers, x)
	}
	for _, f := range m.Snapshot.Faults() {
		if f.Object.Kind != "BGPPeer" {
			continue
		}
		i := slices.IndexFunc(out.Peers, func(p Peer) bool { return p.Name == f.Object.Name })
		if i < 0 {
			out.Peers = append(out.Peers, faultyPeer(m, f.Object.Name))
			i = len(out.Peers) - 1
		}
		out.Peers[i].Problems = append(out.Peers[i].Problems, fmt.Sprintf("%s: %s", f.Field, f.Problem))
	}
	for i := range out.Peers {
		x := &out.Peers[i]
		for j := range m.Sessions {
			if m.Sessions[j].Status.Peer == x.Name {
				x.Sessions = append(x.Sessions, sessionOf(&m.Sessions[j]))
			}
		}
		slices.SortFunc(x.Sessions, func(a, b Session) int { return cmp.Compare(a.Node, b.Node) })
		if o := m.Backend(x.Backend); o != nil {
			x.Objects, x.Problems = objectsOfPeer(o, x.Name), append(x.Problems,
				findingsOn(o, config.Ref{Kind: "BGPPeer", Namespace: m.Namespace, Name: x.Name})...)
		}
	}
	slices.SortFunc(out.Peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// faultyPeer returns what can be told of a BGPPeer that is not in force: what its object says.
func faultyPeer(m *survey.Model, name string) Peer {
	x := Peer{Name: name, Faulty: true, Backend: servesPeers(m), Sessions: []Session{}}
	for i := range m.Config.BGPPeers {
		if p := &m.Config.BGPPeers[i]; p.Name == name {
			x.Address, x.Interface, x.MyASN, x.PeerASN = p.Spec.PeerAddress, p.Spec.Interface, p.Spec.MyASN, p.Spec.PeerASN
			x.DynamicASN, x.BFDProfile = string(p.Spec.DynamicASN), p.Spec.BFDProfile
		}
	}
	return x
}

// servesPeers returns who holds sessions: who serves the BGPAdvertisements.
func servesPeers(m *survey.Model) string {
	for _, a := range m.Snapshot.BGPAdvertisements() {
		if b := m.Choice.Backend(a); b != "" {
			return b
		}
	}
	return m.Choice.BGP
}

func sessionOf(o *v1alpha1.BGPSession) Session {
	s := &o.Status
	out := Session{Node: s.Node, Peer: s.Peer, Address: s.Address, State: s.State, BFD: s.BFD, PrefixesSent: s.PrefixesSent,
		LastError: s.LastError}
	if s.Since != nil {
		out.Since = &s.Since.Time
	}
	return out
}

// objectsOfPeer returns those of a backend's objects that hold the sessions of a peer: they are named for it, some with a hash or a node
// behind. Its password, and who may read that, have such names, too.
func objectsOfPeer(o *v1alpha1.Backend, peer string) []string {
	named := regexp.MustCompile("^[A-Za-z]*BGPPeer[A-Za-z]*/" + backends.ManagedBy + "-(bgppeer-)?" + regexp.QuoteMeta(peer) +
		`(-[0-9a-f]{16}|\.[^/]+)?$`)
	var out []string
	for _, object := range o.Status.Owned.Objects {
		if named.MatchString(object) {
			out = append(out, object)
		}
	}
	return out
}

// nextFinding is where one finding ends and the next begins in the message of a condition of a Backend object.
var nextFinding = regexp.MustCompile(`; ([A-Z][A-Za-z0-9]*/)`)

// Findings takes apart the message of a condition of a Backend object: one text for each finding.
func Findings(message string) []string {
	return strings.Split(nextFinding.ReplaceAllString(message, "\n$1"), "\n")
}

// findingsOn returns what the conditions of a Backend object say of one object of the user's.
func findingsOn(o *v1alpha1.Backend, ref config.Ref) []string {
	about := backends.Source{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}.String()
	var out []string
	for _, c := range o.Status.Conditions {
		for _, finding := range Findings(c.Message) {
			if rest, ok := strings.CutPrefix(finding, about); ok && (strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, " ")) {
				out = append(out, fmt.Sprintf("%s: %s", c.Type, strings.TrimLeft(rest, ": ")))
			}
		}
	}
	return out
}
