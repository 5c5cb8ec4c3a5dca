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
	for _, a := range in.Snapshot.BGPAdvertisements() {
		if in.Choice.Backend(a) != in.Backend {
			continue
		}
		for _, is6 := range []bool{false, true} {
			out[backends.Audience{Advertisement: source(a.Ref), IPv6: is6}] = in.over(a, is6)
		}
	}
	return out
}

// over is the verdict on one advertisement and family.
func (in *SessionsInput) over(a *config.BGPAdvertisement, is6 bool) Verdict {
	x := audience{nodes: map[string]bool{}, routers: map[string]bool{}}
	silent := map[string]bool{}
	for i := range in.Nodes {
		n := &in.Nodes[i]
		if !a.SelectsNode(n.Labels) {
			continue
		}
		r, told := in.Reports[n.Name]
		if !told {
			silent[n.Name] = true
			continue
		}
		in.ask(&x, a, is6, n, r)
	}
	family := backends.FamilyName(is6)
	switch {
	case x.up:
		return Verdict{metav1.ConditionTrue, ReasonAdvertised, fmt.Sprintf("sessions are established from %s to %s", some("node", x.nodes), some("router", x.routers))}
	case in.Mute != "":
		return Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, fmt.Sprintf("%s has been told; whether a session carries the %s routes is not known: %s", in.Backend, family, in.Mute)}
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
	down           []string        // in words
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
func (in *SessionsInput) ask(x *audience, a *config.BGPAdvertisement, is6 bool, n *backends.Node, r backends.SessionReport) {
	meant := map[netip.Addr]string{} // router -> BGPPeer
	if in.Managed {
		for _, p := range in.Snapshot.BGPPeers() {
			if p.SelectsNode(n.Labels) && (len(a.Peers) == 0 || slices.Contains(a.Peers, p.Ref.Name)) && p.Carries(is6) && p.Address.IsValid() {
				meant[p.Address] = p.Ref.Name
			}
		}
	}
	seen := map[netip.Addr]bool{}
	for _, s := range r.Sessions {
		name, is := meant[s.Router]
		if in.Managed && !is || !s.Carries(is6) {
			continue
		}
		seen[s.Router] = true
		router := s.Router.String()
		if is {
			router = fmt.Sprintf("%s (%s)", name, router)
		}
		if s.Up {
			x.up, x.nodes[n.Name], x.routers[router] = true, true, true
			continue
		}
		x.down = append(x.down, down(n.Name, router, s, r.At))
	}
	for router, name := range meant {
		if !seen[router] {
			x.down = append(x.down, fmt.Sprintf("%s has no session with %s (%s)", n.Name, name, router))
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
