package delegate

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/service"
)

// eventNotServed is the reason of events on advertisements that no backend serves. The reasons of other events are the types of
// findings.
const eventNotServed = "NotServed"

// Metrics are what this package counts.
type Metrics struct {
	findings *prometheus.GaugeVec
	sessions *sessions // nil: none are followed
}

// NewMetrics returns the metrics of a Task; it registers nothing.
func NewMetrics() *Metrics {
	return &Metrics{findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "fairlead_delegation_findings",
		Help: "What the user has to know of what the CNI does with the configuration, by backend, kind of the object in question, and reason.",
	}, []string{"backend", "kind", "reason"})}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.findings.Describe(ch)
	ch <- sessionUp
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.findings.Collect(ch)
	if m.sessions != nil {
		m.sessions.collect(ch)
	}
}

// reported remembers of which findings there was an event already.
type reported struct {
	mu   sync.Mutex
	last map[string][]backends.Finding // by backend
}

// news returns the findings of a backend that were not there the last time.
func (t *reported) news(backend string, all []backends.Finding) []backends.Finding {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[string][]backends.Finding{}
	}
	was := t.last[backend]
	t.last[backend] = all
	return slices.DeleteFunc(slices.Clone(all), func(f backends.Finding) bool { return slices.Contains(was, f) })
}

// heard takes the result of a try.
func (t *Task) heard(r apply.Result) {
	now := announce.Result{Outcome: r.Outcome, Err: r.Err}
	if r.Backend == Speaker {
		now.Services = t.speakers.verdict
	}
	t.mu.Lock()
	was, known := t.results[r.Backend]
	now.Sessions = t.spoken(r.Backend)
	t.results = maps.Clone(t.results) // readers keep the old one
	t.results[r.Backend] = now
	if r.Backend == Cilium && r.Err == nil && r.Outcome != nil {
		t.listed.heard(&r.Want, r.Outcome, time.Now())
	}
	t.mu.Unlock()
	var findings []backends.Finding
	if r.Outcome != nil {
		findings = r.Outcome.Findings
	}
	t.tell(r.Backend, findings)
	if !known {
		t.look() // perhaps that was all there was to learn
	}
	if changed := differences(known, was, now); len(changed) > 0 {
		t.reconsider(context.Background(), func(s *corev1.Service) bool {
			return changed[everyPool] || slices.ContainsFunc(service.PoolsOf(s), func(p string) bool { return changed[p] })
		})
	}
}

// everyPool stands for all pools.
const everyPool = ""

// differences returns the pools whose Services may have another verdict now.
func differences(known bool, was, now announce.Result) map[string]bool {
	a, b := was.Outcome, now.Outcome
	if !known || a == nil || b == nil || (was.Err == nil) != (now.Err == nil) || was.Err != nil && was.Err.Error() != now.Err.Error() ||
		!slices.Equal(a.Classes, b.Classes) || a.OnlyVIP != b.OnlyVIP || !slices.Equal(a.Claims, b.Claims) ||
		a.ClaimsLoadBalancerIP != b.ClaimsLoadBalancerIP ||
		!maps.Equal(a.Unheard, b.Unheard) || !slices.Equal(withheld(a), withheld(b)) {
		return map[string]bool{everyPool: true}
	}
	out := map[string]bool{}
	for pool, p := range b.Pools {
		if a.Pools[pool] != p {
			out[pool] = true
		}
	}
	for pool := range a.Pools {
		if _, still := b.Pools[pool]; !still {
			out[pool] = true
		}
	}
	return out
}

// withheld returns the findings that keep advertisements back.
func withheld(o *backends.Outcome) []backends.Finding {
	return slices.DeleteFunc(slices.Clone(o.Findings), func(f backends.Finding) bool { return !f.Withheld })
}

// tell sends an event for each new finding about an object of the user's, and keeps the metric.
func (t *Task) tell(backend string, findings []backends.Finding) {
	t.metrics.findings.DeletePartialMatch(prometheus.Labels{"backend": backend})
	for _, f := range findings {
		t.metrics.findings.WithLabelValues(backend, f.Object.Kind, string(f.Type)).Inc()
	}
	t.mu.Lock()
	s := t.snapshot
	t.mu.Unlock()
	for _, f := range t.events.news(backend, findings) {
		t.Log.Warn("the CNI does not do all that is asked", "backend", backend, "reason", f.Type, "object", f.Object.String(), "field", f.Field,
			"err", f.Message, "withheld", f.Withheld)
		if ref := refTo(s, f.Object); ref != nil {
			note := f.Message
			if f.Field != "" {
				note = f.Field + ": " + note
			}
			t.Recorder.Eventf(ref, nil, corev1.EventTypeWarning, string(f.Type), "Delegate", "%s: %s", backend, note)
		}
	}
}

