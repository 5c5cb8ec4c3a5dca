// Package delegate has the CNI advertise: it works out what each backend has to write whenever the configuration, a Service, a node
// or the CNI itself changes, and tells the user what became of it: on the Backend objects, by events on the objects that ask for
// something the CNI cannot do, by metrics, and on each Service (the condition fairlead.io/Advertised).
package delegate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/config/password"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/controller/ledger"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/wake"
)

const (
	// coalesce is how long a change waits for others to come along.
	coalesce = 100 * time.Millisecond
	// lookAgain is how often everything is read again of which there may have been no news.
	lookAgain = time.Minute
	// firstRetry and lastRetry are how long a failed step waits for the next one: twice as long each time.
	firstRetry, lastRetry = 500 * time.Millisecond, 30 * time.Second
	// servedAgain is how often it is looked at whether the API server serves other kinds of the CNIs.
	servedAgain = 10 * time.Second
)

// Options are what a Task needs.
type Options struct {
	Manager      manager.Manager
	Config       *rest.Config
	Namespace    string
	Asked        Asked
	Aggregation  calico.Aggregation
	ManagePeers  bool
	AllowWider   bool
	CiliumConfig string // the namespace of Cilium's ConfigMap; empty for the default
	// MemberlistSecret is the name of the Secret that the speakers have in common; it is made if they are to serve anything.
	MemberlistSecret string
	// CalicoSamples is how many nodes of Calico are asked for their BGP sessions each minute; 0: none.
	CalicoSamples int
	FieldManager  string
	Registry      prometheus.Registerer
	Recorder      Recorder
	// Reconsider has a Service looked at again: its verdict may be another.
	Reconsider func(allocator.Owner)
	Log        *slog.Logger
}

// Recorder takes events.
type Recorder interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// Task is the running whole of this package.
type Task struct {
	Options
	discovery discovery.DiscoveryInterface
	dynamic   dynamic.Interface
	group     *apply.Group
	nobody    *apply.State // stands for what auto did not find
	speakers  *speakers
	watches   *watches
	sessions  *sessions
	looked    wake.Signal // there is news of sessions
	published *published
	metrics   *Metrics
	changed   wake.Signal
	detect    atomic.Bool // there is news of the CNI
	events    reported
	leaving   leaving // touched by step alone
	roster    roster

	mu        sync.Mutex // protects all the following
	learnedBy time.Time  // when the first looks are to be over; zero: Run has not been called
	snapshot  *config.Snapshot
	choice    announce.Choice
	resolved  bool
	results   map[string]announce.Result                        // replaced as a whole
	heardOf   map[string]map[backends.Audience]announce.Verdict // by backend, what its sessions say; each replaced as a whole
	flaps     calm[backends.Audience]                           // of heardOf
	listed    listed                                            // what Cilium has been told of
	wanted    wantedWays                                        // what it is to be told of
	seen      map[string]*backends.Outcome                      // of the CNIs' allocators at the start, by name
}

