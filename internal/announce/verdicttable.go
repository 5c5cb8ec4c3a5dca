package announce

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/config"
)

// VerdictTable is what is to be said of each Service that the speakers are to announce, kept up to date: changes of the cluster and of what the
// speakers tell are handed to it one by one, and Decide works out anew only what depends on them. It is not safe for concurrent use.
type VerdictTable struct {
	local    *Table
	routes   RoutesInput // of no node, and without Services
	routed   bool        // the speakers serve a BGPAdvertisement
	services map[types.NamespacedName]*judged
	told     map[types.NamespacedName]statement
	nodes    nodeKinds
	prefixes prefixes
	sessions map[NodePeer]Session
	audience map[string]*overhead // by what it is over, and the families
	crowds   map[string]*crowd    // by the look of a Service, of those that depend on no other
	pending  int

	anew    bool // everything has changed since the last Decide
	changed map[types.NamespacedName]bool
	set     map[types.NamespacedName]*Service // of the changed ones, those that are others than before
	moved   map[string]bool                   // nodes of which anything has changed
	heard   map[NodePeer]bool                 // sessions that have changed
}

// statement is what the speakers have told of a Service.
type statement struct {
	announcers []string   // nodes that say that they announce it on the local network
	over       []NodePeer // sessions over which nodes say that they advertise it
}

// judged is a Service with what is said of it.
type judged struct {
	*Service
	local, routed   Verdict
	waits, unspoken bool // it is to be announced, and nobody has said so yet: on the local network, by BGP
	over            *overhead
}

// overhead is all Services, of the same families, that are advertised over the same sessions.
type overhead struct {
	key      string
	over     []NodePeer // sorted
	services map[types.NamespacedName]*judged
	verdict  Verdict
}

// NewVerdictTable returns an empty VerdictTable.
func NewVerdictTable() *VerdictTable {
	return &VerdictTable{
		local: NewTable(false, true), services: map[types.NamespacedName]*judged{}, told: map[types.NamespacedName]statement{},
		nodes: newNodeKinds(), sessions: map[NodePeer]Session{}, audience: map[string]*overhead{}, crowds: map[string]*crowd{},
		changed: map[types.NamespacedName]bool{}, set: map[types.NamespacedName]*Service{}, moved: map[string]bool{},
		heard: map[NodePeer]bool{},
	}
}

// Configure puts a configuration in force. local and bgp report whether the speakers serve an advertisement.
func (t *VerdictTable) Configure(s *config.Snapshot, local func(*config.L2Advertisement) bool, bgp func(*config.BGPAdvertisement) bool) {
	t.local.Configure(s, local)
	t.routes.Snapshot, t.routes.Serves, t.anew = s, bgp, true
	t.routed = slices.ContainsFunc(s.BGPAdvertisements(), bgp)
}

// IgnoreExclude sets whether nodes announce in spite of the label that excludes them.
func (t *VerdictTable) IgnoreExclude(yes bool) {
	if t.routes.IgnoreExclude != yes {
		t.local.IgnoreExclude(yes)
		t.routes.IgnoreExclude, t.anew = yes, true
	}
}

// SetService sets what a Service is, with its endpoints; nil if there is none, or it has no address. The VerdictTable keeps it.
func (t *VerdictTable) SetService(id types.NamespacedName, s *Service) {
	t.local.SetService(id, s)
	t.set[id], t.changed[id] = s, true
}

// SetNode sets what a Node is, nil if there is none. The VerdictTable keeps it.
func (t *VerdictTable) SetNode(name string, n *Node) {
	t.local.SetNode(name, n)
	t.nodes.set(name, n)
	t.moved[name] = true
}

// SetSpeaker sets what a speaker tells of itself, nil if it is not alive. quiet is set if it does not say what it advertises by BGP. The
// VerdictTable keeps it.
func (t *VerdictTable) SetSpeaker(node string, s *Speaker, quiet bool) {
	t.local.SetSpeaker(node, s)
	t.nodes.speak(node, s != nil, quiet)
	t.moved[node] = true
}

// SetTold sets which nodes say that they announce a Service on the local network, and over which sessions nodes say that they advertise it.
func (t *VerdictTable) SetTold(id types.NamespacedName, announcers []string, over []NodePeer) {
	if len(announcers)+len(over) == 0 {
		delete(t.told, id)
	} else {
		t.told[id] = statement{announcers, over}
	}
	t.changed[id] = true
}

// SetSession sets how a session is; nil if there is none.
func (t *VerdictTable) SetSession(id NodePeer, s *Session) {
	was, known := t.sessions[id]
	switch {
	case s == nil && known:
		delete(t.sessions, id)
	case s != nil && (!known || was != *s):
		t.sessions[id] = *s
	default:
		return
	}
	t.heard[id] = true
}

// Local returns the verdict on what is announced of a Service on the local network; false if there is no such Service.
func (t *VerdictTable) Local(id types.NamespacedName) (Verdict, bool) {
	if x := t.services[id]; x != nil {
		return x.local, true
	}
	return Verdict{}, false
}

