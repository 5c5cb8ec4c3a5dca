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

// session is a peer as the nodes of one group see it, and the advertisements it hears from them.
type session struct {
	peer    *peer
	adverts []string // values of fairlead.io/advertisement, sorted
}

// group is a set of nodes with the same sessions. A node can have one CiliumBGPClusterConfig only (operator/pkg/bgp/cluster.go),
// so there is one for each group, not one for each BGPPeer.
type group struct {
	nodes    []backends.Node
	sessions []session
}

// peers adds the objects that set up the sessions: for each peer and set of advertisements a CiliumBGPPeerConfig, for each group
// of nodes a CiliumBGPClusterConfig.
func (t *translation) peers(adverts []advert) {
	peers := t.usablePeers()
	groups, all := t.groups(peers, adverts)
	configs := map[string]string{} // names of the peer configs, by peer and advertisements
	named := map[string]bool{}     // peers that have one
	for i, g := range groups {
		name := objectName("bgp")
		if i > 0 {
			name = objectName("bgp", g.nodes[0].Name)
		}
		o := &v2.CiliumBGPClusterConfig{ObjectMeta: t.meta(name, backends.Source{})}
		delete(o.Annotations, backends.AnnotationSource) // it is made from several
		o.Spec.NodeSelector = expressions(notExcluded)
		if !all || len(groups) > 1 {
			o.Spec.NodeSelector = expressions(in(labelHostname, hostnames(g.nodes)...), notExcluded)
		}
		for _, s := range g.sessions {
			id := s.peer.Source.Name + "\x00" + strings.Join(s.adverts, "\x00")
			config, ok := configs[id]
			if !ok {
				config = objectName("bgppeer", s.peer.Source.Name)
				if named[s.peer.Source.Name] {
					config = objectName("bgppeer", s.peer.Source.Name, backends.Hash(s.adverts...))
				}
				configs[id], named[s.peer.Source.Name] = config, true
				t.objects = append(t.objects, t.peerConfig(config, s, adverts))
			}
			if old := t.have[key{kind: kindPeerConfig, name: config}]; old != nil && !owned(old, t.installation) {
				continue // compare reports it; with somebody else's settings, the peer could hear anything
			}
			t.addSession(o, s.peer, config)
		}
		if len(o.Spec.BGPInstances) > 0 {
			t.objects = append(t.objects, o)
		}
	}
}

// groups divides the nodes by their sessions. The largest group comes first, then they are sorted by their first node, so that
// a node which comes or goes changes as little as possible. all is set if there is one group and nothing could ever make a node
// different.
func (t *translation) groups(peers []*peer, adverts []advert) (out []group, all bool) {
	all = true
	for _, p := range peers {
		all = all && !restricts(p.NodeSelectors)
	}
	for _, a := range adverts {
		all = all && !restricts(a.NodeSelectors)
	}
	bySignature := map[string]int{}
	for _, n := range t.ownNodes(&all) {
		var sessions []session
		var signature strings.Builder
		for i, p := range peers {
			if !matchesAny(p.NodeSelectors, n.Labels) {
				continue
			}
			s := session{peer: p}
			for j, a := range adverts {
				if !a.gone && matchesAny(a.NodeSelectors, n.Labels) && (len(a.Peers) == 0 || slices.Contains(a.Peers, p.Source.Name)) {
					s.adverts = append(s.adverts, a.label)
					fmt.Fprintf(&signature, "%d ", j)
				}
			}
			slices.Sort(s.adverts)
			sessions = append(sessions, s)
			fmt.Fprintf(&signature, "to %d;", i)
		}
		if len(sessions) == 0 {
			continue
		}
		i, ok := bySignature[signature.String()]
		if !ok {
			i = len(out)
			bySignature[signature.String()] = i
			out = append(out, group{sessions: sessions})
		}
		out[i].nodes = append(out[i].nodes, n)
	}
	slices.SortFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(len(b.nodes), len(a.nodes)), cmp.Compare(a.nodes[0].Name, b.nodes[0].Name))
	})
	return out, all && len(out) == 1
}

