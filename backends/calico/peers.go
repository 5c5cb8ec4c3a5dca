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
	labelHostname = "kubernetes.io/hostname"
)

// passwordKey is where a password is in a Secret, the user's and the copy.
const passwordKey = "password"

// nodeAccount is the ServiceAccount of calico-node, which reads the passwords (confd/pkg/backends/calico/secret_watcher.go).
const nodeAccount = "calico-node"

// defaultASNumber is that of nodes unless BGPConfiguration "default" has another one.
const defaultASNumber = 64512

// bgpPort is where BGP listens (RFC 4271).
const bgpPort = 179

// planning is what plan decides on.
type planning struct {
	want         backends.Desired // with those BGPAdvertisements that are served
	world        world
	installation string
	namespace    string // of calico-node
	has          features
	filters      bool            // Calico has BGPFilters
	recorded     map[string]bool // names of objects of ours, as keyOf makes them
	asNumber     uint32          // of the nodes
	// rest are prefixes of ours in the BGPConfiguration that no announcement covers: of held pools, or about to go. Who hears them
	// stays as it is.
	rest []netip.Prefix
	// going are those of rest that are about to go.
	going []netip.Prefix
	// late are the nodes that have to wait for communities.
	late newcomers
	// narrowing is set while nothing may be shown that was hidden: filters keep the rules that they have.
	narrowing bool
}

// sessions is what there has to be besides the BGPConfiguration: Secrets with their Role and RoleBinding, BGPFilters, BGPPeers.
type sessions struct {
	planning
	prefixes map[string][]netip.Prefix // announced, by pool
	objects  []object
	// keep names objects, as keyOf does, that stay as they are because their peer's password is not known at present.
	keep map[string]bool
	// hides names the pools that an object keeps from a peer, sources the peers that BGPPeers are made from.
	hides   map[string][]string
	sources map[string]backends.Source
	// held are the peers whose sessions are those of somebody else's BGPPeers.
	held     map[backends.Source]bool
	findings []backends.Finding
}

// plan says what sessions want asks for. It is a pure function.
func plan(in planning) *sessions {
	s := &sessions{planning: in, prefixes: map[string][]netip.Prefix{}, keep: map[string]bool{}, hides: map[string][]string{},
		sources: map[string]backends.Source{}, held: map[backends.Source]bool{}}
	for _, a := range in.want.Announcements {
		s.prefixes[a.Pool] = append(s.prefixes[a.Pool], a.Prefix)
	}
	var common []string
	if f := s.remote(); f != nil && len(in.want.Peers) > 0 {
		s.objects = append(s.objects, f)
		common = []string{f.Name}
	}
	for i := range in.want.Peers {
		s.add(&in.want.Peers[i], in.want.Peers[:i], common)
	}
	return s
}

func (s *sessions) report(kind backends.FindingType, p *backends.Peer, field, message string) {
	s.findings = append(s.findings, backends.Finding{Type: kind, Object: p.Source, Field: field, Message: message})
}

