package announce

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// hearing is a cluster and what its speakers tell, and the VerdictTable that is told of each change.
type hearing struct {
	*bothRoutes
	nodes      map[string]Node
	speakers   map[string]Speaker
	quiet      map[string]bool
	announcers map[types.NamespacedName][]string
	over       map[types.NamespacedName][]NodePeer
	sessions   map[NodePeer]Session
	ignore     bool
	verdicts   *VerdictTable
	// local and routed are the answers as their caller has them: it asks again only for what Decide returns.
	local, routed map[types.NamespacedName]Verdict
	willing       map[types.NamespacedName]bool // of the Services that somebody advertises: everybody does who is to
	complete      int
}

func newHearing(seed uint64) *hearing {
	h := &hearing{
		bothRoutes: newBothRoutes(seed, false, false), nodes: map[string]Node{}, speakers: map[string]Speaker{}, quiet: map[string]bool{},
		announcers: map[types.NamespacedName][]string{}, over: map[types.NamespacedName][]NodePeer{}, sessions: map[NodePeer]Session{},
		verdicts: NewVerdictTable(), local: map[types.NamespacedName]Verdict{}, routed: map[types.NamespacedName]Verdict{},
	}
	h.configureAll()
	return h
}

func servesL2(*config.L2Advertisement) bool { return true }

func (h *hearing) configureAll() {
	h.configure()
	h.verdicts.Configure(h.in.Snapshot, servesL2, h.in.Serves)
}

func (h *hearing) ignoreExclude() {
	h.ignore = !h.ignore
	h.verdicts.IgnoreExclude(h.ignore)
}

func (h *hearing) anyService(change func()) {
	before := maps.Clone(h.services)
	change()
	for id := range before {
		if _, is := h.services[id]; !is {
			h.verdicts.SetService(id, nil)
		}
	}
	for id, s := range h.services {
		if was, is := before[id]; !is || !assert.ObjectsAreEqual(was, s) {
			h.verdicts.SetService(id, &s)
		}
	}
}

func (h *hearing) anyNode() {
	name := h.one(walkNodes...)
	if h.r.IntN(8) == 0 {
		delete(h.nodes, name)
		h.verdicts.SetNode(name, nil)
		return
	}
	n := Node{Labels: labels.Set{"kubernetes.io/hostname": h.one(name, name, name, "n1", "n2")}, NotReady: h.rarely(), NetworkUnavailable: h.r.IntN(8) == 0}
	if h.r.IntN(8) == 0 {
		n.Labels[excludeLabel] = ""
	}
	h.nodes[name] = n
	h.verdicts.SetNode(name, &n)
}

func (h *hearing) anySpeaker() {
	name := h.one(walkNodes...)
	if h.rarely() {
		delete(h.speakers, name)
		h.verdicts.SetSpeaker(name, nil, false)
		return
	}
	s := Speaker{Links: []backends.Link{{Name: "eth0", IPv4: true, IPv6: h.rarely()}}}
	h.speakers[name], h.quiet[name] = s, h.r.IntN(6) == 0
	h.verdicts.SetSpeaker(name, &s, h.quiet[name])
}

func (h *hearing) tell() {
	id := types.NamespacedName{Namespace: h.one("default", "other"), Name: fmt.Sprint("s", h.r.IntN(6))}
	h.announcers[id], h.over[id] = nil, nil
	for range h.r.IntN(3) {
		h.announcers[id] = append(h.announcers[id], h.one(walkNodes...))
	}
	for range h.r.IntN(4) {
		h.over[id] = append(h.over[id], h.session())
	}
	h.verdicts.SetTold(id, slices.Clone(h.announcers[id]), slices.Clone(h.over[id]))
}

func (h *hearing) session() NodePeer {
	return NodePeer{Node: h.one(walkNodes...), Peer: h.one("tor-a", "tor-b", "tor-c")}
}

func (h *hearing) anySession() {
	id := h.session()
	if h.rarely() {
		delete(h.sessions, id)
		h.verdicts.SetSession(id, nil)
		return
	}
	s := Session{Up: h.r.IntN(2) == 0, Error: h.one("", "", "refused")}
	h.sessions[id] = s
	h.verdicts.SetSession(id, &s)
}