// hostnames returns the values by which nodes are selected, sorted.
func hostnames(nodes []backends.Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.Labels[labelHostname]
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ownNodes returns the nodes whose sessions are ours to set up, sorted by name: not those that have somebody else's
// CiliumBGPClusterConfig. It clears all if there are such nodes.
func (t *translation) ownNodes(all *bool) []backends.Node {
	var out []backends.Node
	taken := map[string][]string{} // nodes, by somebody else's object
	for _, n := range t.want.Nodes {
		if other := t.foreignOwner(n); other != "" {
			taken[other] = append(taken[other], n.Name)
			*all = false
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
	if *all {
		return out
	}
	return slices.DeleteFunc(out, func(n backends.Node) bool {
		if n.Labels[labelHostname] != "" {
			return false
		}
		t.unsupported(backends.Source{Kind: "Node", Name: n.Name}, "metadata.labels",
			"the label "+labelHostname+" is missing, by which a CiliumBGPClusterConfig selects the node: it has no BGP sessions")
		return true
	})
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

// addSession adds a peer to the instance of its AS.
func (t *translation) addSession(o *v2.CiliumBGPClusterConfig, p *peer, config string) {
	name := fmt.Sprintf("as%d", p.localASN())
	i := slices.IndexFunc(o.Spec.BGPInstances, func(b v2.CiliumBGPInstance) bool { return b.Name == name })
	if i < 0 {
		if len(o.Spec.BGPInstances) == maxInstances {
			t.unsupported(p.Source, "spec.myASN", fmt.Sprintf("%d would be AS number %d of the nodes in CiliumBGPClusterConfig %q, and Cilium takes %d: "+
				"the peer is not set up there", p.localASN(), maxInstances+1, o.Name, maxInstances))
			return
		}
		asn := int64(p.localASN())
		i = len(o.Spec.BGPInstances)
		o.Spec.BGPInstances = append(o.Spec.BGPInstances, v2.CiliumBGPInstance{Name: name, LocalASN: &asn})
	}
	address, asn := p.Address.Unmap().String(), int64(p.expectedASN())
	b := &o.Spec.BGPInstances[i]
	if slices.ContainsFunc(b.Peers, func(q v2.CiliumBGPPeer) bool { return *q.PeerAddress == address }) {
		t.find(backends.Finding{
			Type: backends.PeerExists, Object: p.Source, Field: "spec.peerAddress",
			Message: fmt.Sprintf("another BGPPeer has a session with %s from AS %d on the same nodes: this one is not set up there", address, p.localASN()),
		})
		return
	}
	b.Peers = append(b.Peers, v2.CiliumBGPPeer{
		Name: p.Source.Name, PeerAddress: &address, PeerASN: &asn, PeerConfigRef: &v2.PeerConfigReference{Name: config},
	})
}

// peerConfig returns the settings of a session.
func (t *translation) peerConfig(name string, s session, adverts []advert) *v2.CiliumBGPPeerConfig {
	o := &v2.CiliumBGPPeerConfig{ObjectMeta: t.meta(name, s.peer.Source)}
	if s.peer.existing != nil {
		o.Spec = *s.peer.existing.Spec.DeepCopy() // what is unknown of the peer stays
	} else {
		o.Spec = s.peer.spec()
		if s.peer.Password != "" {
			secret := objectName("bgppeer", s.peer.Source.Name)
			o.Spec.AuthSecretRef = &secret
		}
	}
	heard := slices.Concat(s.adverts, t.heldAdverts(name, adverts))
	slices.Sort(heard)
	var selector *slimv1.LabelSelector // nil selects nothing
	if heard = slices.Compact(heard); len(heard) > 0 {
		selector = expressions(in(labelAdvertisement, heard...), in(backends.LabelInstallation, t.installation))
	}
	o.Spec.Families = nil
	for _, afi := range families(s.peer.Address, s.peer.DualStack) {
		o.Spec.Families = append(o.Spec.Families, v2.CiliumBGPFamilyWithAdverts{
			CiliumBGPFamily: v2.CiliumBGPFamily{Afi: afi, Safi: "unicast"}, Advertisements: selector.DeepCopy(),
		})
	}
	return o
}

// heldAdverts returns the advertisements with nothing but pools on hold that the existing object selects.
func (t *translation) heldAdverts(config string, adverts []advert) []string {
	old := existing[*v2.CiliumBGPPeerConfig](t, kindPeerConfig, config)
	if old == nil {
		return nil
	}
	var out []string
	for _, a := range adverts {
		if a.gone && slices.ContainsFunc(old.Spec.Families, func(f v2.CiliumBGPFamilyWithAdverts) bool {
			return selects(f.Advertisements, map[string]string{labelAdvertisement: a.label, backends.LabelInstallation: t.installation})
		}) {
			out = append(out, a.label)
		}
	}
	return out
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
