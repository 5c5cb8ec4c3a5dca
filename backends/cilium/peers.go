package cilium

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	slimv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// maxInstances is how many BGP instances a CiliumBGPClusterConfig may have.
const maxInstances = 16

// peers adds the objects that set up the sessions: for each node a CiliumBGPClusterConfig, and for each of its sessions a
// CiliumBGPPeerConfig. A node can have one CiliumBGPClusterConfig only (operator/pkg/bgp/cluster.go), and loses all its sessions when it
// gets another one. So these objects are the node's own, and say nothing of advertisements: those say themselves which peers hear them
// and which nodes leave them out. Whatever else changes, the sessions of a node stay.
func (t *translation) peers() {
	peers := t.usablePeers()
	for _, n := range t.ownNodes() {
		o := &v2.CiliumBGPClusterConfig{ObjectMeta: t.meta(clusterConfigName(n.Name), backends.Source{Kind: "Node", Name: n.Name})}
		o.Spec.NodeSelector = expressions(called(n.Labels[labelHostname]), notExcluded)
		for _, p := range peers {
			if !matchesAny(p.NodeSelectors, n.Labels) {
				continue
			}
			c := t.peerConfig(p, n)
			if !t.addSession(o, p, c.Name) {
				continue
			}
			t.objects = append(t.objects, c)
		}
		if len(o.Spec.BGPInstances) > 0 {
			t.objects = append(t.objects, o)
		}
	}
}

// ownNodes returns the nodes whose sessions are ours to set up, sorted by name: not those that have somebody else's
// CiliumBGPClusterConfig, nor those that cannot be told from another one.
func (t *translation) ownNodes() []backends.Node {
	var out []backends.Node
	taken := map[string][]string{} // nodes, by somebody else's object
	for _, n := range t.want.Nodes {
		if other := t.foreignOwner(n); other != "" {
			taken[other] = append(taken[other], n.Name)
			continue
		}
		out = append(out, n)
	}
	for _, c := range t.world.clusterConfigs {
		if nodes := taken[c.Name]; len(nodes) > 0 {
			slices.Sort(nodes)
			t.find(backends.Finding{
				Type: backends.PeerExists, Object: backends.Source{Kind: kindClusterConfig, Name: c.Name}, Field: "spec.nodeSelector",
				Message: fmt.Sprintf("holds the BGP sessions of %s, and a node can have one CiliumBGPClusterConfig only: BGPPeers are not set up there. "+
					"Delete it, or narrow its selector, to have them set up", few(nodes)),
			})
		}
	}
	slices.SortFunc(out, func(a, b backends.Node) int { return cmp.Compare(a.Name, b.Name) })
	first := map[string]string{} // nodes, by their host name
	return slices.DeleteFunc(out, func(n backends.Node) bool {
		host := n.Labels[labelHostname]
		other, twice := first[host]
		switch {
		case twice && host == "":
			t.unsupported(backends.Source{Kind: "Node", Name: n.Name}, "metadata.labels",
				fmt.Sprintf("the label %s is missing, by which a CiliumBGPClusterConfig selects the node, as on Node %q: it has the BGP sessions of that one", labelHostname, other))
		case twice:
			t.unsupported(backends.Source{Kind: "Node", Name: n.Name}, "metadata.labels",
				fmt.Sprintf("the label %s is that of Node %q, too, by which a CiliumBGPClusterConfig selects the node: it has the BGP sessions of that one", labelHostname, other))
		default:
			first[host] = n.Name
		}
		return twice
	})
}

// called selects the node with a host name; an empty one is that of a node without the label.
func called(host string) requirement {
	if host == "" {
		return requirement{Key: labelHostname, Operator: slimv1.LabelSelectorOpDoesNotExist}
	}
	return in(labelHostname, host)
}

// foreignOwner returns the name of somebody else's CiliumBGPClusterConfig that has the node, or would get it; empty if none. The
// first that selects a node keeps it: the owner of the CiliumBGPNodeConfig of that name (operator/pkg/bgp/cluster.go).
func (t *translation) foreignOwner(n backends.Node) string {
	if c := find(t.world.nodeConfigs, n.Name); c != nil {
		for _, r := range c.OwnerReferences {
			if r.Kind != kindClusterConfig {
				continue
			}
			if o := find(t.world.clusterConfigs, r.Name); o != nil && o.UID == r.UID {
				if owned(o, t.installation) {
					return ""
				}
				return o.Name
			}
		}
	}
	for _, o := range t.world.clusterConfigs {
		if !owned(o, t.installation) && (o.Spec.NodeSelector == nil || selects(o.Spec.NodeSelector, n.Labels)) {
			return o.Name
		}
	}
	return ""
}

