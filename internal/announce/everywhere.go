package announce

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// Everywhere returns what Routes decides for each of some nodes, without the refusals. Nodes that look alike share what is decided: it is
// worked out once. in is about any node.
func Everywhere(in RoutesInput, nodes map[string]*Node) map[string]*RoutesDecision {
	local := map[string][]int{} // the Services that only some nodes may advertise, by those
	for i := range in.Services {
		if s := &in.Services[i]; s.Local {
			for node, serves := range s.Endpoints.Nodes {
				if serves {
					local[node] = append(local[node], i)
				}
			}
		}
	}
	out, alike := map[string]*RoutesDecision{}, map[string]*RoutesDecision{}
	for name, node := range nodes {
		at := in
		at.Self, at.Node = name, node
		look := at.look(local[name])
		if alike[look] == nil {
			at.Services = at.eligible(local[name])
			d := Routes(at)
			d.Refusals = nil // they name the node
			alike[look] = &d
		}
		out[name] = alike[look]
	}
	return out
}

// look is a text that is the same for nodes of which Routes decides the same. local are the Services with externalTrafficPolicy Local that
// have an endpoint there.
func (in *RoutesInput) look(local []int) string {
	n := in.Node
	if n == nil {
		return ""
	}
	_, excluded := n.Labels[excludeLabel]
	var b strings.Builder
	fmt.Fprint(&b, n.NetworkUnavailable, excluded, in.draining(), local)
	for _, a := range in.Snapshot.BGPAdvertisements() {
		fmt.Fprint(&b, " ", a.SelectsNode(n.Labels))
	}
	for _, p := range in.Snapshot.BGPPeers() {
		fmt.Fprint(&b, " ", p.SelectsNode(n.Labels), in.carries(p, false), in.carries(p, true))
	}
	return b.String()
}

// eligible returns the Services that the node may advertise as far as their endpoints are concerned.
func (in *RoutesInput) eligible(local []int) []Service {
	out := make([]Service, 0, len(in.Services))
	for i := range in.Services {
		if _, here := slices.BinarySearch(local, i); here || !in.Services[i].Local {
			out = append(out, in.Services[i])
		}
	}
	return out
}

// Unsaid returns for each Service the nodes and peers over which nodes advertise it that do not say so themselves, by what Routes decides
// for each of them. in is about any node.
func Unsaid(in RoutesInput, nodes map[string]*Node) map[types.NamespacedName][]NodePeer {
	out, decided := map[types.NamespacedName][]NodePeer{}, Everywhere(in, nodes)
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		for id, peers := range decided[name].Peers {
			for _, p := range peers {
				out[id] = append(out[id], NodePeer{Node: name, Peer: p})
			}
		}
	}
	return out
}