// add adds the sessions with one peer: one BGPPeer for each group of nodes that hide the same pools from it. A peer whose password is
// not known at present keeps the one it has; one that was never set up waits for it.
func (s *sessions) add(p *backends.Peer, earlier []backends.Peer, filters []string) {
	if !s.possible(p, earlier) {
		return
	}
	s.refusedFields(p)
	p = s.readable(p)
	if p.Unready != "" && !s.known(p) {
		return
	}
	selector, err := nodeSelector(p.NodeSelectors)
	if err != nil {
		s.report(backends.UnsupportedField, p, "spec.nodeSelectors", err.Error()+": the peer is not set up")
		return
	}
	groups, byName := groupNodes(p, s.want, s.late)
	secret := s.password(p)
	for _, hidden := range slices.Sorted(maps.Keys(groups)) {
		o := &v3.BGPPeer{ObjectMeta: s.meta(groupName(p.Source.Name, hidden, len(groups)), p.Source.String())}
		o.Spec = v3.BGPPeerSpec{
			PeerIP: netip.AddrPortFrom(p.Address.Unmap(), p.Port).String(), ASNumber: numorstring.ASNumber(p.PeerASN), NodeSelector: selector,
			LocalASNumber: s.localAS(p),
		}
		if p.Port == 0 || p.Port == bgpPort {
			o.Spec.PeerIP = p.Address.Unmap().String()
		}
		switch {
		case byName:
			o.Spec.NodeSelector = selectNames(groups[hidden])
		case selector == "":
			// A BGPPeer without a selector is another session to BIRD than one with a selector (confd/etc/calico/confd/templates):
			// each node would set it up anew when the first selector comes.
			o.Spec.NodeSelector = every
		}
		if secret != nil {
			o.Spec.Password = &v3.BGPPassword{SecretKeyRef: secret}
		}
		if f := s.hide(p, o, hidden); f != nil {
			o.Spec.Filters = []string{f.Name}
			s.objects = append(s.objects, f)
		}
		o.Spec.Filters = append(o.Spec.Filters, filters...)
		s.objects = append(s.objects, o)
		s.sources[keyOf(v3.KindBGPPeer, "", o.Name)] = p.Source
		if hidden != "" {
			pools := strings.Split(hidden, ",")
			s.hides[keyOf(v3.KindBGPPeer, "", o.Name)], s.hides[keyOf(v3.KindBGPFilter, "", o.Name)] = pools, pools
		}
	}
}

// readable returns the peer, or, if BIRD could not read its password, one that has none at present: BIRD's strings end at a quote and
// have no way to write one (conf/cf-lex.l), and a configuration that it cannot read freezes every session of every node.
func (s *sessions) readable(p *backends.Peer) *backends.Peer {
	if !strings.ContainsRune(p.Password, '"') {
		return p
	}
	q := *p
	q.Password, q.Unready = "", "the password has a quote"
	then := "the peer is not set up"
	if s.known(p) {
		then = "the peer keeps the password that it has"
	}
	s.findings = append(s.findings, backends.Finding{
		Type: backends.PeerNotReady, Object: p.Source, Field: "spec.password", Missing: true,
		Message: fmt.Sprintf("the password has a quote (\"), which Calico's BIRD cannot read: %s; use a password without it", then),
	})
	return &q
}

// known reports whether sessions with a peer were set up before, for whatever groups of nodes.
func (s *sessions) known(p *backends.Peer) bool {
	stem := keyOf(v3.KindBGPPeer, "", objectName(p.Source.Name))
	for key := range s.recorded {
		rest, ok := strings.CutPrefix(key, stem)
		if ok && (rest == "" || len(rest) == 1+hashLength && rest[0] == '-') {
			return true
		}
	}
	return false
}

// localAS returns the AS number of this side; nil if that is up to the nodes.
func (s *sessions) localAS(p *backends.Peer) *numorstring.ASNumber {
	local, field := p.MyASN, "spec.myASN"
	if p.LocalASN != 0 {
		local, field = p.LocalASN, "spec.localASN"
	}
	if s.has.localAS {
		return new(numorstring.ASNumber(local))
	}
	if local != s.asNumber && !slices.ContainsFunc(s.findings, func(f backends.Finding) bool {
		return f.Object == p.Source && f.Field == field
	}) {
		s.report(backends.UnsupportedField, p, field,
			fmt.Sprintf("not used: this Calico has no BGPPeer spec.localASNumber, so that its nodes show their own AS number, "+
				"which is %d unless a node has another one; set spec.asNumber of BGPConfiguration %q", s.asNumber, defaultName))
	}
	return nil
}

