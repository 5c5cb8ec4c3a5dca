package delegate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// judgeEvery is how often at most the Services that speakers serve are looked at.
const judgeEvery = 500 * time.Millisecond

// speakers is the backend that hands advertisements to the speakers: it publishes which they serve, in the Backend object, and
// follows what they make of it. It watches nothing before it is used.
type speakers struct {
	cache      cache.Cache
	client     client.Client
	namespace  string
	secret     func(context.Context) error
	reconsider func(allocator.Owner)
	judgedAnew func() // some verdicts are others than before
	report     func(backends.Outcome)
	log        *slog.Logger
	changed    wake.Signal
	judging    sync.Mutex      // held while verdicts are formed
	following  sync.Mutex      // held while the caches fill, which may take as long as the API server likes
	quiet      map[string]bool // nodes whose speakers do not say what they advertise by BGP; touched while judging is held alone
	attendance attendance
	flaps      calm[judged] // of verdicts by BGP; touched while judging is held, as is steady
	steady     steady

	mu       sync.Mutex // protects all the following
	cluster  *observe.Cluster
	snapshot *config.Snapshot
	choice   announce.Choice
	verdicts map[judged]announce.Verdict
	alive    []string // nodes with a speaker, sorted
	pending  int      // Services that are to be announced and are not yet
}

var _ backends.ClusterBackend = (*speakers)(nil)

// judged is a Service, and the kind of advertisement that a verdict on it is about.
type judged struct {
	kind string
	types.NamespacedName
}

// The kinds of advertisement, as objects.
const (
	kindBGP = "BGPAdvertisement"
	kindL2  = "L2Advertisement"
)

// set puts a configuration in force.
func (s *speakers) set(snapshot *config.Snapshot, choice announce.Choice) {
	s.mu.Lock()
	s.snapshot, s.choice = snapshot, choice
	s.mu.Unlock()
	s.wake()
}

func (s *speakers) wake() { s.changed.Set() }

// Apply publishes what the speakers are to serve. It is in progress until they announce all that can be announced, so that who
// served it before goes on until then.
func (s *speakers) Apply(ctx context.Context, want backends.Desired) error {
	if len(want.L2Advertisements)+len(want.BGPAdvertisements) == 0 {
		s.report(backends.Outcome{})
		return nil
	}
	if err := s.secret(ctx); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	s.judge()
	s.mu.Lock()
	alive, pending := s.alive, s.pending
	s.mu.Unlock()
	out := backends.Outcome{IgnoresServices: true, Facts: []backends.Fact{{Name: "speakers", Value: fmt.Sprint(len(alive)),
		Source: "Leases of the speakers"}}}
	var sources []backends.Source
	for _, a := range want.L2Advertisements {
		sources = append(sources, a.Source)
	}
	for _, a := range want.BGPAdvertisements {
		sources = append(sources, a.Source)
	}
	for _, source := range sources {
		out.Owned = append(out.Owned, source.String())
		if len(alive) == 0 {
			out.Findings = append(out.Findings, backends.Finding{Type: backends.BackendInactive, Object: source,
				Message: "no speaker runs; nobody announces the addresses"})
		}
	}
	slices.Sort(out.Owned)
	s.report(out)
	if len(alive) == 0 {
		return fmt.Errorf("%w: no speaker runs", backends.ErrInProgress)
	}
	if pending > 0 {
		return fmt.Errorf("%w: %d Services are not announced yet", backends.ErrInProgress, pending)
	}
	return nil
}

// Run judges Services anew after each change, and removes what nodes that are gone have left.
func (s *speakers) Run(ctx context.Context) error {
	s.wake()
	wake.Loop{News: s.changed, Rest: judgeEvery, First: buryAfter, Last: buryAfter, Failed: func(err error) {
		s.log.Warn("what nodes that are gone have left is not removed", "err", err)
	}}.Run(ctx, func(ctx context.Context) (time.Duration, error) {
		s.judge()
		again, err := s.bury(ctx)
		if err != nil {
			again = 0
		}
		return wake.Sooner(again, s.attendance.wait(time.Now())), err
	})
	return nil
}

// follow starts to watch the cluster, the first time it is called.
func (s *speakers) follow(ctx context.Context) error {
	s.following.Lock()
	defer s.following.Unlock()
	s.mu.Lock()
	follows := s.cluster != nil
	s.mu.Unlock()
	if follows {
		return nil
	}
	cluster, err := observe.Follow(ctx, s.cache, s.wake)
	if err != nil {
		return err
	}
	err = follow.Handle(ctx, s.cache, func(_, _ client.Object) { s.wake() },
		&v1beta1.ServiceL2Status{}, &v1beta1.ServiceBGPStatus{}, &v1alpha1.BGPSession{}, &v1beta1.ConfigurationState{})
	if err != nil {
		return err
	}
	if err := s.attendance.follow(ctx, s.cache, s.wake); err != nil {
		return err
	}
	s.mu.Lock()
	s.cluster = cluster
	s.mu.Unlock()
	return nil
}

// verdict returns the last one on a Service.
func (s *speakers) verdict(kind, namespace, name string) (announce.Verdict, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.verdicts[judged{kind, types.NamespacedName{Namespace: namespace, Name: name}}]
	return v, ok
}

