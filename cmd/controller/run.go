package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/admission"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/controller/fence"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/events"
	"github.com/fairlead/fairlead/internal/process/yield"
	"github.com/fairlead/fairlead/internal/service"
)

const (
	leaseName = "fairlead-controller"
	// stopTimeout leaves room to release the Lease and exit within the five seconds that a stop may take.
	stopTimeout = 4 * time.Second

	// The Lease, with controller-runtime's usual times. A leader that could not renew it for renewDeadline gives up; from then on
	// nothing of it is written, and leaseDuration leaves what is on its way five seconds to arrive.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
)

// run builds the parts and lets them work until ctx ends.
func run(ctx context.Context, o Options, log *slog.Logger) error {
	logger := logr.FromSlogHandler(log.Handler())
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)

	limitMemory()
	if err := countRequests(); err != nil {
		return err
	}
	rc, err := cli.RESTConfig(o.Kubeconfig)
	if err != nil {
		return err
	}
	f := fence.New(renewDeadline)
	mgr, err := newManager(rc, f, o, log)
	if err != nil {
		return err
	}
	allocators, err := newAllocators(ctx, rc, func(hub *rest.Config) { hub.Wrap(f.Transport) }, o, log)
	if err != nil {
		return cli.SetUp(err)
	}
	recorder, err := events.New(rc, mgr.GetScheme(), assign.EventSource, yield.New(), log)
	if err != nil {
		return err
	}
	services, err := assign.NewTask(assign.Options{
		Manager: mgr, Namespace: o.Namespace, Registry: metrics.Registry, Recorder: recorder, Log: log,
		Rules:              assign.Rules{Classes: o.LoadBalancerClasses, IsolateSharing: !o.CrossNamespaceSharing},
		ReportOtherClasses: o.ReportOtherClasses, Providers: allocators,
	})
	if err != nil {
		return err
	}
	delegation, err := delegate.NewTask(delegate.Options{
		Manager: mgr, Config: rc, Namespace: o.Namespace, Asked: o.asked(), Aggregation: calico.Aggregation(o.CalicoAggregation),
		ManagePeers: o.ManagePeers,
		AllowWider:  o.AllowWider, CiliumConfig: o.CiliumNamespace, MemberlistSecret: o.MemberlistSecret, CalicoSamples: o.CalicoSessionSamples,
		FieldManager: service.FieldManager, Registry: metrics.Registry, Recorder: recorder,
		Reconsider: services.Reconsider, Log: log,
	})
	if err != nil {
		return err
	}
	services.Advertised(delegation.Verdict)
	services.Paced(delegation)
	watcher, err := config.NewWatcher(config.WatcherOptions{
		Manager: mgr, Namespace: o.Namespace, Recorder: recorder, Registry: metrics.Registry, Log: log,
		Remarks: services.Remarks,
		Publish: func(ctx context.Context, s *config.Snapshot) error {
			if err := services.SetSnapshot(ctx, s); err != nil {
				return err
			}
			delegation.SetSnapshot(s)
			return nil
		},
	})
	if err != nil {
		return err
	}
	services.NodesChanged(watcher.Reconsider)
	services.AfterConfiguration(watcher.Await)
	services.Faults(watcher.SetWaits)

	// What follows runs only on the leader, with caches that are complete.
	err = mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		snapshot, err := watcher.Load(ctx)
		if err != nil {
			return err
		}
		looked := make(chan struct{})
		go func() {
			defer close(looked)
			delegation.FirstLook(ctx)
		}()
		if err := services.Adopt(ctx, snapshot); err != nil {
			<-looked
			return err
		}
		relaxMemory(log)
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error {
			<-looked
			services.CNIKnown(ctx)
			return services.RunAllocators(ctx)
		})
		g.Go(func() error { return recorder.Start(ctx) })
		g.Go(func() error { return services.Run(ctx) })
		g.Go(func() error { return services.RunPoolStatus(ctx) })
		g.Go(func() error { return watcher.Run(ctx) })
		g.Go(func() error { return delegation.Run(ctx) })
		return g.Wait()
	}))
	if err != nil {
		return err
	}
	if err := addWebhook(mgr, o, log); err != nil {
		return err
	}
	log.Info("starting", "namespace", o.Namespace, "backend", o.Backend, "lbClass", o.LoadBalancerClasses)
	return mgr.Start(ctx)
}