// refTo returns a reference to an object of the configuration, nil if it is none.
func refTo(s *config.Snapshot, o backends.Source) *corev1.ObjectReference {
	if s == nil {
		return nil
	}
	is := func(r config.Ref) bool { return r.Kind == o.Kind && r.Namespace == o.Namespace && r.Name == o.Name }
	for _, r := range s.Refs() {
		if is(r) {
			return r.Reference()
		}
	}
	return nil
}

// reportUnserved tells of advertisements that no backend serves.
func (t *Task) reportUnserved(s *config.Snapshot, choice announce.Choice) {
	var findings []backends.Finding
	add := func(r config.Ref, message string) {
		findings = append(findings, backends.Finding{
			Type: eventNotServed, Object: backends.Source{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}, Message: message,
		})
	}
	for _, a := range s.L2Advertisements() {
		if choice.L2Backend(a) == "" && a.Backend == "" && t.Asked.Layer2 != None {
			add(a.Ref, unserved(t.Asked))
		}
		if choice.L2Backend(a) == Calico {
			add(a.Ref, "Calico has no layer 2; nobody announces the addresses on the local network")
		}
	}
	for _, a := range s.BGPAdvertisements() {
		if choice.Backend(a) == "" && a.Backend == "" && t.Asked.BGP != None {
			add(a.Ref, "nobody advertises by BGP: see the Backend object "+None)
		}
	}
	t.tell(None, findings)
}

// Verdict returns the condition fairlead.io/Advertised for a Service that has addresses, nil if nobody is asked to advertise
// anything; claimed says why the CNI's own allocator would replace the addresses, empty if it would not. What the controller before this
// one said stays for as long as this one has not had the time to look.
func (t *Task) Verdict(svc *corev1.Service, held allocator.Assignment) (v *service.Advertised, claimed string) {
	t.mu.Lock()
	s, choice, resolved, results := t.snapshot, t.choice, t.resolved, t.results
	var cnis []*backends.Outcome
	for _, name := range []string{Calico, Cilium} {
		o := results[name].Outcome
		if _, tried := results[name]; !tried {
			o = t.seen[name] // no backend has been at work yet
		}
		cnis = append(cnis, o)
	}
	learning := t.learningLocked()
	t.mu.Unlock()
	x := Subject(svc, held)
	claimed = claimedBy(cnis, x.Class, svc.Spec.LoadBalancerIP != "")
	if s == nil || !resolved {
		if learning {
			v = before(svc, held)
		}
		return v, claimed
	}
	if t.asksNobody(s) {
		return nil, claimed
	}
	now := service.Advertised(announce.Advertised(s, choice, results, x))
	if learning && now.Status == metav1.ConditionUnknown && (now.Reason == announce.ReasonPending || now.Reason == announce.ReasonSessionsUnknown) {
		if was := before(svc, held); was != nil {
			return was, claimed
		}
	}
	return &now, claimed
}

// Subject returns what matters of a Service to whether what it holds is advertised.
func Subject(svc *corev1.Service, held allocator.Assignment) announce.Subject {
	x := announce.Subject{
		Namespace: svc.Namespace, Name: svc.Name, Labels: svc.Labels, Class: service.Class(svc), Pools: held.Pools(), Addrs: held.Addrs(),
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		x.Proxy = x.Proxy || in.IPMode != nil && *in.IPMode == corev1.LoadBalancerIPModeProxy
	}
	return x
}

// asksNobody reports whether nobody is asked to advertise anything.
func (t *Task) asksNobody(s *config.Snapshot) bool {
	return t.Asked.BGP == None && t.Asked.Layer2 == None && !s.NamesBackends()
}

// conflictOf returns what there is to say about the CNI's allocator.
func conflictOf(o *backends.Outcome) string {
	for _, f := range o.Findings {
		if f.Type == backends.IPAMConflict {
			return f.String()
		}
	}
	return "the CNI's own address allocator serves this Service"
}
