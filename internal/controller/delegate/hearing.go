package delegate

import (
	"context"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// sessionsEvery is how often at most sessions are judged: hundreds of nodes may tell of theirs at once, and one may flap.
const sessionsEvery = 500 * time.Millisecond

// look has the sessions of the CNIs judged again.
func (t *Task) look() { t.looked.Set() }

// judgeSessions judges the sessions of the CNIs, and tells of them, until ctx ends.
func (t *Task) judgeSessions(ctx context.Context) error {
	wake.Loop{News: t.looked, Rest: sessionsEvery, First: firstRetry, Last: firstRetry, Failed: func(err error) {
		t.Log.Warn("the CNI's sessions could not be judged", "err", err)
	}}.Run(ctx, t.judgeOnce)
	return nil
}

// judgeOnce returns after which time there is more to judge, 0 for not before there is news.
func (t *Task) judgeOnce(ctx context.Context) (again time.Duration, err error) {
	t.mu.Lock()
	s, choice, resolved := t.snapshot, t.choice, t.resolved
	t.mu.Unlock()
	if s == nil || !resolved {
		return 0, nil
	}
	nodes, err := t.nodes(ctx)
	if err != nil {
		return 0, err
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
		news, later := t.setSessions(name, now, time.Now())
		changed, again = changed || news, wake.Sooner(again, later)
	}
	if changed {
		t.group.Reconsider()
	}
	if learned := t.learned(t.used(s, choice), speak, nodes); learned || changed {
		t.reconsider(ctx, func(*corev1.Service) bool { return true })
	}
	return again, t.publish(ctx, s, nodes, speak)
}

// setSessions notes the verdicts on the sessions of a backend; it reports whether any changed. One that is as it was keeps its message:
// sessions go up and down, and their errors change, and Services are not to be written each time. So does one that has changed too often
// lately, until the time that again says.
func (t *Task) setSessions(backend string, now map[backends.Audience]announce.Verdict, at time.Time) (changed bool, again time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.heardOf[backend]
	for k, v := range now {
		was, known := last[k]
		if known && was.Status == v.Status && was.Reason == v.Reason {
			now[k] = was
		} else if wait := t.flaps.wait(k, at); known && wait > 0 {
			now[k], again = was, wake.Sooner(again, wait)
		}
	}
	t.flaps.forget(at)
	if maps.Equal(last, now) && (last == nil) == (now == nil) {
		return false, again
	}
	t.heardOf[backend] = now
	if r, tried := t.results[backend]; tried {
		r.Sessions = t.spoken(backend)
		t.results = maps.Clone(t.results) // readers keep the old one
		t.results[backend] = r
	}
	return true, again
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
var sessionUp = prometheus.NewDesc("metallb_bgp_session_up", "BGP session state of the CNI: 1 is up, 0 is down.",
	[]string{"backend", "node", "peer"}, nil)

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