// few names the first of many.
func few(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// addSession adds a peer to the instance of its AS, and reports whether it could.
func (t *translation) addSession(o *v2.CiliumBGPClusterConfig, p *peer, config string) bool {
	if old := t.have[key{kind: kindPeerConfig, name: config}]; old != nil && !owned(old, t.installation) {
		t.somebodyElses(old) // with somebody else's settings, the peer could hear anything
		return false
	}
	name := fmt.Sprintf("as%d", p.localASN())
	i := slices.IndexFunc(o.Spec.BGPInstances, func(b v2.CiliumBGPInstance) bool { return b.Name == name })
	if i < 0 {
		if len(o.Spec.BGPInstances) == maxInstances {
			t.once(backends.Finding{
				Type: backends.UnsupportedField, Object: p.Source, Field: "spec.myASN",
				Message: fmt.Sprintf("%d would be AS number %d of a node, and Cilium takes %d: the peer is not set up there", p.localASN(),
					maxInstances+1, maxInstances),
			})
			return false
		}
		asn := int64(p.localASN())
		i = len(o.Spec.BGPInstances)
		o.Spec.BGPInstances = append(o.Spec.BGPInstances, v2.CiliumBGPInstance{Name: name, LocalASN: &asn})
	}
	address, asn := p.Address.Unmap().String(), int64(p.expectedASN())
	b := &o.Spec.BGPInstances[i]
	if slices.ContainsFunc(b.Peers, func(q v2.CiliumBGPPeer) bool { return *q.PeerAddress == address }) {
		t.once(backends.Finding{
			Type: backends.PeerExists, Object: p.Source, Field: "spec.peerAddress",
			Message: fmt.Sprintf("another BGPPeer has a session with %s from AS %d on the same nodes: this one is not set up there", address,
				p.localASN()),
		})
		return false
	}
	t.setUp[p.Source.Name] = true
	b.Peers = append(b.Peers, v2.CiliumBGPPeer{
		Name: p.Source.Name, PeerAddress: &address, PeerASN: &asn, PeerConfigRef: &v2.PeerConfigReference{Name: config},
	})
	return true
}

// peerConfig returns the settings of a session.
func (t *translation) peerConfig(p *peer, n backends.Node) *v2.CiliumBGPPeerConfig {
	o := &v2.CiliumBGPPeerConfig{ObjectMeta: t.meta(peerConfigName(p.Source.Name, n.Name), p.Source)}
	if p.existing != nil {
		settings := p.existing // what is unknown of the peer stays
		if own := existing[*v2.CiliumBGPPeerConfig](t, kindPeerConfig, o.Name); own != nil {
			settings = own
		}
		o.Spec = *settings.Spec.DeepCopy()
	} else {
		o.Spec = p.spec()
		if p.Password != "" {
			secret := objectName("bgppeer", p.Source.Name)
			o.Spec.AuthSecretRef = &secret
		}
	}
	o.Spec.Families = nil
	for _, afi := range families(p.Address, p.DualStack) {
		o.Spec.Families = append(o.Spec.Families, v2.CiliumBGPFamilyWithAdverts{
			CiliumBGPFamily: v2.CiliumBGPFamily{Afi: afi, Safi: "unicast"}, Advertisements: t.heardBy(p.Source.Name, n.Name),
		})
	}
	return o
}

// heardBy selects the advertisements that a peer hears from a node. All requirements have to be met, so those that are for some nodes only
// name the others.
func (t *translation) heardBy(peer, node string) *slimv1.LabelSelector {
	return expressions(
		in(backends.LabelInstallation, t.installation),
		in(toLabel(peer), yes),
		requirement{Key: exceptLabel(node), Operator: slimv1.LabelSelectorOpDoesNotExist},
	)
}

// families returns the address families of a session: its own, or both.
func families(session netip.Addr, both bool) []string {
	switch {
	case both:
		return []string{"ipv4", "ipv6"}
	case session.Unmap().Is4():
		return []string{"ipv4"}
	}
	return []string{"ipv6"}
}
