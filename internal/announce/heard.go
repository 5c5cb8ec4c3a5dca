package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// SessionsInput is what Sessions decides on.
type SessionsInput struct {
	Snapshot *config.Snapshot
	Choice   Choice
	Backend  string
	// Managed is set if the backend sets up the sessions of the BGPPeers; else any session of the CNI may carry the routes.
	Managed bool
	Nodes   []backends.Node
	// Reports are what the CNI says, by node. A node that is not among them has not said anything.
	Reports map[string]backends.SessionReport
	// Mute says why no node is asked; empty if nodes are.
	Mute string
}

// Sessions returns, for each BGPAdvertisement of a backend and each family, whether a session is established that carries its routes from a
// node that it selects: True, False (NoSession), or Unknown where the CNI does not say.
func Sessions(in SessionsInput) map[backends.Audience]Verdict {
	out := map[backends.Audience]Verdict{}
	j := &judging{SessionsInput: in, holds: map[nodeRouter][]*config.BGPPeer{}, holdsAll: map[nodeFamily][]*config.BGPPeer{}}
	if in.Managed {
		j.at = map[netip.Addr][]*config.BGPPeer{}
		for _, p := range in.Snapshot.BGPPeers() {
			if !p.Address.IsValid() {
				continue
			}
			j.at[p.Address] = append(j.at[p.Address], p)
			for _, is6 := range []bool{false, true} {
				if p.Carries(is6) {
					j.carry[index(is6)] = append(j.carry[index(is6)], p)
				}
			}
		}
	}
	for _, a := range in.Snapshot.BGPAdvertisements() {
		if in.Choice.Backend(a) != in.Backend {
			continue
		}
		for _, is6 := range []bool{false, true} {
			out[backends.Audience{Advertisement: source(a.Ref), IPv6: is6}] = j.over(a, is6)
		}
	}
	return out
}

// judging is one call of Sessions. Which peers a node has sessions with is worked out once, and only where it matters: there may be as many
// peers as nodes.
type judging struct {
	SessionsInput
	at       map[netip.Addr][]*config.BGPPeer // by router
	holds    map[nodeRouter][]*config.BGPPeer
	holdsAll map[nodeFamily][]*config.BGPPeer
	carry    [2][]*config.BGPPeer // those for IPv4 routes, and those for IPv6
}

type nodeFamily struct {
	node string
	is6  bool
}

type nodeRouter struct {
	node   string
	router netip.Addr
}

// with returns the peers by which a node is to have a session with a router.
func (in *judging) with(n *backends.Node, router netip.Addr) []*config.BGPPeer {
	key := nodeRouter{n.Name, router}
	out, known := in.holds[key]
	if !known {
		out = selecting(in.at[router], n)
		in.holds[key] = out
	}
	return out
}

// all returns the peers with which a node is to have sessions that carry a family.
func (in *judging) all(n *backends.Node, is6 bool) []*config.BGPPeer {
	key := nodeFamily{n.Name, is6}
	out, known := in.holdsAll[key]
	if !known {
		out = selecting(in.carry[index(is6)], n)
		in.holdsAll[key] = out
	}
	return out
}

func selecting(peers []*config.BGPPeer, n *backends.Node) []*config.BGPPeer {
	return slices.DeleteFunc(slices.Clone(peers), func(p *config.BGPPeer) bool { return !p.SelectsNode(n.Labels) })
}

// hears reports whether a peer is to hear the routes of a family that an advertisement is for.
func hears(p *config.BGPPeer, a *config.BGPAdvertisement, is6 bool) bool {
	return (len(a.Peers) == 0 || slices.Contains(a.Peers, p.Ref.Name)) && p.Carries(is6)
}

