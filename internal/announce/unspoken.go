package announce

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// nodeKinds is the nodes with speakers, by what they are to BGPAdvertisements and BGPPeers: those that are alike are asked once.
type nodeKinds struct {
	nodes    map[string]*Node
	speakers map[string]bool // whether they are quiet
	of       map[string]kindKey
	kinds    map[kindKey]*nodeKind
	quiet    int  // how many speakers are
	wasQuiet bool // whether any was before the last update
}

// kindKey says what nodes of a kind have in common.
type kindKey struct {
	quiet bool   // their speakers do not say what they advertise
	look  string // see RoutesInput.look
}

// nodeKind is nodes that are alike.
type nodeKind struct {
	names []string    // sorted
	table *RouteTable // as the first of them sees it; nil: to be made
}

func newNodeKinds() nodeKinds {
	return nodeKinds{nodes: map[string]*Node{}, speakers: map[string]bool{}, of: map[string]kindKey{}, kinds: map[kindKey]*nodeKind{}}
}

// set sets what a Node is. Its annotations, from which settings of BGPPeers may come, are for the node itself to know.
func (k *nodeKinds) set(name string, n *Node) {
	if n == nil {
		delete(k.nodes, name)
		return
	}
	own := *n
	own.Annotations = nil
	k.nodes[name] = &own
}

func (k *nodeKinds) speak(name string, alive, quiet bool) {
	if alive {
		k.speakers[name] = quiet
	} else {
		delete(k.speakers, name)
	}
}

// update puts nodes that have moved, or all, where they belong now; it reports whether that matters to any Service.
func (k *nodeKinds) update(in *RoutesInput, moved map[string]bool, all bool) (changed bool) {
	k.wasQuiet = k.quiet > 0
	if all {
		clear(k.of)
		clear(k.kinds)
		moved = map[string]bool{}
		for name := range k.speakers {
			moved[name] = true
		}
	}
	for name := range moved {
		was, known := k.of[name]
		quiet, alive := k.speakers[name]
		is := kindKey{quiet: quiet}
		if alive {
			at := *in
			at.Node = k.nodes[name]
			is.look = at.look(nil)
		}
		if known == alive && (!alive || was == is) {
			continue
		}
		changed = true
		if known {
			k.leave(name, was)
		}
		if alive {
			k.join(name, is)
		}
	}
	k.quiet = 0
	for key, x := range k.kinds {
		if key.quiet {
			k.quiet += len(x.names)
		}
		if x.table == nil {
			x.table = NewRouteTable(x.names[0], in.IgnoreExclude, false)
			x.table.Configure(in.Snapshot, in.Serves)
			x.table.SetNode(k.nodes[x.names[0]])
			x.table.Decide()
		}
	}
	return changed || all
}

// leave has a node no longer be of a kind. The first of its names answers for it, so the answers are forgotten.
func (k *nodeKinds) leave(name string, key kindKey) {
	x := k.kinds[key]
	x.names, x.table = slices.DeleteFunc(x.names, func(n string) bool { return n == name }), nil
	if len(x.names) == 0 {
		delete(k.kinds, key)
	}
	delete(k.of, name)
}

func (k *nodeKinds) join(name string, key kindKey) {
	x := k.kinds[key]
	if x == nil {
		x = &nodeKind{}
		k.kinds[key] = x
	}
	i, _ := slices.BinarySearch(x.names, name)
	x.names, x.table = slices.Insert(x.names, i, name), nil
	k.of[name] = key
}

// crowd is the sessions over which nodes advertise Services that are alike, and do not say so themselves.
type crowd struct {
	over     []NodePeer
	audience [4]*overhead // by the families of such a Service that nobody else advertises; nil: not worked out yet
}

// unsaid returns over which sessions nodes advertise a Service that do not say so themselves; nil: over none.
func (t *VerdictTable) unsaid(s *Service) *crowd {
	if t.nodes.quiet == 0 || !s.Endpoints.Any {
		return nil
	}
	group := t.prefixes.group(s.ID())
	if !s.Local && len(group) == 0 {
		look := string(t.look(s))
		c := t.crowds[look]
		if c == nil {
			c = t.crowd(s)
			t.crowds[look] = c
		}
		return c
	}
	asked := t.nodes.speakers
	if s.Local {
		asked = s.Endpoints.Nodes
	}
	c := &crowd{}
	for name := range asked {
		if t.nodes.speakers[name] {
			peers, _ := t.ask(name, s, group)
			c.over = append(c.over, sessionsOf(name, peers)...)
		}
	}
	return c
}

