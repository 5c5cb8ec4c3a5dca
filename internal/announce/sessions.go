package announce

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// maxNames is how many nodes, peers or sessions a message names.
const maxNames = 5

// NodePeer names a session of a speaker.
type NodePeer struct{ Node, Peer string }

// Session is how it is.
type Session struct {
	Up    bool
	Error string // why it is not, or was not; empty if nobody knows
}

// spoken is the verdict on a Service that speakers advertise by BGP over these sessions: it is advertised as long as one of them is up.
// Which are is for BGPSessions to tell, lest every Service change with every session.
func spoken(over []NodePeer, sessions map[NodePeer]Session) Verdict {
	nodes, peers := map[string]bool{}, map[string]bool{}
	var down []string
	up, failed := false, false
	for _, s := range over {
		nodes[s.Node], peers[s.Peer] = true, true
		x := sessions[s]
		up = up || x.Up
		why := fmt.Sprintf("%s to %s", s.Node, s.Peer)
		if x.Error != "" {
			why += ": " + x.Error
			failed = true
		}
		down = append(down, why)
	}
	if up {
		return Verdict{metav1.ConditionTrue, ReasonAdvertised, fmt.Sprintf("speaker: advertised by BGP from %s to %s", some("node", nodes),
			some("peer", peers))}
	}
	if !failed {
		return Verdict{metav1.ConditionUnknown, ReasonPending, fmt.Sprintf("speaker: BGP sessions are coming up, from %s to %s",
			some("node", nodes), some("peer", peers))}
	}
	slices.Sort(down)
	more := ""
	if len(down) > maxNames {
		more = fmt.Sprintf("; and %d more", len(down)-maxNames)
		down = down[:maxNames]
	}
	return Verdict{metav1.ConditionFalse, ReasonNoSession, "speaker: no BGP session is up over which to advertise it: " +
		strings.Join(down, "; ") + more}
}

// SpokenTo is spoken for the addresses of a Service: a family that none of the sessions carries is named, and a Service of which every
// family is such a one is not advertised.
func SpokenTo(s *config.Snapshot, addrs []netip.Addr, over []NodePeer, sessions map[NodePeer]Session) Verdict {
	carries := map[string]func(bool) bool{}
	for _, p := range s.BGPPeers() {
		carries[p.Ref.Name] = p.Carries
	}
	var all []Verdict
	for _, is6 := range []bool{false, true} {
		if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is6() == is6 }) {
			continue
		}
		by := slices.DeleteFunc(slices.Clone(over), func(x NodePeer) bool { f := carries[x.Peer]; return f != nil && !f(is6) })
		if len(by) > 0 {
			all = append(all, spoken(by, sessions))
			continue
		}
		peers := map[string]bool{}
		for _, x := range over {
			peers[x.Peer] = true
		}
		all = append(all, *refuse(ReasonNoPeer,
			"speaker: no session carries the %s addresses, only with %s: add a BGPPeer with an address of that family, or set dualStackAddressFamily",
			backends.FamilyName(is6), some("BGPPeer", peers)))
	}
	alike := func(v Verdict) bool { return v.Reason != ReasonNoPeer && v.Reason == all[0].Reason }
	if !slices.ContainsFunc(all, func(v Verdict) bool { return !alike(v) }) {
		return spoken(over, sessions)
	}
	return together(all)
}

// some names a few of many.
func some(what string, names map[string]bool) string {
	list := slices.Sorted(maps.Keys(names))
	if len(list) > 1 {
		what += "s"
	}
	more := ""
	if len(list) > maxNames {
		more = fmt.Sprintf(" and %d more", len(list)-maxNames)
		list = list[:maxNames]
	}
	for i, n := range list {
		list[i] = fmt.Sprintf("%q", n)
	}
	return what + " " + strings.Join(list, ", ") + more
}
