package calico

import (
	"fmt"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

// excluded is the value that the label has on a node that Calico takes for excluded; it looks at no other
// (confd/pkg/backends/calico/routes.go).
const excluded = "true"

// unheard says which routes no session can tell: of the BGPPeers that are there, and those of others, which hear everything.
func (x *apply) unheard() map[backends.Audience]string {
	if x.last == nil {
		return nil
	}
	return x.want.Unheard(backends.Reach{
		SetUp: x.setUp,
		// A session of Calico carries the routes of its own family, whatever the peer asks for.
		Carries: func(p *backends.Peer, is6 bool) bool { return p.Address.Unmap().Is6() == is6 },
		Others: func(a *backends.BGPAdvertisement, is6 bool) bool {
			return len(a.Peers) == 0 && slices.ContainsFunc(x.world.foreign, func(f v3.BGPPeer) bool {
				addr, ok := sessionOf(&f)
				return !ok || addr.Addr().Is6() == is6
			})
		},
		Excluded: func(node labels.Set) bool { return node[backends.LabelExclude] == excluded },
	})
}

// setUp reports whether a session with the peer is there: ours, or somebody else's that is left to it.
func (x *apply) setUp(p *backends.Peer) bool {
	if x.last.held[p.Source] {
		return true
	}
	for key, source := range x.last.sources {
		if source == p.Source && x.isThere(key) {
			return true
		}
	}
	return false
}

// halfExcluded tells of nodes whose label does not keep Calico from advertising.
func (x *apply) halfExcluded() []backends.Finding {
	var out []backends.Finding
	for _, n := range x.want.Nodes {
		if value, has := n.Labels[backends.LabelExclude]; has && value != excluded {
			out = append(out, backends.Finding{
				Type: backends.UnsupportedField, Object: backends.Source{Kind: "Node", Name: n.Name}, Field: "metadata.labels[" +
					backends.LabelExclude + "]",
				Message: fmt.Sprintf("the value is %q, and Calico keeps a node from advertising only if it is %q: set it to that", value, excluded),
			})
		}
	}
	slices.SortFunc(out, func(a, b backends.Finding) int { return strings.Compare(a.Object.Name, b.Object.Name) })
	return out
}