// crowd works out over which sessions quiet nodes advertise a Service that depends on no other, and whose traffic goes to all nodes.
func (t *VerdictTable) crowd(s *Service) *crowd {
	c := &crowd{}
	for key, kind := range t.nodes.kinds {
		if !key.quiet {
			continue
		}
		if x := kind.table.resolve(s); x.refusal == nil {
			for _, name := range kind.names {
				c.over = append(c.over, sessionsOf(name, x.peers)...)
			}
		}
	}
	return c
}

// look says what matters to which peers hear a Service that has endpoints: those that look alike are heard by the same ones.
func (t *VerdictTable) look(s *Service) []byte {
	var out []byte
	for _, addr := range s.Addrs {
		if pool := poolOf(t.routes.Snapshot, s.Pools, addr); pool != nil {
			out = append(out, pool.Name...)
		}
		out = append(out, '/', "46"[index(addr.Is6())], ' ')
	}
	for i, a := range t.routes.Snapshot.BGPAdvertisements() {
		if len(a.ServiceSelectors()) > 0 && a.SelectsService(s.Labels) {
			out = append(strconv.AppendInt(out, int64(i), 36), ' ')
		}
	}
	return out
}

func sessionsOf(node string, peers []string) []NodePeer {
	out := make([]NodePeer, len(peers))
	for i, p := range peers {
		out[i] = NodePeer{Node: node, Peer: p}
	}
	return out
}

// ask returns what Routes decides on a Service for one node: the peers that hear it, or why there are none. group are the Services that it
// depends on; none: it depends on none.
func (t *VerdictTable) ask(node string, s *Service, group []Service) ([]string, *Verdict) {
	in := t.routes
	in.Self, in.Node, in.Services = node, t.nodes.nodes[node], group
	if len(group) == 0 {
		in.Services = []Service{*s}
	}
	d := Routes(in)
	if v, refused := d.Refusals[s.ID()]; refused {
		return nil, &v
	}
	return d.Peers[s.ID()], nil
}

// unspoken says why nobody says to advertise a Service by BGP: whether a node is willing to, or for which reasons none is. If traffic goes
// only to nodes with an endpoint, only those are asked, unless none of them has a speaker.
func (t *VerdictTable) unspoken(s *Service) (_ Verdict, willing bool) {
	if len(t.nodes.speakers) == 0 {
		return *refuse(ReasonNoSpeaker, "no speaker is alive"), false
	}
	because := map[string]Verdict{} // by reason, the one with the smallest message
	refused := func(v *Verdict) bool {
		if v == nil {
			return false
		}
		if old, known := because[v.Reason]; !known || v.Message < old.Message {
			because[v.Reason] = *v
		}
		return true
	}
	pending := Verdict{metav1.ConditionUnknown, ReasonPending, "no speaker has said yet that it advertises the addresses by BGP"}
	group := t.prefixes.group(s.ID())
	for name := range t.candidates(s, len(group) > 1) {
		var v *Verdict
		if len(group) > 0 || s.Local {
			_, v = t.ask(name, s, group)
		} else {
			v = t.nodes.kinds[t.nodes.of[name]].table.resolve(s).refusal
		}
		if !refused(v) {
			return pending, true
		}
	}
	if len(because) == 1 {
		for _, v := range because {
			return v, false
		}
	}
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(because)) {
		all = append(all, because[reason].Message)
	}
	return *refuse(ReasonNotAnnounced, "%s", strings.Join(all, "; ")), false
}

// allWilling reports whether all nodes are among some that are to advertise a Service, which depends on no other.
func (t *VerdictTable) allWilling(s *Service, some map[string]bool) bool {
	if s.Local {
		for name := range t.candidates(s, false) {
			if _, no := t.ask(name, s, nil); no == nil && !some[name] {
				return false
			}
		}
		return true
	}
	for _, kind := range t.nodes.kinds {
		if kind.table.resolve(s).refusal == nil && slices.ContainsFunc(kind.names, func(name string) bool { return !some[name] }) {
			return false
		}
	}
	return true
}

