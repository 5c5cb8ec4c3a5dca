package calico

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// Labels and annotations of the objects that are written.
const (
	labelManagedBy    = "app.kubernetes.io/managed-by"
	managedBy         = "fairlead"
	labelInstallation = "fairlead.io/installation"
	annotationSource  = "fairlead.io/source"
	labelHostname     = "kubernetes.io/hostname"
)

// passwordKey is where a password is in a Secret, the user's and the copy.
const passwordKey = "password"

// nodeAccount is the ServiceAccount of calico-node, which reads the passwords (confd/pkg/backends/calico/secret_watcher.go).
const nodeAccount = "calico-node"

// sessions is what there has to be besides the BGPConfiguration: Secrets with their Role and RoleBinding, BGPFilters, BGPPeers.
type sessions struct {
	installation string
	namespace    string // of calico-node
	objects      []object
	// keep names objects, as keyOf does, that stay as they are because their peer cannot be set up at present.
	keep     map[string]bool
	findings []backends.Finding
}

// plan says what sessions want asks for. foreign are the BGPPeers of others. It is a pure function.
func plan(want backends.Desired, foreign []v3.BGPPeer, installation, namespace string) *sessions {
	s := &sessions{installation: installation, namespace: namespace, keep: map[string]bool{}}
	prefixes := map[string][]netip.Prefix{}
	for _, a := range want.Announcements {
		prefixes[a.Pool] = append(prefixes[a.Pool], a.Prefix)
	}
	for i := range want.Peers {
		s.add(&want.Peers[i], want, foreign, prefixes)
	}
	return s
}

func (s *sessions) report(kind backends.FindingType, p *backends.Peer, field, message string) {
	s.findings = append(s.findings, backends.Finding{Type: kind, Object: p.Source, Field: field, Message: message})
}

// add adds the sessions with one peer: one BGPPeer for each group of nodes that hide the same pools from it.
func (s *sessions) add(p *backends.Peer, want backends.Desired, foreign []v3.BGPPeer, prefixes map[string][]netip.Prefix) {
	if !s.possible(p, foreign) {
		return
	}
	s.refusedFields(p)
	groups := groupNodes(p, want)
	if p.Unready != "" {
		for hidden := range groups {
			s.keep[keyOf(v3.KindBGPPeer, "", peerName(p, hidden, len(groups)))] = true
			s.keep[keyOf(v3.KindBGPFilter, "", filterName(p, hidden))] = true
		}
		for _, kind := range []string{"Secret", "Role", "RoleBinding"} {
			s.keep[keyOf(kind, s.namespace, objectName("bgppeer", p.Source.Name))] = true
		}
		return
	}
	selector, err := nodeSelector(p.NodeSelectors)
	if err != nil {
		s.report(backends.UnsupportedField, p, "spec.nodeSelectors", err.Error()+": the peer is not set up")
		return
	}
	secret := s.password(p)
	for _, hidden := range slices.Sorted(maps.Keys(groups)) {
		o := &v3.BGPPeer{ObjectMeta: s.meta(peerName(p, hidden, len(groups)), p.Source)}
		o.Spec = v3.BGPPeerSpec{
			PeerIP: netip.AddrPortFrom(p.Address, p.Port).String(), ASNumber: numorstring.ASNumber(p.PeerASN), NodeSelector: selector,
		}
		if p.Port == 0 || p.Port == 179 {
			o.Spec.PeerIP = p.Address.String()
		}
		local := numorstring.ASNumber(p.MyASN)
		if p.LocalASN != 0 {
			local = numorstring.ASNumber(p.LocalASN)
		}
		o.Spec.LocalASNumber = &local
		if len(groups) > 1 {
			o.Spec.NodeSelector = fmt.Sprintf("%s in { '%s' }", labelHostname, strings.Join(groups[hidden], "', '"))
		}
		if secret != nil {
			o.Spec.Password = &v3.BGPPassword{SecretKeyRef: secret}
		}
		if f := s.filter(p, hidden, want, prefixes); f != nil {
			o.Spec.Filters = []string{f.Name}
			s.objects = append(s.objects, f)
		}
		s.objects = append(s.objects, o)
	}
}