// say is what docs/reasons.md and the comments of VerdictTable promise to say, worked out from everything.
func (h *hearing) say() (local, routed map[types.NamespacedName]Verdict, pending int) {
	all := slices.SortedFunc(maps.Values(h.services), func(x, y Service) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	placed := Place(LocalInput{Snapshot: h.in.Snapshot, Serves: servesL2, Services: all, Nodes: h.nodes, Speakers: h.speakers, IgnoreExclude: h.ignore, Sticky: true})
	by := map[string]RoutesDecision{}
	for name := range h.speakers {
		in := RoutesInput{Snapshot: h.in.Snapshot, Serves: h.in.Serves, Services: all, Self: name, IgnoreExclude: h.ignore}
		if n, is := h.nodes[name]; is {
			in.Node = &n
		}
		by[name] = Routes(in)
	}
	local, routed, h.willing = map[types.NamespacedName]Verdict{}, map[types.NamespacedName]Verdict{}, map[types.NamespacedName]bool{}
	serve := slices.ContainsFunc(h.in.Snapshot.BGPAdvertisements(), h.in.Serves)
	for _, s := range all {
		local[s.ID()] = h.sayLocally(s, placed)
		if local[s.ID()].Reason == ReasonPending {
			pending++
		}
		if !serve {
			continue
		}
		over := slices.Clone(h.over[s.ID()])
		for name := range h.speakers {
			for _, p := range by[name].Peers[s.ID()] {
				if h.quiet[name] {
					over = append(over, NodePeer{name, p})
				}
			}
		}
		slices.SortFunc(over, func(a, b NodePeer) int { return strings.Compare(a.Node+" "+a.Peer, b.Node+" "+b.Peer) })
		if over = slices.Compact(over); len(over) > 0 {
			routed[s.ID()] = SpokenTo(h.in.Snapshot, s.Addrs, over, h.sessions)
			h.willing[s.ID()] = h.everybody(s, by, over)
			continue
		}
		v, willing := h.sayRefused(s, by)
		if routed[s.ID()] = v; willing {
			pending++
		}
	}
	return local, routed, pending
}

// everybody reports whether all nodes say that they advertise a Service that are to.
func (h *hearing) everybody(s Service, by map[string]RoutesDecision, over []NodePeer) bool {
	says := map[string]bool{}
	for _, x := range over {
		says[x.Node] = true
	}
	for name := range h.speakers {
		if by[name].Peers[s.ID()] != nil && !says[name] {
			return false
		}
	}
	return true
}

func (h *hearing) sayLocally(s Service, placed Decision) Verdict {
	if v, refused := placed.Refusals[s.ID()]; refused {
		return v
	}
	v := Verdict{}
	var missing []string
	nodes := h.announcers[s.ID()]
	for _, addr := range s.Addrs {
		switch p := placed.Placements[addr]; {
		case p == nil:
		case p.Node == "":
			missing = append(missing, fmt.Sprintf("%s: %s", addr, p.Message))
			if v.Reason == "" {
				v = Verdict{Status: metav1.ConditionFalse, Reason: p.Reason}
			}
		case len(nodes) == 0:
			v = Verdict{metav1.ConditionUnknown, ReasonPending, fmt.Sprintf("node %q is to announce %s and has not said so yet", p.Node, addr)}
		}
	}
	if len(nodes) > 0 && len(missing) < len(s.Addrs) {
		names := map[string]bool{}
		for _, n := range nodes {
			names[fmt.Sprintf("%q", n)] = true
		}
		v = Verdict{metav1.ConditionTrue, ReasonAdvertised, "speaker: announced on the local network from node " + strings.Join(slices.Sorted(maps.Keys(names)), ", ")}
	}
	if v.Message != "" {
		missing = append([]string{v.Message}, missing...)
	}
	v.Message = strings.Join(missing, "; ")
	return v
}

// sayRefused asks every speaker; where traffic goes to nodes with an endpoint, only those, if there are any.
func (h *hearing) sayRefused(s Service, by map[string]RoutesDecision) (_ Verdict, willing bool) {
	if len(by) == 0 {
		return Verdict{metav1.ConditionFalse, ReasonNoSpeaker, "no speaker is alive"}, false
	}
	asked := slices.Sorted(maps.Keys(by))
	if s.Local {
		some := slices.DeleteFunc(slices.Clone(asked), func(n string) bool { return !s.Endpoints.Nodes[n] })
		if len(some) > 0 {
			asked = some
		}
	}
	because := map[string]string{}
	for _, n := range asked {
		v, refused := by[n].Refusals[s.ID()]
		if !refused {
			return Verdict{metav1.ConditionUnknown, ReasonPending, "no speaker has said yet that it advertises the addresses by BGP"}, true
		}
		if old, is := because[v.Reason]; !is || v.Message < old {
			because[v.Reason] = v.Message
		}
	}
	var reasons, messages []string
	for _, r := range slices.Sorted(maps.Keys(because)) {
		reasons, messages = append(reasons, r), append(messages, because[r])
	}
	if len(reasons) > 1 {
		reasons = []string{ReasonNotAnnounced}
	}
	return Verdict{metav1.ConditionFalse, reasons[0], strings.Join(messages, "; ")}, false
}

func (h *hearing) compareAll(t *testing.T, after string) {
	local, routed, pending := h.say()
	for _, id := range h.verdicts.Decide() {
		delete(h.local, id)
		delete(h.routed, id)
		if v, is := h.verdicts.Local(id); is {
			h.local[id] = v
		}
		if v, is := h.verdicts.Routed(id); is {
			h.routed[id] = v
		}
	}
	if len(routed) == 0 {
		clear(h.routed) // the caller asks for none
	}
	require.Equal(t, local, h.local, after)
	require.Equal(t, routed, h.routed, after)
	require.Equal(t, pending, h.verdicts.Pending(), after)
	for id := range h.services {
		if h.verdicts.Complete(id) {
			assert.True(t, h.willing[id], "%s %s", after, id)
			h.complete++
		} else if h.willing[id] {
			assert.NotEmpty(t, h.verdicts.prefixes.group(id), "%s %s", after, id)
		}
	}
	for _, v := range routed {
		h.judged[v.Reason]++
	}
	for _, v := range local {
		h.judged[v.Reason+" locally"]++
	}
}

// TestVerdictTable walks at random through what the controller is told of, one change or several at a time: at each step the VerdictTable says
// what is to be said, and names what is new.
func TestVerdictTable(t *testing.T) {
	judged := map[string]int{}
	for seed := range uint64(12) {
		h := newHearing(seed)
		steps := map[string]func(){
			"configure": h.configureAll, "exclude": h.ignoreExclude, "service": func() { h.anyService(h.service) },
			"little": func() { h.anyService(h.little) }, "node": h.anyNode, "speaker": h.anySpeaker, "tell": h.tell, "session": h.anySession,
		}
		names := []string{"service", "service", "little", "little", "node", "speaker", "speaker", "tell", "tell", "session", "session", "nothing"}
		h.walk(t, seed, 200, steps, names, []string{"configure", "configure", "exclude"}, func(after string) { h.compareAll(t, after) })
		if t.Failed() {
			return
		}
		assert.Positive(t, h.complete)
		for reason, n := range h.judged {
			judged[reason] += n
		}
	}
	for _, reason := range []string{
		ReasonAdvertised, ReasonPending, ReasonNoSession, ReasonNoPeer, ReasonNoSpeaker, ReasonNoEndpoints, ReasonNoLocalEndpoints, ReasonNotAnnounced,
		ReasonConflictingAdvertisements, ReasonNodeNotSelected, ReasonServiceNotSelected, ReasonAdvertised + " locally", ReasonPending + " locally",
	} {
		assert.Greater(t, judged[reason], 5, "%s: the walk is to come by it; %v", reason, judged)
	}
}

// TestNothingToSay: a VerdictTable that nothing has happened to looks at nothing.
func TestNothingToSay(t *testing.T) {
	h := newHearing(1)
	for range 20 {
		h.anyService(h.service)
		h.anyNode()
		h.anySpeaker()
	}
	h.compareAll(t, "")
	assert.Empty(t, h.verdicts.Decide())
}

// TestQuietSession: what nodes do not say to advertise is judged by their sessions as they are, also after nothing was advertised for a while.
func TestQuietSession(t *testing.T) {
	table := NewVerdictTable()
	table.Configure(announcedBoth(), servesL2, func(*config.BGPAdvertisement) bool { return true })
	table.SetNode("n1", &Node{})
	table.SetSpeaker("n1", &Speaker{}, true)
	session := NodePeer{"n1", "main"}
	table.SetSession(session, &Session{Up: true})
	is := func(serves bool) string {
		s := service(0)
		s.Endpoints.Any = serves
		table.SetService(s.ID(), s)
		table.Decide()
		v, _ := table.Routed(s.ID())
		return v.Reason
	}
	assert.Equal(t, ReasonAdvertised, is(true))
	assert.Equal(t, ReasonNoEndpoints, is(false))
	table.SetSession(session, &Session{Error: "closed"})
	assert.Equal(t, ReasonNoEndpoints, is(false))
	assert.Equal(t, ReasonNoSession, is(true))
	assert.Equal(t, ReasonNoEndpoints, is(false))
	table.SetSession(session, &Session{Up: true})
	assert.Equal(t, ReasonAdvertised, is(true))
}

// BenchmarkVerdictTable is 10,000 Services and 500 nodes, each with a speaker: the whole from nothing, and one change of each kind.
func BenchmarkVerdictTable(b *testing.B) {
	const services, nodes = 10_000, 500
	for _, of := range []string{"layer 2", "BGP", "BGP, nobody says"} {
		o := config.Objects{Pools: []v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"2001:db8::/64"}},
		}}}
		if of == "layer 2" {
			o.L2Advertisements = []v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "adv"}}}
		} else {
			o.BGPAdvertisements = []v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "adv"}}}
			o.BGPPeers = []v1beta2.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "2001:db8:1::1"}}}
		}
		snapshot := config.Build(o, nil)
		quiet := of == "BGP, nobody says"
		speaker := &Speaker{Links: []backends.Link{{Name: "eth0", IPv4: true, IPv6: true}}}
		var over []NodePeer
		fill := func() *VerdictTable {
			t := NewVerdictTable()
			t.Configure(snapshot, servesL2, func(*config.BGPAdvertisement) bool { return true })
			over = nil
			for i := range nodes {
				name := fmt.Sprintf("node-%03d", i)
				t.SetNode(name, &Node{Labels: labels.Set{"kubernetes.io/hostname": name}})
				t.SetSpeaker(name, speaker, quiet)
				over = append(over, NodePeer{name, "tor"})
				t.SetSession(over[i], &Session{Up: true})
			}
			for i := range services {
				s := service(i)
				t.SetService(s.ID(), s)
				switch of {
				case "layer 2":
					t.SetTold(s.ID(), []string{"node-001"}, nil)
				case "BGP":
					t.SetTold(s.ID(), nil, over)
				}
			}
			return t
		}
		b.Run(of+", all", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				t := fill()
				b.StartTimer()
				t.Decide()
			}
		})
		t := fill()
		t.Decide()
		run := func(name string, change func(i int)) {
			b.Run(of+", "+name, func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					change(i)
					t.Decide()
				}
			})
		}
		run("endpoints", func(i int) {
			s := service(i % services)
			s.Endpoints.Any = i%2 == 0
			t.SetService(s.ID(), s)
		})
		if !quiet {
			run("told", func(i int) {
				s := service(i % services)
				if of == "layer 2" {
					t.SetTold(s.ID(), []string{fmt.Sprintf("node-%03d", i%nodes)}, nil)
				} else {
					t.SetTold(s.ID(), nil, over[:nodes-i%2])
				}
			})
		}
		run("session", func(i int) { t.SetSession(over[i%nodes], &Session{Up: i%2 == 0}) })
		run("node-dies-and-returns", func(i int) {
			if i%2 == 0 {
				t.SetSpeaker(fmt.Sprintf("node-%03d", i/2%nodes), nil, false)
			} else {
				t.SetSpeaker(fmt.Sprintf("node-%03d", i/2%nodes), speaker, quiet)
			}
		})
	}
}