// over is the verdict on one advertisement and family.
func (in *judging) over(a *config.BGPAdvertisement, is6 bool) Verdict {
	x := audience{nodes: map[string]bool{}, routers: map[string]bool{}}
	silent := map[string]bool{}
	var told []*backends.Node
	for i := range in.Nodes {
		n := &in.Nodes[i]
		if !a.SelectsNode(n.Labels) {
			continue
		}
		r, tells := in.Reports[n.Name]
		if !tells {
			silent[n.Name] = true
			continue
		}
		told = append(told, n)
		in.ask(&x, a, is6, n, r)
	}
	if in.Managed && !x.up {
		for _, n := range told {
			in.missing(&x, a, is6, n)
		}
	}
	family := backends.FamilyName(is6)
	switch {
	case x.up:
		return Verdict{metav1.ConditionTrue, ReasonAdvertised, fmt.Sprintf("sessions are established from %s to %s", some("node", x.nodes),
			some("router", x.routers))}
	case in.Mute != "":
		return Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown,
			fmt.Sprintf("%s has been told; whether a session carries the %s routes is not known: %s", in.Backend, family, in.Mute)}
	case len(in.Nodes) == 0:
		return Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, fmt.Sprintf("%s has been told; there are no nodes", in.Backend)}
	case len(silent) > 0:
		why := fmt.Sprintf("%s has been told, and has not said yet how the BGP sessions of %s are", in.Backend, some("node", silent))
		if len(x.down) > 0 {
			why += "; none is up of those that are known: " + x.faults()
		}
		return Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, why}
	case len(x.down) == 0:
		return *refuse(ReasonNoSession, "%s holds no BGP session that carries %s routes from a node that advertises them", in.Backend, family)
	}
	return *refuse(ReasonNoSession, "%s has no BGP session up that carries the %s routes: %s", in.Backend, family, x.faults())
}

// audience is what was found of sessions.
type audience struct {
	up             bool
	nodes, routers map[string]bool // of sessions that are up
	down           []string        // in words; of no interest once one is up
}

// faults names some of the sessions that are down.
func (x *audience) faults() string {
	slices.Sort(x.down)
	more := ""
	if len(x.down) > maxNames {
		more = fmt.Sprintf("; and %d more", len(x.down)-maxNames)
	}
	return strings.Join(x.down[:min(len(x.down), maxNames)], "; ") + more
}

// ask adds the sessions of one node.
func (in *judging) ask(x *audience, a *config.BGPAdvertisement, is6 bool, n *backends.Node, r backends.SessionReport) {
	for _, s := range r.Sessions {
		if !s.Carries(is6) {
			continue
		}
		router := s.Router.String()
		if in.Managed {
			name := ""
			for _, p := range in.with(n, s.Router) {
				if hears(p, a, is6) {
					name = p.Ref.Name
				}
			}
			if name == "" {
				continue
			}
			router = fmt.Sprintf("%s (%s)", name, router)
		}
		if s.Up {
			x.up, x.nodes[n.Name], x.routers[router] = true, true, true
		} else if !x.up {
			x.down = append(x.down, down(n.Name, router, s, r.At))
		}
	}
}

// missing adds the sessions of one node that are not there.
func (in *judging) missing(x *audience, a *config.BGPAdvertisement, is6 bool, n *backends.Node) {
	there := map[netip.Addr]bool{}
	for _, s := range in.Reports[n.Name].Sessions {
		there[s.Router] = there[s.Router] || s.Carries(is6)
	}
	for _, p := range in.all(n, is6) {
		if hears(p, a, is6) && !there[p.Address] {
			there[p.Address] = true // two BGPPeers may mean the same router
			x.down = append(x.down, fmt.Sprintf("%s has no session with %s (%s)", n.Name, p.Ref.Name, p.Address))
		}
	}
}

func down(node, router string, s backends.Session, at time.Time) string {
	out := fmt.Sprintf("%s to %s is %s", node, router, s.State)
	if s.Error != "" {
		out += ": " + s.Error
	}
	if !at.IsZero() {
		out += at.UTC().Format(" (at 15:04 UTC)")
	}
	return out
}