// groupNodes returns the nodes that hold a session with p, by the pools that the advertisements hide from p on them (names with
// commas between them). Without advertisements that select nodes there is one group, whose nodes do not matter.
func groupNodes(p *backends.Peer, want backends.Desired) map[string][]string {
	hidden := func(selected func(*backends.BGPAdvertisement) bool) string {
		shown, all := map[string]bool{}, map[string]bool{}
		for i := range want.BGPAdvertisements {
			a := &want.BGPAdvertisements[i]
			hears := len(a.Peers) == 0 || slices.Contains(a.Peers, p.Source.Name)
			for _, pool := range a.Pools {
				all[pool.Name] = true
				shown[pool.Name] = shown[pool.Name] || hears && selected(a)
			}
		}
		maps.DeleteFunc(all, func(pool string, _ bool) bool { return shown[pool] })
		return strings.Join(slices.Sorted(maps.Keys(all)), ",")
	}
	if !slices.ContainsFunc(want.BGPAdvertisements, func(a backends.BGPAdvertisement) bool { return len(a.NodeSelectors) > 0 }) {
		return map[string][]string{hidden(func(*backends.BGPAdvertisement) bool { return true }): nil}
	}
	out := map[string][]string{}
	for _, n := range want.Nodes {
		if !p.SelectsNode(n.Labels) {
			continue
		}
		name := n.Labels[labelHostname]
		if name == "" {
			name = n.Name
		}
		h := hidden(func(a *backends.BGPAdvertisement) bool { return a.SelectsNode(n.Labels) })
		out[h] = append(out[h], name)
	}
	for h := range out {
		slices.Sort(out[h])
	}
	return out
}

// filter returns the BGPFilter of a group: the routes of hidden pools stay here, and so do routes of ours that come from other
// nodes, which would lead traffic to nodes without a pod.
func (s *sessions) filter(p *backends.Peer, hidden string, want backends.Desired, prefixes map[string][]netip.Prefix) *v3.BGPFilter {
	f := &v3.BGPFilter{ObjectMeta: s.meta(filterName(p, hidden), p.Source)}
	reject := func(prefix netip.Prefix, source v3.BGPFilterMatchSource) {
		if prefix.Addr().Is4() {
			f.Spec.ExportV4 = append(f.Spec.ExportV4, v3.BGPFilterRuleV4{CIDR: prefix.String(), MatchOperator: v3.In, Source: source, Action: v3.Reject})
		} else {
			f.Spec.ExportV6 = append(f.Spec.ExportV6, v3.BGPFilterRuleV6{CIDR: prefix.String(), MatchOperator: v3.In, Source: source, Action: v3.Reject})
		}
	}
	isHidden := map[string]bool{}
	for name := range strings.SplitSeq(hidden, ",") {
		isHidden[name] = true
	}
	for _, pool := range slices.Sorted(maps.Keys(prefixes)) {
		for _, prefix := range prefixes[pool] {
			if isHidden[pool] {
				reject(prefix, "")
			} else {
				reject(prefix, v3.BGPFilterSourceRemotePeers)
			}
		}
	}
	if len(f.Spec.ExportV4)+len(f.Spec.ExportV6) == 0 {
		return nil
	}
	return f
}