// NewTask returns a Task; it starts nothing.
func NewTask(o Options) (*Task, error) {
	d, err := discovery.NewDiscoveryClientForConfig(o.Config)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(o.Config)
	if err != nil {
		return nil, err
	}
	t := &Task{
		Options: o, discovery: d, dynamic: dyn, metrics: NewMetrics(), changed: wake.New(),
		looked: wake.New(), listed: listed{}, flaps: calm[backends.Audience]{}, heardOf: map[string]map[backends.Audience]announce.Verdict{},
		results: map[string]announce.Result{}, nobody: &apply.State{Client: o.Manager.GetClient(), Name: None, Installation: o.Namespace},
	}
	meta, err := metadata.NewForConfig(o.Config)
	if err != nil {
		return nil, err
	}
	t.watches = &watches{
		client: meta, discovery: d, changed: t.cniChanged, passwords: t.wake, log: o.Log, running: map[watch]context.CancelFunc{},
		ciliumConfig: cmp.Or(o.CiliumConfig, cilium.DefaultNamespace), auto: o.Asked.BGP == Auto || o.Asked.Layer2 == Auto,
	}
	if o.ManagePeers {
		t.watches.secretsIn = o.Namespace
	}
	t.sessions = &sessions{
		discovery: d, client: dyn, installation: o.Namespace, samples: o.CalicoSamples, nodes: t.nodeNames, changed: func(string) { t.look() },
		log:     o.Log,
		running: map[string]context.CancelFunc{}, reports: map[string]map[string]backends.SessionReport{}, mute: map[string]string{},
		asked: map[string]map[string]bool{}, listed: map[string]bool{},
	}
	t.metrics.sessions = t.sessions
	t.published = newPublished(o.Manager.GetClient(), o.Manager.GetCache(), o.Namespace, o.FieldManager, o.Log)
	if err := o.Registry.Register(t.metrics); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	t.speakers = &speakers{
		cache: o.Manager.GetCache(), client: o.Manager.GetClient(), namespace: o.Namespace, reconsider: o.Reconsider, log: o.Log,
		changed: wake.New(),
		secret:  t.ensureSecret, judgedAnew: func() { t.group.Reconsider() },
	}
	t.group = apply.NewGroup(t.loops()...)
	return t, t.watch()
}

// loops returns the loops of all backends there are.
func (t *Task) loops() []*apply.Loop {
	loop := func(name string, build func(*apply.State, func(backends.Outcome)) backends.ClusterBackend) *apply.Loop {
		state := &apply.State{Client: t.Manager.GetClient(), Name: name, Installation: t.Namespace}
		l := apply.NewLoop(name, nil, state, t.Log)
		l.Backend, l.Changed = build(state, l.Observe), t.heard
		l.Heard = func(a *backends.BGPAdvertisement, want *backends.Desired) apply.Hearing {
			return t.hearing(name, a, want)
		}
		if name == Speaker {
			l.Heard = t.speakers.hearing
		}
		return l
	}
	return []*apply.Loop{
		loop(Calico, func(s *apply.State, report func(backends.Outcome)) backends.ClusterBackend {
			return calico.New(calico.Config{
				Discovery: t.discovery, Client: t.dynamic, Ledger: &ledger.Ledger{State: s}, Installation: t.Namespace, FieldManager: t.FieldManager,
				Aggregation: t.Aggregation, AllowWider: t.AllowWider, Settle: calico.Settle, Report: report,
			})
		}),
		loop(Cilium, func(_ *apply.State, report func(backends.Outcome)) backends.ClusterBackend {
			return cilium.New(cilium.Config{
				Discovery: t.discovery, Client: t.dynamic, Namespace: t.CiliumConfig, Installation: t.Namespace, FieldManager: t.FieldManager,
				AllowWider: t.AllowWider, Report: report,
			})
		}),
		loop(Speaker, func(_ *apply.State, report func(backends.Outcome)) backends.ClusterBackend {
			t.speakers.report = report
			return t.speakers
		}),
	}
}

func (t *Task) watch() error {
	nodes := &metav1.PartialObjectMetadata{}
	nodes.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	return follow.Watch(t.Manager.GetCache(), func(was, is client.Object) {
		if was == nil || is == nil || !maps.Equal(was.GetLabels(), is.GetLabels()) {
			t.wake()
		}
	}, nodes)
}

// takeService takes in a Service as it was and as it is.
func (t *Task) takeService(was, is client.Object) {
	t.roster.take(was, is)
	if was == nil || is == nil || !sameAddresses(was, is) {
		t.wake()
	}
}

func (t *Task) wake() { t.changed.Set() }

// cniChanged has a backend look at the CNI again, and at who serves what.
func (t *Task) cniChanged(backend string) {
	t.group.Look(backend)
	t.detectAnew()
}

// detectAnew has it found out anew who serves what.
func (t *Task) detectAnew() {
	t.detect.Store(true)
	t.wake()
}

// SetSnapshot puts a new configuration in force.
func (t *Task) SetSnapshot(s *config.Snapshot) {
	t.mu.Lock()
	was := t.snapshot
	t.snapshot = s
	t.mu.Unlock()
	t.wake()
	if t.asksNobody(s) && (was == nil || t.asksNobody(was)) {
		return // no Service has a verdict, or had one
	}
	t.reconsider(context.Background(), func(*corev1.Service) bool { return true })
}

