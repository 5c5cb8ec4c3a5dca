package delegate

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// judging is what verdicts are formed from.
type judging struct {
	rollNews, sessionNews atomic.Bool // others may be alive than before; sessions have changed

	mu        sync.Mutex // held while verdicts are formed; protects all the following
	table     *announce.VerdictTable
	snapshot  *config.Snapshot // that the table goes by, as choice
	choice    announce.Choice
	changes   *observe.Changes
	present   map[string]presence.Links
	silent    map[string]bool
	sessions  map[announce.NodePeer]bool
	unsettled map[judged]time.Time // of which another verdict is shown than was formed: when it is looked at again, without news
	flaps     calm[judged]         // of verdicts by BGP
	steady    steady
	begun     bool // verdicts have been formed before
}

// judge takes in what has changed, forms the verdicts anew that depend on it, and has those Services reconsidered that have another one. It
// returns when to judge again although there is no news; 0: it need not.
func (s *speakers) judge() (again time.Duration) {
	j := &s.judging
	j.mu.Lock()
	defer j.mu.Unlock()
	s.mu.Lock()
	cluster, snapshot, choice := s.cluster, s.snapshot, s.choice
	s.mu.Unlock()
	if cluster == nil || snapshot == nil {
		return 0
	}
	if err := s.takeIn(cluster, snapshot, choice); err != nil {
		s.log.Error("what the speakers do is not known", "err", err)
		return judgeEvery
	}
	now, todo := time.Now(), map[judged]bool{}
	for _, id := range j.table.Decide() {
		todo[judged{kindL2, id}], todo[judged{kindBGP, id}] = true, true
	}
	for k, due := range j.unsettled {
		if left := due.Sub(now); left <= 0 {
			todo[k] = true
		} else if !todo[k] {
			again = wake.Sooner(again, left)
		}
	}
	var others []judged
	s.mu.Lock()
	if s.verdicts == nil {
		s.verdicts, s.mum = map[judged]announce.Verdict{}, map[judged]bool{}
	}
	for k := range todo {
		another, wait := s.show(k, now)
		if another {
			others = append(others, k)
		}
		again = wake.Sooner(again, wait)
	}
	s.pending, s.alive = j.table.Pending(), slices.Sorted(maps.Keys(j.present))
	s.mu.Unlock()
	j.begun = true
	j.flaps.forget(now)
	for _, k := range others {
		s.reconsider(allocator.Owner{Namespace: k.Namespace, Name: k.Name})
	}
	if len(others) > 0 {
		s.judgedAnew()
	}
	return again
}

// takeIn hands to the table what has changed.
func (s *speakers) takeIn(cluster *observe.Cluster, snapshot *config.Snapshot, choice announce.Choice) error {
	j := &s.judging
	if j.changes == nil {
		j.changes, j.table = cluster.Watch(), announce.NewVerdictTable()
		j.unsettled, j.flaps, j.steady = map[judged]time.Time{}, calm[judged]{}, newSteady()
	}
	if j.snapshot != snapshot || j.choice != choice {
		j.snapshot, j.choice = snapshot, choice
		j.table.Configure(snapshot, func(a *config.L2Advertisement) bool { return choice.L2Backend(a) == Speaker },
			func(a *config.BGPAdvertisement) bool { return choice.Backend(a) == Speaker })
	}
	others, err := s.callRoll()
	if err != nil {
		return err
	}
	j.changes.Take(j.table.SetService, func(name string, n *announce.Node) {
		j.table.SetNode(name, n)
		if n == nil {
			s.burial.news.Store(true)
		}
	})
	if s.said.take(others, j.silent, j.table.SetTold) {
		j.steady.told = time.Now()
	}
	return s.readSessions()
}