// possible reports whether the sessions can be set up, and would be those that the user means. earlier are peers that come first.
func (s *sessions) possible(p *backends.Peer, earlier []backends.Peer) bool {
	switch {
	case len(p.FromNode) > 0:
		s.report(backends.UnsupportedField, p, "metadata.annotations["+p.FromNode[0]+"]",
			"a BGPPeer of Calico is the same on every node: the peer is not set up; "+
				"make one for each rack, with nodeSelectors, or have the speakers advertise")
		return false
	case !p.Address.IsValid():
		s.report(backends.UnsupportedField, p, "spec.interface",
			fmt.Sprintf("Calico cannot find a peer behind interface %q: the peer is not set up; set peerAddress", p.Interface))
		return false
	case p.VRF != "":
		s.report(backends.UnsupportedField, p, "spec.vrf",
			fmt.Sprintf("Calico has sessions in the main routing table only, where %s may be another router than in VRF %q: "+
				"the peer is not set up", p.Address, p.VRF))
		return false
	case p.PeerASN == 0:
		s.report(backends.UnsupportedField, p, "spec.dynamicASN", "Calico needs the AS number of the peer: the peer is not set up; set peerASN")
		return false
	}
	for _, f := range s.world.foreign {
		if addr, ok := sessionOf(&f); ok && addr == endpoint(p) {
			s.report(backends.PeerExists, p, "spec.peerAddress", fmt.Sprintf("BGPPeer %q of Calico holds this session already and is left to it: "+
				"no second one is made, because Calico would run only one of them", f.Name))
			s.held[p.Source] = true
			return false
		}
	}
	for i := range earlier {
		if e := &earlier[i]; endpoint(e) == endpoint(p) && s.meet(e, p) {
			s.report(backends.PeerExists, p, "spec.peerAddress",
				fmt.Sprintf("%s has the same address and port and a node in common: the peer is not set up, "+
					"because Calico would run only one of the two; change one's nodeSelectors", e.Source))
			return false
		}
	}
	return true
}

// meet reports whether a node holds sessions with both.
func (s *sessions) meet(a, b *backends.Peer) bool {
	return slices.ContainsFunc(s.want.Nodes, func(n backends.Node) bool { return a.SelectsNode(n.Labels) && b.SelectsNode(n.Labels) })
}

// endpoint returns what Calico tells the sessions of a node apart by (confd/pkg/backends/calico/client.go).
func endpoint(p *backends.Peer) netip.AddrPort {
	port := p.Port
	if port == 0 {
		port = bgpPort
	}
	return netip.AddrPortFrom(p.Address.Unmap(), port)
}

// sessionOf returns the same of a BGPPeer; false if it names no address.
func sessionOf(f *v3.BGPPeer) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddrPort(f.Spec.PeerIP); err == nil {
		return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), true
	}
	addr, err := netip.ParseAddr(strings.Trim(f.Spec.PeerIP, "[]"))
	return netip.AddrPortFrom(addr.Unmap(), bgpPort), err == nil
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
		{p.DualStack, "spec.dualStackAddressFamily",
			"not used: a session of Calico carries the routes of its own family; use one for each family"},
		{p.DisableMP, "spec.disableMP", "not used: a session of Calico carries the routes of its own family anyway"},
	} {
		if f.set {
			s.report(backends.UnsupportedField, p, f.field, f.message)
		}
	}
}

// password adds a copy of the password that calico-node may read, and returns where it is; nil if there is none.
func (s *sessions) password(p *backends.Peer) *corev1.SecretKeySelector {
	name := objectName("bgppeer", p.Source.Name)
	ref := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: passwordKey}
	if p.Unready != "" {
		if !s.recorded[keyOf("Secret", s.namespace, name)] {
			return nil
		}
		for _, kind := range []string{"Secret", "Role", "RoleBinding"} {
			s.keep[keyOf(kind, s.namespace, name)] = true
		}
		return ref
	}
	if p.Password == "" {
		return nil
	}
	meta := s.meta(name, p.Source.String())
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
	return ref
}

// meta returns the metadata of an object; source is the user's that it was made from, empty if there are several.
func (s *sessions) meta(name, source string) metav1.ObjectMeta {
	out := metav1.ObjectMeta{Name: name, Labels: backends.OwnLabels(s.installation)}
	if source != "" {
		out.Annotations = map[string]string{backends.AnnotationSource: source}
	}
	return out
}
