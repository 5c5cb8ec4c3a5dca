package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/backends/layer2"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/events"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/process/yield"
	"github.com/fairlead/fairlead/internal/speaker"
	"github.com/fairlead/fairlead/internal/speaker/membership"
)

// eventSource is MetalLB's name for what speakers report.
const eventSource = "metallb-speaker"

// stopTimeout bounds how long the parts may take to end after everything has been handed over.
const stopTimeout = time.Second

// run builds the parts and lets them work until ctx ends and others have taken over.
func run(ctx context.Context, o Options, log *slog.Logger) error {
	logger := logr.FromSlogHandler(log.Handler())
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)

	limitGarbage()
	rc, err := cli.RESTConfig(o.Kubeconfig)
	if err != nil {
		return err
	}
	secret, err := o.secret()
	if err != nil {
		return err
	}
	if secret == nil {
		log.Warn("what speakers say to each other is not encrypted; give all of them the same --memberlist-secret-path")
	}
	exclude, err := o.exclude()
	if err != nil {
		return err
	}
	mgr, err := newManager(rc, o, log)
	if err != nil {
		return err
	}
	pace := yield.New()
	recorder, err := events.New(rc, mgr.GetScheme(), eventSource, pace, log)
	if err != nil {
		return err
	}
	series, err := speaker.NewMetrics(metrics.Registry, o.NodeName)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}

	// What the parts tell each other.
	var links, members, joined, sessions wake.Bell
	l2 := layer2.New(layer2.Config{
		Exclude: exclude, SameSubnet: o.SameSubnet, GratuitousInterval: o.GratuitousInterval, Observer: series,
		Changed: func([]backends.Link) { links.Ring() }, Log: log,
	})
	bind, advertise, err := o.addresses(ctx, mgr.GetAPIReader())
	if err != nil {
		return err
	}
	group := membership.New(membership.Config{
		Node: o.NodeName, BindAddr: bind, BindPort: o.BindPort, Advertise: advertise, Profile: o.Profile, Secret: secret,
		Peers: o.peers(mgr.GetCache()), Log: log,
		Changed: members.Ring, Joined: func(string) { joined.Ring() },
	})
	life := speaker.NewLife(o.NodeName, o.Namespace, mgr.GetCache(), mgr.GetClient(), log)
	feed := speaker.NewFeed(mgr.GetCache(), o.Namespace)
	task := speaker.NewTask(speaker.Options{
		Feed: feed, Life: life,
		Node: o.NodeName, Namespace: o.Namespace, Asked: cmp.Or(o.L2Backend, o.Backend), Sticky: o.Sticky, IgnoreExclude: o.IgnoreExcludeLB,
		SameSubnet: o.SameSubnet, NoServiceBGPStatus: o.ServiceBGPStatus == statusNone, Owner: o.owner(), Cache: mgr.GetCache(),
		Client: mgr.GetClient(), Group: group, Announcer: l2, Links: &links, Members: &members, Joined: &joined,
		Pace: pace, Recorder: recorder, Metrics: series, Log: log,
	})
	watcher, err := config.NewWatcher(config.WatcherOptions{
		Manager: mgr, Namespace: o.Namespace, Node: o.NodeName, Registry: metrics.Registry, Log: log, Publish: feed.SetSnapshot,
	})
	if err != nil {
		return err
	}
	router := bgp.New(bgp.Config{NodeName: o.NodeName, ListenPort: o.BGPListenPort, Changed: sessions.Ring, Log: log})
	watch := speaker.NewBFD(router.Down, sessions.Ring, log)
	series.Watch(router, watch)
	routes := speaker.NewBGP(speaker.BGPOptions{
		Node: o.NodeName, Namespace: o.Namespace, Asked: cmp.Or(o.BGPBackend, o.Backend), IgnoreExclude: o.IgnoreExcludeLB,
		ShutdownWait: o.BGPShutdownWait, DrainCordoned: o.BGPDrainCordoned,
		NoServiceBGPStatus: o.ServiceBGPStatus == statusNone, Owner: o.owner(), Feed: feed, Cache: mgr.GetCache(), Client: mgr.GetClient(),
		Router: router, BFD: watch, Sessions: &sessions, Pace: pace, Recorder: recorder, Metrics: series,
		Waits: watcher.SetWaits, Log: log,
	})
	configuration := func(ctx context.Context) error {
		// The first one does not wait for what a controller waits for.
		if err := follow.Await(ctx, mgr.GetCache(), config.Kinds()...); err != nil {
			return err
		}
		s, err := watcher.Load(ctx)
		if err != nil {
			return err
		}
		if err := feed.SetSnapshot(ctx, s); err != nil {
			return err
		}
		return watcher.Run(ctx)
	}
	if err := group.Listen(); err != nil { // before anything else: a port that is taken must not leave half a speaker behind
		return err
	}
	log.Info("starting", "node", o.NodeName, "namespace", o.Namespace, "memberlist", netip.AddrPortFrom(bind, o.BindPort), "profile",
		o.Profile)
	return together(ctx, []part{task.Run, routes.Run}, mgr.Start, life.Run, configuration, feed.Run, recorder.Start, l2.Run, router.Run,
		watch.Run, group.Run, newThrift().Run)
}