// newLock returns the Lease, and makes rc a connection through which only its holder writes.
func newLock(rc *rest.Config, f *fence.Fence, o Options) (resourcelock.Interface, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	l, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, o.Namespace, leaseName,
		resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())}, rest.CopyConfig(rc), renewDeadline)
	if err != nil {
		return nil, err
	}
	rc.Wrap(f.Transport)
	return f.Lock(l), nil
}

func newManager(rc *rest.Config, f *fence.Fence, o Options, log *slog.Logger) (manager.Manager, error) {
	lock, err := newLock(rc, f, o)
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	stop, duration, deadline := stopTimeout, leaseDuration, renewDeadline
	inNamespace := cache.ByObject{Namespaces: map[string]cache.Config{o.Namespace: {}}}
	byObject := map[client.Object]cache.ByObject{
		&v1beta1.ConfigurationState{}: inNamespace, &v1beta1.ServiceL2Status{}: inNamespace, &v1beta1.ServiceBGPStatus{}: inNamespace,
		&v1alpha1.BGPSession{}:  inNamespace,
		&coordinationv1.Lease{}: inNamespace,
		&corev1.Node{}:          {Transform: observe.Trim}, &discoveryv1.EndpointSlice{}: {Transform: observe.Trim},
	}
	for _, kind := range config.Kinds() {
		byObject[kind] = inNamespace
	}
	mgr, err := ctrl.NewManager(rc, ctrl.Options{
		Scheme:                        cli.NewScheme(),
		Metrics:                       o.Metrics.Server(log),
		HealthProbeBindAddress:        o.HealthProbeBindAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &duration,
		RenewDeadline:                 &deadline,

		LeaderElectionResourceLockInterface: lock,
		GracefulShutdownTimeout:             &stop,
		Cache: cache.Options{
			DefaultTransform: service.Trim,
			ByObject:         byObject,
		},
		// A Backend object is the record of what may be removed: it is never read from a cache.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&v1alpha1.Backend{}, &corev1.Secret{}}}},
	})
	if err != nil {
		return nil, cli.SetUp(err)
	}
	return mgr, cli.SetUp(errors.Join(addCaches(mgr), addProbes(mgr)))
}

// addCaches has every replica fill its caches, all at the same time, before it has the Lease: the next leader is ready to serve.
func addCaches(mgr manager.Manager) error {
	namespaces := &metav1.PartialObjectMetadata{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	nodes := &metav1.PartialObjectMetadata{}
	nodes.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	for _, o := range append(config.Kinds(), &v1beta1.ConfigurationState{}, &corev1.Service{}, namespaces, nodes, &corev1.Node{}) {
		if _, err := mgr.GetCache().GetInformer(context.Background(), o, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("cache %T: %w", o, err)
		}
	}
	return nil
}

// addWebhook has every replica serve the admission webhook, if it is enabled.
func addWebhook(mgr manager.Manager, o Options, log *slog.Logger) error {
	if o.Webhook != webhookEnabled {
		return nil
	}
	return mgr.Add(admission.New(admission.Options{
		Manager: mgr, Namespace: o.Namespace, Port: o.WebhookPort, Service: o.WebhookService, Log: log,
	}))
}

// addProbes serves /healthz at once and /readyz from when the caches are complete: a replica that waits for the Lease is ready.
func addProbes(mgr manager.Manager) error {
	var synced atomic.Bool
	err := mgr.Add(everywhere(func(ctx context.Context) error {
		if mgr.GetCache().WaitForCacheSync(ctx) {
			synced.Store(true)
		}
		return nil
	}))
	ready := func(*http.Request) error {
		if !synced.Load() {
			return errors.New("caches are not complete yet")
		}
		return nil
	}
	return errors.Join(err, mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("caches", ready))
}

// everywhere is a runnable that does not wait for the Lease.
type everywhere func(context.Context) error

func (f everywhere) Start(ctx context.Context) error { return f(ctx) }

func (everywhere) NeedLeaderElection() bool { return false }