// Routed returns the verdict on what is advertised of a Service by BGP; false if there is no such Service, or the speakers advertise nothing.
func (t *VerdictTable) Routed(id types.NamespacedName) (Verdict, bool) {
	if x := t.services[id]; x != nil && t.routed {
		return x.routed, true
	}
	return Verdict{}, false
}

// Spoken reports whether any node advertises a Service by BGP, as far as the speakers say, or must without saying so.
func (t *VerdictTable) Spoken(id types.NamespacedName) bool {
	x := t.services[id]
	return x != nil && x.over != nil
}

// Complete reports whether every node that is to advertise a Service by BGP says so, or does not say anything. Of Services that depend on others it is never known.
func (t *VerdictTable) Complete(id types.NamespacedName) bool {
	x := t.services[id]
	if x == nil || x.over == nil || len(t.prefixes.group(id)) > 0 {
		return false
	}
	says := map[string]bool{}
	for _, s := range x.over.over {
		says[s.Node] = true
	}
	return t.allWilling(x.Service, says)
}

// Pending returns how many announcements speakers are to make, and have not said to.
func (t *VerdictTable) Pending() int { return t.pending }

// Decide works out what has changed since it was called last. It returns the Services that it looked at, among them all of which a verdict
// is another one, or that are gone. Before Configure it decides nothing.
func (t *VerdictTable) Decide() []types.NamespacedName {
	if t.routes.Snapshot == nil {
		return nil
	}
	_, placed := t.local.Decide()
	local, routed := t.changed, maps.Clone(t.changed)
	for _, id := range placed {
		local[id] = true
	}
	t.replace(local, routed)
	t.listen(routed)
	for id := range local {
		if x := t.services[id]; x != nil {
			t.judgeLocal(x)
		}
	}
	out := local
	if t.routed {
		for id := range routed {
			if x := t.services[id]; x != nil {
				t.judgeRoutes(x)
			}
			out[id] = true
		}
		for _, id := range t.hear() {
			out[id] = true
		}
	}
	t.anew, t.changed = false, map[types.NamespacedName]bool{}
	t.set, t.moved, t.heard = map[types.NamespacedName]*Service{}, map[string]bool{}, map[NodePeer]bool{}
	return slices.Collect(maps.Keys(out))
}

// replace takes in the Services that are others than before, and, if everything is to be looked at, all.
func (t *VerdictTable) replace(local, routed map[types.NamespacedName]bool) {
	for id, s := range t.set {
		x := t.services[id]
		switch {
		case s == nil && x != nil:
			t.forget(x)
			delete(t.services, id)
		case s != nil && x == nil:
			t.services[id] = &judged{Service: s}
		case s != nil:
			x.Service = s
		}
	}
	if t.anew {
		for id := range t.services {
			local[id], routed[id] = true, true
		}
		for id, x := range t.services {
			x.over, x.routed = nil, Verdict{}
			t.count(&x.unspoken, false)
			t.set[id] = x.Service
		}
		clear(t.audience)
		t.prefixes = newPrefixes(&t.routes)
	}
	if !t.routed {
		return
	}
	for id, s := range t.set {
		if t.anew && s != nil {
			t.prefixes.add(id, s)
			continue
		}
		for other := range t.prefixes.set(id, s) {
			routed[other] = true
		}
	}
}

// listen takes in the nodes of which anything has changed. They matter to Services that nobody says to advertise, and to those that nodes
// advertise without saying so.
func (t *VerdictTable) listen(routed map[types.NamespacedName]bool) {
	if !t.routed || !t.nodes.update(&t.routes, t.moved, t.anew) {
		return
	}
	clear(t.crowds)
	for id, x := range t.services {
		if t.nodes.quiet > 0 || t.nodes.wasQuiet || x.over == nil {
			routed[id] = true
		}
	}
}

// hear takes in the sessions that have changed, and returns the Services of which the verdict may be another one.
func (t *VerdictTable) hear() (out []types.NamespacedName) {
	if len(t.heard) == 0 {
		return nil
	}
	for _, o := range t.audience {
		if !slices.ContainsFunc(o.over, func(s NodePeer) bool { return t.heard[s] }) {
			continue
		}
		was := o.verdict
		for _, x := range o.services {
			o.verdict = SpokenTo(t.routes.Snapshot, x.Addrs, o.over, t.sessions)
			break
		}
		if o.verdict == was {
			continue
		}
		for id, x := range o.services {
			x.routed = o.verdict
			out = append(out, id)
		}
	}
	return out
}

// forget removes what is said of a Service.
func (t *VerdictTable) forget(x *judged) {
	t.count(&x.waits, false)
	t.count(&x.unspoken, false)
	t.leave(x)
}

func (t *VerdictTable) count(was *bool, is bool) {
	switch {
	case *was && !is:
		t.pending--
	case !*was && is:
		t.pending++
	}
	*was = is
}