// part is what has to end in good order: until ctx ends, and then as long as it takes; the servers go on until inner ends.
type part func(ctx, inner context.Context) error

// together runs servers and parts. The parts end first; the servers serve them until then.
func together(ctx context.Context, parts []part, servers ...func(context.Context) error) error {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	all, inner := errgroup.WithContext(inner)
	for _, serve := range servers {
		all.Go(func() error {
			if err := serve(inner); err != nil && inner.Err() == nil {
				return err
			}
			return nil
		})
	}
	all.Go(func() error {
		defer stop()
		working, done := context.WithCancel(ctx)
		defer done()
		defer context.AfterFunc(inner, done)()
		var first errgroup.Group
		for _, p := range parts {
			first.Go(func() error {
				defer done() // one that fails ends the others, in good order
				return p(working, inner)
			})
		}
		return first.Wait()
	})
	return all.Wait()
}

func newManager(rc *rest.Config, o Options, log *slog.Logger) (manager.Manager, error) {
	stop := stopTimeout
	inNamespace := cache.ByObject{Namespaces: map[string]cache.Config{o.Namespace: {}}}
	selected, err := labels.Parse(o.PeerLabels)
	if err != nil {
		return nil, err
	}
	// Of what each speaker keeps, no speaker sees more than its own.
	own := func(label string) cache.ByObject {
		return cache.ByObject{Namespaces: map[string]cache.Config{o.Namespace: {LabelSelector: labels.SelectorFromSet(labels.Set{label: backends.LabelValue(o.NodeName)})}}}
	}
	byObject := map[client.Object]cache.ByObject{
		&v1beta1.ConfigurationState{}: own(presence.LabelNode), &coordinationv1.Lease{}: own(presence.LabelStatusNode),
		&v1beta1.ServiceL2Status{}: own(presence.LabelStatusNode), &v1beta1.ServiceBGPStatus{}: own(presence.LabelStatusNode),
		&v1alpha1.BGPSession{}: own(presence.LabelStatusNode),
		&corev1.Pod{}:          {Namespaces: map[string]cache.Config{o.Namespace: {LabelSelector: selected}}, Transform: trimPod},
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{o.Namespace: {FieldSelector: fields.OneTermEqualSelector("type",
			string(corev1.SecretTypeBasicAuth))}}},
		&v1alpha1.Backend{}: {Field: fields.OneTermEqualSelector("metadata.name", announce.SpeakerBackend)},
	}
	for _, kind := range config.Kinds() {
		byObject[kind] = inNamespace
	}
	mgr, err := ctrl.NewManager(rc, ctrl.Options{
		Scheme:                  cli.NewScheme(),
		Metrics:                 o.Metrics.Server(log),
		HealthProbeBindAddress:  o.HealthProbeBindAddress,
		GracefulShutdownTimeout: &stop,
		Cache:                   cache.Options{DefaultTransform: observe.TrimFor(o.NodeName), ByObject: byObject},
	})
	if err != nil {
		return nil, cli.SetUp(err)
	}
	synced := func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return fmt.Errorf("caches are not complete yet")
		}
		return nil
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, errors.Join(mgr.AddReadyzCheck("caches", synced), addCaches(mgr))
}