// callRoll takes in which speakers there are, if that may be others than before. It reports whether others are silent.
func (s *speakers) callRoll() (silence bool, err error) {
	j := &s.judging
	if !j.rollNews.Swap(false) && s.attendance.wait(time.Now()) == 0 {
		return false, nil
	}
	var leases coordinationv1.LeaseList
	if err := s.cache.List(context.Background(), &leases, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
		j.rollNews.Store(true)
		return false, err
	}
	present, silent := s.attendance.call(leases.Items, time.Now())
	ignore := false
	for node, links := range present {
		ignore = ignore || links.IgnoreExclude
		if was, is := j.present[node]; !is || was.String() != links.String() {
			j.table.SetSpeaker(node, &announce.Speaker{Links: links.Links, SameSubnet: links.SameSubnet}, links.NoServiceBGPStatus)
		}
	}
	for node := range j.present {
		if _, is := present[node]; !is {
			j.table.SetSpeaker(node, nil, false)
		}
	}
	j.table.IgnoreExclude(ignore)
	silence = !maps.Equal(silent, j.silent)
	j.present, j.silent = present, silent
	return silence, nil
}

// readSessions takes in how the speakers' sessions are, if there is news of any.
func (s *speakers) readSessions() error {
	j := &s.judging
	if !j.sessionNews.Swap(false) {
		return nil
	}
	var list v1alpha1.BGPSessionList
	if err := s.cache.List(context.Background(), &list, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
		j.sessionNews.Store(true)
		return err
	}
	now := map[announce.NodePeer]bool{}
	for i := range list.Items {
		if ofCNI(&list.Items[i]) {
			continue
		}
		x := &list.Items[i].Status
		id := announce.NodePeer{Node: x.Node, Peer: x.Peer}
		now[id] = true
		j.table.SetSession(id, &announce.Session{Up: x.State == backends.Established, Error: x.LastError})
	}
	for id := range j.sessions {
		if !now[id] {
			j.table.SetSession(id, nil)
		}
	}
	j.sessions = now
	return nil
}

// show has the verdict that was formed be the one that is shown, unless that is to wait; it reports whether another one is shown now, and
// when to look at it again; 0: not before there is news. s.mu is held.
func (s *speakers) show(k judged, now time.Time) (another bool, again time.Duration) {
	formed, is := s.judging.table.Local(k.NamespacedName)
	if k.kind == kindBGP {
		formed, is = s.judging.table.Routed(k.NamespacedName)
	}
	was, known := s.verdicts[k]
	known = known && !s.mum[k]
	delete(s.mum, k)
	if !is {
		delete(s.verdicts, k)
		delete(s.judging.steady.since, k)
		delete(s.judging.unsettled, k)
		return false, 0
	}
	v := formed
	delete(s.judging.unsettled, k)
	switch {
	case !known:
		if again = s.keepMum(k, formed, now); again > 0 {
			s.mum[k] = true
		}
	case k.kind == kindBGP:
		v, again = s.settle(k, was, formed, now)
	}
	if again > 0 {
		s.judging.unsettled[k] = now.Add(again)
	}
	s.verdicts[k] = v
	return !s.mum[k] && (v != was || !known), again
}

// keepMum returns for how long nothing is shown yet of a Service that is new: while it waits for the speakers, or for the rest of them. What
// there is at the start is not new.
func (s *speakers) keepMum(k judged, formed announce.Verdict, now time.Time) time.Duration {
	switch {
	case !s.judging.begun:
		return 0
	case formed.Reason == announce.ReasonPending:
		return s.judging.steady.hold(k, now)
	case k.kind == kindBGP:
		return s.judging.steady.wait(k, announce.Verdict{Reason: announce.ReasonPending}, formed, s.complete(k), now)
	}
	delete(s.judging.steady.since, k)
	return 0
}

func (s *speakers) complete(k judged) func() bool {
	return func() bool { return s.judging.table.Complete(k.NamespacedName) }
}

// settle returns which verdict by BGP is shown where another one was, and when it is to be looked at again; 0: not before there is news.
func (s *speakers) settle(k judged, was, formed announce.Verdict, now time.Time) (shown announce.Verdict, again time.Duration) {
	if formed.Reason == announce.ReasonNoSession && was.Reason == formed.Reason {
		formed = was // errors may be others with each attempt
	}
	if wait := s.judging.steady.wait(k, was, formed, s.complete(k), now); wait > 0 {
		return was, wait
	}
	if formed.Reason != was.Reason && s.judging.table.Spoken(k.NamespacedName) {
		if wait := s.judging.flaps.wait(k, now); wait > 0 { // it notes what is told, so it is asked last
			return was, wait
		}
	}
	return formed, 0
}