// judge forms the verdicts on all Services anew, and has those reconsidered that have another one.
func (s *speakers) judge() {
	s.judging.Lock()
	defer s.judging.Unlock()
	s.mu.Lock()
	cluster, snapshot, choice, was := s.cluster, s.snapshot, s.choice, s.verdicts
	s.mu.Unlock()
	if cluster == nil || snapshot == nil {
		return
	}
	in := announce.LocalInput{
		Snapshot: snapshot, Services: cluster.Services(), Nodes: cluster.Nodes(), Sticky: true,
		Serves: func(a *config.L2Advertisement) bool { return choice.L2Backend(a) == Speaker },
	}
	announcers, silent, err := s.attend(&in)
	if err != nil {
		s.log.Error("what the speakers do is not known", "err", err)
		return
	}
	d := announce.Place(in)
	now := make(map[judged]announce.Verdict, 2*len(in.Services))
	pending := 0
	for i := range in.Services {
		key := types.NamespacedName{Namespace: in.Services[i].Namespace, Name: in.Services[i].Name}
		v := takenVerdict(snapshot, &in.Services[i], verdictOn(&in.Services[i], &d, announcers[key]))
		if v.Reason == announce.ReasonPending {
			pending++
		}
		now[judged{kindL2, key}] = v
	}
	more, err := s.judgeBGP(&in, choice, silent, was, now)
	if err != nil {
		s.log.Error("what the speakers do is not known", "err", err)
		return
	}
	pending += more
	if again := s.steady.hold(was, now); again > 0 {
		time.AfterFunc(again, s.wake)
	}
	s.mu.Lock()
	s.verdicts, s.pending, s.alive = now, pending, nil
	for node := range in.Speakers {
		s.alive = append(s.alive, node)
	}
	slices.Sort(s.alive)
	s.mu.Unlock()
	changed := false
	for key, v := range now {
		if was[key] != v {
			changed = true
			s.reconsider(allocator.Owner{Namespace: key.Namespace, Name: key.Name})
		}
	}
	if changed {
		s.judgedAnew()
	}
}

// attend adds to in which speakers there are, and returns which nodes say that they announce a Service, and which nodes are silent. What
// those have told does not count.
func (s *speakers) attend(in *announce.LocalInput) (announcers map[types.NamespacedName][]string, silent map[string]bool, err error) {
	ctx := context.Background() // both are caches
	var leases coordinationv1.LeaseList
	if err := s.cache.List(ctx, &leases, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, err
	}
	present, silent := s.attendance.call(leases.Items, time.Now())
	in.Speakers, s.quiet = map[string]announce.Speaker{}, map[string]bool{}
	for node, links := range present {
		in.Speakers[node] = announce.Speaker{Links: links.Links, SameSubnet: links.SameSubnet}
		in.IgnoreExclude = in.IgnoreExclude || links.IgnoreExclude
		if links.NoServiceBGPStatus {
			s.quiet[node] = true
		}
	}
	var list v1beta1.ServiceL2StatusList
	if err := s.cache.List(ctx, &list, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, err
	}
	announcers = map[types.NamespacedName][]string{}
	for i := range list.Items {
		x := &list.Items[i].Status
		if x.Node != "" && !silent[x.Node] {
			key := types.NamespacedName{Namespace: x.ServiceNamespace, Name: x.ServiceName}
			announcers[key] = append(announcers[key], x.Node)
		}
	}
	return announcers, silent, nil
}

// takenVerdict is v, unless the Service is not announced because somebody else has an address of it.
func takenVerdict(s *config.Snapshot, svc *announce.Service, v announce.Verdict) announce.Verdict {
	if v.Status == metav1.ConditionTrue {
		return v
	}
	for _, addr := range svc.Addrs {
		if by := s.Taken(addr); by != "" {
			return announce.Verdict{Status: metav1.ConditionFalse, Reason: announce.ReasonAddressTaken,
				Message: fmt.Sprintf("%s is not announced: %s", addr, by)}
		}
	}
	return v
}

// verdictOn returns the verdict on a Service. nodes say that they announce it.
func verdictOn(s *announce.Service, d *announce.Decision, nodes []string) announce.Verdict {
	if v, refused := d.Refusals[s.ID()]; refused {
		return v
	}
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	var v announce.Verdict
	var missing []string
	for _, addr := range s.Addrs {
		p := d.Placements[addr]
		if p == nil {
			continue
		}
		if p.Node == "" {
			missing = append(missing, said(addr, p))
			v = cmp.Or(v, announce.Verdict{Status: metav1.ConditionFalse, Reason: p.Reason})
			continue
		}
		if len(nodes) == 0 {
			v = announce.Verdict{Status: metav1.ConditionUnknown, Reason: announce.ReasonPending,
				Message: fmt.Sprintf("node %q is to announce %s and has not said so yet", p.Node, addr)}
		}
	}
	if len(nodes) > 0 && len(missing) < len(s.Addrs) {
		v = announce.Verdict{Status: metav1.ConditionTrue, Reason: announce.ReasonAdvertised,
			Message: fmt.Sprintf("speaker: announced on the local network from node %s", quoted(nodes))}
	}
	if len(missing) > 0 {
		v.Message = strings.Join(slices.DeleteFunc(append([]string{v.Message}, missing...), func(m string) bool { return m == "" }), "; ")
	}
	return v
}

func said(addr netip.Addr, p *announce.Placement) string {
	return fmt.Sprintf("%s: %s", addr, p.Message)
}

func quoted(names []string) string {
	b, err := json.Marshal(names)
	if err != nil {
		return fmt.Sprint(names)
	}
	return strings.ReplaceAll(strings.Trim(string(b), "[]"), ",", ", ")
}