// possible reports whether the sessions can be set up, and would be those that the user means.
func (s *sessions) possible(p *backends.Peer, foreign []v3.BGPPeer) bool {
	switch {
	case !p.Address.IsValid():
		s.report(backends.UnsupportedField, p, "spec.interface", fmt.Sprintf("Calico cannot find a peer behind interface %q: the peer is not set up; set peerAddress", p.Interface))
		return false
	case p.VRF != "":
		s.report(backends.UnsupportedField, p, "spec.vrf", fmt.Sprintf("Calico has sessions in the main routing table only, where %s may be another router than in VRF %q: "+
			"the peer is not set up", p.Address, p.VRF))
		return false
	case p.PeerASN == 0:
		s.report(backends.UnsupportedField, p, "spec.dynamicASN", "Calico needs the AS number of the peer: the peer is not set up; set peerASN")
		return false
	}
	for _, f := range foreign {
		if sameSession(&f, p) {
			s.report(backends.PeerExists, p, "spec.peerAddress", fmt.Sprintf("BGPPeer %q of Calico holds this session already and is left to it: "+
				"no second one is made, because Calico would run only one of them", f.Name))
			return false
		}
	}
	return true
}

// sameSession reports whether a foreign BGPPeer and p may mean the same session on some node: Calico tells sessions of a node
// apart by address and port (confd/pkg/backends/calico/client.go).
func sameSession(f *v3.BGPPeer, p *backends.Peer) bool {
	addr, err := netip.ParseAddrPort(f.Spec.PeerIP)
	if err != nil {
		a, err := netip.ParseAddr(f.Spec.PeerIP)
		if err != nil {
			return false
		}
		addr = netip.AddrPortFrom(a, 179)
	}
	port := p.Port
	if port == 0 {
		port = 179
	}
	return addr == netip.AddrPortFrom(p.Address, port)
}

// refusedFields reports what Calico does not do for a peer that is set up.
func (s *sessions) refusedFields(p *backends.Peer) {
	for _, f := range []struct {
		set            bool
		field, message string
	}{
		{p.HoldTime != nil, "spec.holdTime", "not used: Calico's BIRD decides"},
		{p.KeepaliveTime != nil, "spec.keepaliveTime", "not used: Calico's BIRD decides"},
		{p.ConnectTime != 0, "spec.connectTime", "not used: Calico's BIRD tries again every 5 s"},
		{p.RouterID.IsValid(), "spec.routerID", "not used: in Calico it is a setting of each node (CALICO_ROUTER_ID)"},
		{p.SourceAddress.IsValid(), "spec.sourceAddress", "not used: Calico connects from the node's address"},
		{p.BFDProfile != "", "spec.bfdProfile", "Calico has no BFD: the session ends with its hold time, not with BFD"},
		{p.DualStack, "spec.dualStackAddressFamily", "not used: a session of Calico carries the routes of its own family; use one for each family"},
		{p.DisableMP, "spec.disableMP", "not used: a session of Calico carries the routes of its own family anyway"},
	} {
		if f.set {
			s.report(backends.UnsupportedField, p, f.field, f.message)
		}
	}
}

// password adds a copy of the password that calico-node may read, and returns where it is; nil if there is none.
func (s *sessions) password(p *backends.Peer) *corev1.SecretKeySelector {
	if p.Password == "" {
		return nil
	}
	name := objectName("bgppeer", p.Source.Name)
	meta := s.meta(name, p.Source)
	meta.Namespace = s.namespace
	secret := &corev1.Secret{ObjectMeta: meta, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{passwordKey: []byte(p.Password)}}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get", "list", "watch"},
	}}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: nodeAccount}},
	}
	s.objects = append(s.objects, secret, role, binding)
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: passwordKey}
}

func (s *sessions) meta(name string, source backends.Source) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:        name,
		Labels:      map[string]string{labelManagedBy: managedBy, labelInstallation: s.installation},
		Annotations: map[string]string{annotationSource: source.String()},
	}
}

// peerName and filterName are names of a group's objects: without a hash while there is only one group.
func peerName(p *backends.Peer, hidden string, groups int) string {
	if groups == 1 {
		return objectName(p.Source.Name)
	}
	return objectName(p.Source.Name, hash(hidden))
}

func filterName(p *backends.Peer, hidden string) string {
	if hidden == "" {
		return objectName(p.Source.Name)
	}
	return objectName(p.Source.Name, hash(hidden))
}