// Run serves until ctx ends. It withdraws nothing.
func (t *Task) Run(ctx context.Context) error {
	defer t.learns(ctx)()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.group.Run(ctx) })
	g.Go(func() error { return t.follow(ctx) })
	g.Go(func() error { return t.judgeSessions(ctx) })
	g.Go(func() error { return t.published.Serve(ctx) })
	return g.Wait()
}

// follow works out what to advertise after each change, until ctx ends.
func (t *Task) follow(ctx context.Context) error {
	if err := follow.Handle(ctx, t.Manager.GetCache(), t.takeService, &corev1.Service{}); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	kinds := t.served()
	g.Go(func() error { return t.lookAtCNI(ctx, kinds) })
	t.detectAnew()
	wake.Loop{News: t.changed, Gather: coalesce, First: firstRetry, Last: lastRetry, Failed: func(err error) {
		t.Log.Error("what to advertise could not be worked out", "err", err)
	}}.Run(ctx, func(ctx context.Context) (time.Duration, error) {
		detect := t.detect.Swap(false)
		err := t.step(ctx, detect)
		if err != nil && detect {
			t.detect.Store(true)
		}
		return 0, err
	})
	return g.Wait()
}

// lookAtCNI has everything of the CNI read anew in time, and when the API server serves other kinds of it, until ctx ends.
func (t *Task) lookAtCNI(ctx context.Context, kinds string) error {
	ticker := time.NewTicker(servedAgain)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if now := t.served(); now != kinds || time.Since(last) >= lookAgain {
			kinds, last = now, time.Now()
			t.detectAnew()
		}
	}
}

// served returns which of the CNIs' kinds there are, in one string.
func (t *Task) served() string {
	if t.Asked.BGP != Auto && t.Asked.Layer2 != Auto {
		return "fixed"
	}
	var kinds []string
	for _, group := range slices.Concat(calico.Groups, cilium.Groups) {
		list, err := t.discovery.ServerResourcesForGroupVersion(group.String())
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			kinds = append(kinds, group.String()+" "+r.Name)
		}
	}
	return fmt.Sprint(kinds)
}

// step works out what each backend has to advertise.
func (t *Task) step(ctx context.Context, detect bool) error {
	t.mu.Lock()
	s, resolved := t.snapshot, t.resolved
	t.mu.Unlock()
	if s == nil {
		return nil
	}
	if detect || !resolved {
		if err := t.resolve(ctx); err != nil {
			return err
		}
	}
	t.mu.Lock()
	choice := t.choice
	t.mu.Unlock()
	if detect || !resolved {
		t.watches.set(ctx, t.used(s, choice))
	}
	t.sessions.set(ctx, speaking(s, choice), detect)
	t.look()
	in := announce.Input{Snapshot: s, Choice: choice, ManagePeers: t.ManagePeers && len(s.BGPPeers()) > 0,
		Password: password.Of(ctx, t.Manager.GetAPIReader(), t.Namespace)}
	if len(in.Backends()) > 0 {
		var err error
		if in.Nodes, err = t.nodes(ctx); err != nil {
			return err
		}
		in.Services = t.roster.list()
	}
	wanted := map[string]apply.Wanted{}
	for name, share := range announce.Delegated(in) {
		if name == Cilium {
			if held := t.leaving.hold(s, in.Services, time.Now()); len(held) > 0 {
				share.Desired.Hold = append(share.Desired.Hold, held...)
				time.AfterFunc(ciliumPace, t.wake)
			}
		}
		wanted[name] = apply.Wanted(share)
	}
	t.speakers.set(s, choice)
	t.group.Set(wanted)
	t.reportUnserved(s, choice)
	return nil
}

// used returns the backends that any advertisement is handed to.
func (t *Task) used(s *config.Snapshot, choice announce.Choice) []string {
	used := map[string]bool{choice.BGP: true, choice.Layer2: true}
	for _, name := range speaking(s, choice) {
		used[name] = true
	}
	for _, a := range s.L2Advertisements() {
		used[choice.L2Backend(a)] = true
	}
	return slices.Sorted(maps.Keys(used))
}

