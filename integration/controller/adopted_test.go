package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/cli"
	ourevents "github.com/fairlead/fairlead/internal/process/events"
)

// TestGoneBeforeTheEvents deletes a Service and a hold after a controller has adopted their addresses and before it listens to events: no
// event tells it, and the addresses are free all the same.
func TestGoneBeforeTheEvents(t *testing.T) {
	i := install(t)
	pool := i.pool("main", "10.75.0.0/28")
	class := "example.org/" + i.namespace
	svc := i.define("gone", func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class })
	require.NoError(t, bed.Client.Create(t.Context(), svc))
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.75.0.3"}}
	require.NoError(t, bed.Client.Status().Update(t.Context(), svc))
	hold := &v1alpha1.AddressReservation{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "hold-earlier", Labels: map[string]string{"app.kubernetes.io/managed-by": "fairlead"}},
		Spec: v1alpha1.AddressReservationSpec{
			Service: &v1alpha1.ServiceReference{Namespace: i.namespace, Name: "earlier"}, Addresses: []string{"10.75.0.4/32"},
			HoldAfterDelete: &metav1.Duration{Duration: time.Hour},
		},
	}
	require.NoError(t, bed.Client.Create(t.Context(), hold))

	mgr, err := ctrl.NewManager(bed.Config, ctrl.Options{Scheme: cli.NewScheme(), Metrics: metricsserver.Options{BindAddress: "0"}})
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	recorder, err := ourevents.New(bed.Config, mgr.GetScheme(), assign.EventSource, nil, log)
	require.NoError(t, err)
	task, err := assign.NewTask(assign.Options{
		Manager: mgr, Namespace: i.namespace, Rules: assign.Rules{Classes: []string{class}}, Registry: prometheus.NewRegistry(), Recorder: recorder, Log: log,
	})
	require.NoError(t, err)
	watcher, err := config.NewWatcher(config.WatcherOptions{
		Manager: mgr, Namespace: i.namespace, Recorder: recorder, Registry: prometheus.NewRegistry(), Log: log, Publish: task.SetSnapshot,
	})
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	t.Cleanup(func() {
		stop()
		assert.NoError(t, g.Wait())
	})
	g.Go(func() error { return mgr.Start(ctx) })
	<-mgr.Elected() // the caches are complete
	for _, o := range []client.Object{&corev1.Service{}, &v1alpha1.AddressReservation{}} {
		_, err := mgr.GetCache().GetInformer(ctx, o)
		require.NoError(t, err)
	}
	snapshot, err := watcher.Load(ctx)
	require.NoError(t, err)
	require.NoError(t, task.Adopt(ctx, snapshot))
	g.Go(func() error { return task.RunPoolStatus(ctx) })
	counts := func(want int64) {
		t.Helper()
		testbed.Eventually(t, fmt.Sprintf("%d addresses to be in use", want), func(ctx context.Context) error {
			if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool); err != nil {
				return err
			}
			if got := pool.Status.AssignedIPv4; got != want || pool.Status == (v1beta1.IPAddressPoolStatus{}) {
				return fmt.Errorf("there are %d", got)
			}
			return nil
		})
	}
	counts(2)

	for _, o := range []client.Object{svc, hold} {
		require.NoError(t, bed.Client.Delete(t.Context(), o))
		testbed.Eventually(t, "the cache to be without it", func(ctx context.Context) error {
			if err := mgr.GetClient().Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return errors.Join(errors.New("it is there"), err)
			}
			return nil
		})
	}
	g.Go(func() error { return task.Run(ctx) })
	counts(0)
}
