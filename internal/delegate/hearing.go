package delegate

import (
	"context"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
)

// sessionsEvery is how often at most sessions are judged: hundreds of nodes may tell of theirs at once, and one may flap.
const sessionsEvery = 500 * time.Millisecond

// look has the sessions of the CNIs judged again.
func (t *Task) look() {
	select {
	case t.looked <- struct{}{}:
	default:
	}
}

// judgeSessions judges the sessions of the CNIs, and tells of them, until ctx ends.
func (t *Task) judgeSessions(ctx context.Context) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.looked:
		case <-again:
		}
		again = nil
		if err := t.judgeOnce(ctx); err != nil && ctx.Err() == nil {
			t.Log.Warn("the CNI's sessions could not be told of", "err", err)
			again = time.After(firstRetry)
		}
		select {
		case <-ctx.Done():
		case <-time.After(sessionsEvery):
		}
	}
}

func (t *Task) judgeOnce(ctx context.Context) error {
	t.mu.Lock()
	s, choice, resolved := t.snapshot, t.choice, t.resolved
	t.mu.Unlock()
	if s == nil || !resolved {
		return nil
	}
	nodes, err := t.nodes(ctx)
	if err != nil {
		return err
	}
	speak := map[string]bool{}
	for _, name := range speaking(s, choice) {
		speak[name] = name == Calico || name == Cilium
	}
	changed := false
	for _, name := range []string{Calico, Cilium} {
		var now map[backends.Audience]announce.Verdict
		if speak[name] {
			reports, mute := t.sessions.read(name)
			now = announce.Sessions(announce.SessionsInput{
				Snapshot: s, Choice: choice, Backend: name, Managed: t.ManagePeers && len(s.BGPPeers()) > 0, Nodes: nodes, Reports: reports, Mute: mute,
			})
		}
		changed = t.setSessions(name, now) || changed
	}
	if changed {
		t.group.Reconsider()
		t.reconsider(ctx, func(*corev1.Service) bool { return true })
	}
	return t.publish(ctx, s, nodes)
}

// setSessions notes the verdicts on the sessions of a backend; it reports whether any changed. One that is as it was keeps its message:
// sessions go up and down, and their errors change, and Services are not to be written each time.
func (t *Task) setSessions(backend string, now map[backends.Audience]announce.Verdict) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.heardOf[backend]
	for k, v := range now {
		if was, known := last[k]; known && was.Status == v.Status && was.Reason == v.Reason {
			now[k] = was
		}
	}
	if maps.Equal(last, now) && (last == nil) == (now == nil) {
		return false
	}
	t.heardOf[backend] = now
	if r, tried := t.results[backend]; tried {
		r.Sessions = t.spoken(backend)
		t.results = maps.Clone(t.results) // readers keep the old one
		t.results[backend] = r
	}
	return true
}

// spoken returns what the sessions of a backend say: of a CNI nothing, rather than that nobody looks, before they have been looked at. t.mu
// is held.
func (t *Task) spoken(backend string) map[backends.Audience]announce.Verdict {
	if now := t.heardOf[backend]; now != nil || backend != Calico && backend != Cilium {
		return now
	}
	return map[backends.Audience]announce.Verdict{}
}

// sessionUp is MetalLB's series, with the node that holds the session, of which the CNI tells.
var sessionUp = prometheus.NewDesc("metallb_bgp_session_up", "BGP session state of the CNI: 1 is up, 0 is down.", []string{"backend", "node", "peer"}, nil)

func (s *sessions) collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for backend, all := range s.reports {
		for node, r := range all {
			seen := map[string]bool{}
			for _, x := range r.Sessions {
				peer := x.Router.String()
				if seen[peer] {
					continue // two instances speak with one router
				}
				seen[peer] = true
				up := 0.0
				if x.Up {
					up = 1
				}
				ch <- prometheus.MustNewConstMetric(sessionUp, prometheus.GaugeValue, up, backend, node, peer)
			}
		}
	}
}