// speaking returns the backends that BGPAdvertisements are handed to.
func speaking(s *config.Snapshot, choice announce.Choice) []string {
	used := map[string]bool{}
	for _, a := range s.BGPAdvertisements() {
		used[choice.Backend(a)] = true
	}
	return slices.Sorted(maps.Keys(used))
}

// nodeNames returns the names of the nodes of the cluster, sorted; none if they are not known.
func (t *Task) nodeNames() []string {
	nodes, err := t.nodes(context.Background())
	if err != nil {
		t.Log.Error("nodes not listed", "err", err)
	}
	out := make([]string, len(nodes))
	for i := range nodes {
		out[i] = nodes[i].Name
	}
	return out
}

// resolve finds out who serves what.
func (t *Task) resolve(ctx context.Context) error {
	choice, seen, facts, err := Look(ctx, t.discovery, t.dynamic, t.CiliumConfig, t.Asked)
	if err != nil {
		return err
	}
	t.mu.Lock()
	first, same := !t.resolved, t.choice == choice
	t.choice, t.resolved = choice, true
	t.mu.Unlock()
	if first || !same {
		t.Log.Info("who advertises", "bgp", choice.BGP, "layer2", choice.Layer2, "seen", seen)
		t.reconsider(ctx, func(*corev1.Service) bool { return true })
	}
	if seen == "" {
		return t.nobody.Forget(ctx)
	}
	err = t.nobody.Report(ctx, nil, &backends.Outcome{Facts: facts}, fmt.Errorf("%w: %s", apply.ErrNotDetected, seen))
	if errors.Is(err, apply.ErrTaken) {
		return nil // another installation tells of itself there; events and conditions tell of this one
	}
	return err
}

func (t *Task) nodes(ctx context.Context) ([]backends.Node, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	if err := t.Manager.GetCache().List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var out []backends.Node
	for i := range list.Items {
		out = append(out, backends.Node{Name: list.Items[i].Name, Labels: list.Items[i].Labels})
	}
	slices.SortFunc(out, func(a, b backends.Node) int { return slices.Compare([]string{a.Name}, []string{b.Name}) })
	return out, nil
}

// each calls do for all Services of type LoadBalancer in the cache, which it must not change.
func (t *Task) each(ctx context.Context, do func(*corev1.Service)) error {
	var list corev1.ServiceList
	if err := t.Manager.GetCache().List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	for i := range list.Items {
		if list.Items[i].Spec.Type == corev1.ServiceTypeLoadBalancer {
			do(&list.Items[i])
		}
	}
	return nil
}

// reconsider has Services looked at again.
func (t *Task) reconsider(ctx context.Context, which func(*corev1.Service) bool) {
	err := t.each(ctx, func(s *corev1.Service) {
		if which(s) {
			t.Reconsider(allocator.Owner{Namespace: s.Namespace, Name: s.Name})
		}
	})
	if err != nil && ctx.Err() == nil {
		t.Log.Error("services not reconsidered", "err", err)
	}
}

// secretKey is the key of what the speakers have in common, as MetalLB names it.
const secretKey = "secretkey"

// ensureSecret makes the Secret by which speakers know each other, unless there is one.
func (t *Task) ensureSecret(ctx context.Context) error {
	if t.MemberlistSecret == "" {
		return nil
	}
	name := types.NamespacedName{Namespace: t.Namespace, Name: t.MemberlistSecret}
	var s corev1.Secret
	err := t.Manager.GetAPIReader().Get(ctx, name, &s)
	if err == nil && len(s.Data[secretKey]) == 0 {
		return fmt.Errorf("secret %s has no key %s; the speakers need one", name, secretKey)
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	s = corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
		Data: map[string][]byte{secretKey: []byte(rand.Text())}}
	if err := t.Manager.GetClient().Create(ctx, &s); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the secret of the speakers: %w", err)
	}
	return nil
}