// addCaches has all caches filled at the same time, from the beginning: whoever needs one later does not wait for it alone.
func addCaches(mgr manager.Manager) error {
	kinds := append(config.Kinds(), &v1beta1.ConfigurationState{}, &v1beta1.ServiceL2Status{}, &v1beta1.ServiceBGPStatus{},
		&v1alpha1.BGPSession{}, &coordinationv1.Lease{},
		&v1alpha1.Backend{}, &corev1.Service{}, &discoveryv1.EndpointSlice{}, &corev1.Node{}, &corev1.Secret{}, &corev1.Pod{})
	for _, o := range kinds {
		if _, err := mgr.GetCache().GetInformer(context.Background(), o, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("cache %T: %w", o, err)
		}
	}
	return nil
}

// trimPod keeps of a pod where it is.
func trimPod(o any) (any, error) {
	if p, ok := o.(*corev1.Pod); ok {
		p.ManagedFields, p.Annotations, p.Spec = nil, nil, corev1.PodSpec{NodeName: p.Spec.NodeName}
		p.Status = corev1.PodStatus{PodIP: p.Status.PodIP, Phase: p.Status.Phase}
	}
	return o, nil
}

// peers returns where other speakers may be.
func (o *Options) peers(pods client.Reader) func(context.Context) ([]string, error) {
	if len(o.Peers) > 0 {
		return func(context.Context) ([]string, error) { return o.Peers, nil }
	}
	return func(ctx context.Context) ([]string, error) {
		var list corev1.PodList
		if err := pods.List(ctx, &list, client.InNamespace(o.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list the pods of the speakers: %w", err)
		}
		var out []string
		for i := range list.Items {
			if p := &list.Items[i]; p.Status.PodIP != "" && p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
				out = append(out, p.Status.PodIP)
			}
		}
		return out, nil
	}
}

// addresses returns where to listen for other speakers, and what to tell them.
func (o *Options) addresses(ctx context.Context, api client.Reader) (bind, advertise netip.Addr, err error) {
	if o.BindAddress != "" {
		bind, err = netip.ParseAddr(o.BindAddress)
		if err != nil || !bind.IsUnspecified() {
			return bind, bind, err
		}
	}
	var node corev1.Node
	if err := api.Get(ctx, types.NamespacedName{Name: o.NodeName}, &node); err != nil {
		return bind, advertise, fmt.Errorf("read node %q for its address: %w; or give --memberlist-bind-address", o.NodeName, err)
	}
	for _, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if advertise, err = netip.ParseAddr(a.Address); err == nil {
			if advertise.Is6() {
				return netip.IPv6Unspecified(), advertise, nil
			}
			return netip.IPv4Unspecified(), advertise, nil
		}
	}
	return bind, advertise, fmt.Errorf("node %q has no InternalIP; give --memberlist-bind-address", o.NodeName)
}

func (o *Options) owner() *speaker.Owner {
	if o.PodName == "" {
		return nil
	}
	return &speaker.Owner{Pod: o.PodName, UID: types.UID(o.PodUID)}
}

// exclude returns which interfaces are never used.
func (o *Options) exclude() ([]*regexp.Regexp, error) {
	if o.ExcludeInterfacesFile == "" {
		return layer2.DefaultExclude, nil
	}
	b, err := os.ReadFile(o.ExcludeInterfacesFile)
	if err != nil {
		return nil, fmt.Errorf("--exclude-interfaces-file: %w", err)
	}
	out, err := layer2.ParseExclude(b)
	if err != nil {
		return nil, fmt.Errorf("--exclude-interfaces-file: %s: %w", o.ExcludeInterfacesFile, err)
	}
	return out, nil
}