// candidates returns the nodes that are asked about a Service: one of each kind, unless each may have another answer.
func (t *VerdictTable) candidates(s *Service, each bool) map[string]bool {
	out := map[string]bool{}
	if s.Local {
		for name := range s.Endpoints.Nodes {
			if _, speaks := t.nodes.speakers[name]; speaks {
				out[name] = true
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, kind := range t.nodes.kinds {
		for i, name := range kind.names {
			if each || i == 0 {
				out[name] = true
			}
		}
	}
	return out
}

// prefixes knows which Services lead to one prefix by BGPAdvertisements that speak against each other: what becomes of one of them depends on
// the others.
type prefixes struct {
	in    *RoutesInput
	calm  bool // no BGPAdvertisement speaks against any other
	leads map[types.NamespacedName][]lead
	at    map[netip.Prefix]*crossing
}

// lead is a BGPAdvertisement that leads to a prefix.
type lead struct {
	prefix netip.Prefix
	ad     *config.BGPAdvertisement
}

// crossing is a prefix to which Services lead.
type crossing struct {
	services map[types.NamespacedName]*Service
	ads      map[*config.BGPAdvertisement]int // how many of the leads are by it
}

func newPrefixes(in *RoutesInput) prefixes {
	p := prefixes{in: in, leads: map[types.NamespacedName][]lead{}, at: map[netip.Prefix]*crossing{}}
	all := map[*config.BGPAdvertisement]int{}
	for _, a := range in.Snapshot.BGPAdvertisements() {
		if in.Serves(a) {
			all[a] = 1
		}
	}
	p.calm = agree(all)
	return p
}

// agree reports whether no BGPAdvertisement speaks against another, should they lead to one prefix.
func agree(ads map[*config.BGPAdvertisement]int) bool {
	var first *config.BGPAdvertisement
	all := map[backends.Community]bool{}
	for a := range ads {
		if first == nil {
			first = a
		}
		if a.LocalPref != first.LocalPref {
			return false
		}
		for _, c := range communities(a.Communities) {
			all[c] = true
		}
	}
	return len(all) <= maxCommunities
}

// set sets a Service, nil: there is none; it returns the others on which this may have a bearing.
func (p *prefixes) set(id types.NamespacedName, s *Service) map[types.NamespacedName]bool {
	if p.calm {
		return nil
	}
	touched := p.related(id)
	p.remove(id)
	if s != nil {
		p.add(id, s)
		maps.Copy(touched, p.related(id))
	}
	return touched
}

func (p *prefixes) remove(id types.NamespacedName) {
	for _, l := range p.leads[id] {
		x := p.at[l.prefix]
		delete(x.services, id)
		if x.ads[l.ad]--; x.ads[l.ad] == 0 {
			delete(x.ads, l.ad)
		}
		if len(x.services) == 0 && len(x.ads) == 0 {
			delete(p.at, l.prefix)
		}
	}
	delete(p.leads, id)
}

func (p *prefixes) add(id types.NamespacedName, s *Service) {
	if p.calm {
		return
	}
	for _, addr := range s.Addrs {
		pool := poolOf(p.in.Snapshot, s.Pools, addr)
		if pool == nil {
			continue
		}
		for _, a := range p.in.Snapshot.BGPAdvertisements() {
			if !a.Selects(pool) || !p.in.Serves(a) || !a.SelectsService(s.Labels) {
				continue
			}
			l := lead{route(a, addr), a}
			x := p.at[l.prefix]
			if x == nil {
				x = &crossing{services: map[types.NamespacedName]*Service{}, ads: map[*config.BGPAdvertisement]int{}}
				p.at[l.prefix] = x
			}
			x.services[id] = s
			x.ads[a]++
			p.leads[id] = append(p.leads[id], l)
		}
	}
}

// related returns the Services that a Service depends on, itself included if there are any.
func (p *prefixes) related(id types.NamespacedName) map[types.NamespacedName]bool {
	out, seen := map[types.NamespacedName]bool{}, map[*crossing]bool{}
	for queue := []types.NamespacedName{id}; len(queue) > 0; queue = queue[1:] {
		for _, l := range p.leads[queue[0]] {
			x := p.at[l.prefix]
			if seen[x] || agree(x.ads) {
				continue
			}
			seen[x] = true
			for other := range x.services {
				if !out[other] {
					out[other] = true
					queue = append(queue, other)
				}
			}
		}
	}
	return out
}

// group returns the Services that are to be decided together with one, which is among them, by namespace and name; none: it depends on none.
func (p *prefixes) group(id types.NamespacedName) []Service {
	if p.calm {
		return nil
	}
	var out []Service
	for other := range p.related(id) {
		out = append(out, *p.at[p.leads[other][0].prefix].services[other])
	}
	slices.SortFunc(out, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}