func (t *VerdictTable) leave(x *judged) {
	if x.over == nil {
		return
	}
	delete(x.over.services, x.ID())
	if len(x.over.services) == 0 {
		delete(t.audience, x.over.key)
	}
	x.over = nil
}

// judgeLocal forms the verdict on what is announced of a Service on the local network.
func (t *VerdictTable) judgeLocal(x *judged) {
	x.local = t.taken(x.Service, t.spokenLocally(x.Service))
	t.count(&x.waits, x.local.Reason == ReasonPending)
}

// taken is v, unless a Service is not announced because somebody else has an address of it.
func (t *VerdictTable) taken(s *Service, v Verdict) Verdict {
	if v.Status == metav1.ConditionTrue {
		return v
	}
	for _, addr := range s.Addrs {
		if by := t.routes.Snapshot.Taken(addr); by != "" {
			return *refuse(ReasonAddressTaken, "%s is not announced: %s", addr, by)
		}
	}
	return v
}

func (t *VerdictTable) spokenLocally(s *Service) Verdict {
	if v, refused := t.local.Refusal(s.ID()); refused {
		return v
	}
	nodes := slices.Compact(slices.Sorted(slices.Values(t.told[s.ID()].announcers)))
	var v Verdict
	var missing []string
	for _, addr := range s.Addrs {
		p := t.local.Placement(addr)
		if p == nil {
			continue
		}
		if p.Node == "" {
			missing = append(missing, fmt.Sprintf("%s: %s", addr, p.Message))
			v = cmp.Or(v, Verdict{Status: metav1.ConditionFalse, Reason: p.Reason})
			continue
		}
		if len(nodes) == 0 {
			v = Verdict{metav1.ConditionUnknown, ReasonPending,
				fmt.Sprintf("node %q is to announce %s and has not said so yet", p.Node, addr)}
		}
	}
	if len(nodes) > 0 && len(missing) < len(s.Addrs) {
		v = Verdict{metav1.ConditionTrue, ReasonAdvertised, "speaker: announced on the local network from node " + quoted(nodes)}
	}
	if len(missing) > 0 {
		v.Message = strings.Join(slices.DeleteFunc(append([]string{v.Message}, missing...), func(m string) bool { return m == "" }), "; ")
	}
	return v
}

func quoted(names []string) string {
	b, err := json.Marshal(names)
	if err != nil {
		return fmt.Sprint(names)
	}
	return strings.ReplaceAll(strings.Trim(string(b), "[]"), ",", ", ")
}

// judgeRoutes forms the verdict on what is advertised of a Service by BGP.
func (t *VerdictTable) judgeRoutes(x *judged) {
	o := t.heardOver(x)
	if x.over != o {
		t.leave(x)
	}
	if o == nil {
		var willing bool
		x.routed, willing = t.unspoken(x.Service)
		t.count(&x.unspoken, willing)
		return
	}
	t.count(&x.unspoken, false)
	o.services[x.ID()], x.over, x.routed = x, o, o.verdict
}

// heardOver returns what a Service is advertised over; nil: over no session.
func (t *VerdictTable) heardOver(x *judged) *overhead {
	said, unsaid := t.told[x.ID()].over, t.unsaid(x.Service)
	switch {
	case unsaid == nil:
		return t.overheadOf(x, said)
	case len(said) > 0:
		return t.overheadOf(x, slices.Concat(said, unsaid.over))
	}
	o := &unsaid.audience[families(x.Addrs)]
	if *o == nil || len((*o).services) == 0 {
		*o = t.overheadOf(x, unsaid.over)
	}
	return *o
}

// overheadOf returns what a Service is advertised over, given the sessions.
func (t *VerdictTable) overheadOf(x *judged, over []NodePeer) *overhead {
	if len(over) == 0 {
		return nil
	}
	over = slices.Clone(over)
	slices.SortFunc(over, func(a, b NodePeer) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Peer, b.Peer)) })
	over = slices.Compact(over)
	key := keyOf(x.Addrs, over)
	o := t.audience[key]
	if o == nil {
		o = &overhead{key: key, over: over, services: map[types.NamespacedName]*judged{},
			verdict: SpokenTo(t.routes.Snapshot, x.Addrs, over, t.sessions)}
		t.audience[key] = o
	}
	return o
}

// families numbers which families addresses are of.
func families(addrs []netip.Addr) (out int) {
	for _, a := range addrs {
		out |= 1 << index(a.Is6())
	}
	return out
}

// keyOf names the families of addresses, and sessions.
func keyOf(addrs []netip.Addr, over []NodePeer) string {
	var b strings.Builder
	b.WriteByte(byte('0' + families(addrs)))
	b.WriteByte('\n')
	for _, s := range over {
		b.WriteString(s.Node)
		b.WriteByte(' ')
		b.WriteString(s.Peer)
		b.WriteByte('\n')
	}
	return b.String()
}
