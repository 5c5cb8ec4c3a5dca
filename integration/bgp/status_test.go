package bgp

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// TestNoServiceBGPStatus has speakers say nothing of Services: the condition names the nodes all the same, by the sessions that are up.
func TestNoServiceBGPStatus(t *testing.T) {
	s := newRack(t, 2, func(*v1beta2.BGPPeerSpec) {}, "--service-bgp-status=none")
	svc := s.Service("web", s.Nodes(), func(svc *corev1.Service) { svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
	s.Advertised(svc, `True Advertised: speaker: advertised by BGP from nodes "n1", "n2" to peers "tor-v4", "tor-v6"`)
	s.SetEndpoints(svc, netlab.Ready(s.Nodes()[1])...)
	s.Advertised(svc, `True Advertised: speaker: advertised by BGP from node "n2" to peers`)

	// Sessions, not words: a router that is away hears nothing.
	s.frr.Vtysh("configure terminal", "no router bgp 65002")
	s.Advertised(svc, "False NoSession: ")
	var list v1beta1.ServiceBGPStatusList
	require.NoError(t, s.Bed.Client.List(t.Context(), &list, client.InNamespace(s.Namespace)))
	assert.Empty(t, list.Items)
}

// TestSomebodyRemovesAll has somebody remove everything that speakers have told: it is there again, and that they run is not doubted meanwhile.
func TestSomebodyRemovesAll(t *testing.T) {
	s := newRack(t, 2, func(*v1beta2.BGPPeerSpec) {})
	svc := s.Service("web", s.Nodes(), nil)
	s.Advertised(svc, "True Advertised")
	sessions := func(ctx context.Context) error {
		var list v1alpha1.BGPSessionList
		if err := s.Bed.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil {
			return err
		}
		up := 0
		for _, x := range list.Items {
			if x.Status.State == "Established" {
				up++
			}
		}
		if up != 4 {
			return errors.New("not all are established")
		}
		return nil
	}
	testbed.Eventually(t, "BGPSessions", sessions)
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	w, err := s.Bed.Client.Watch(watching, &corev1.ServiceList{}, client.InNamespace(svc.Namespace))
	require.NoError(t, err)
	require.NoError(t, s.Bed.Client.DeleteAllOf(t.Context(), &v1beta1.ConfigurationState{}, client.InNamespace(s.Namespace)))
	require.NoError(t, s.Bed.Client.DeleteAllOf(t.Context(), &coordinationv1.Lease{}, client.InNamespace(s.Namespace), client.HasLabels{"metallb.io/node"}))
	testbed.Eventually(t, "ConfigurationStates again", func(ctx context.Context) error {
		var list v1beta1.ConfigurationStateList
		if err := s.Bed.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil || len(list.Items) == 3 {
			return err
		}
		return errors.New("not all are there")
	})
	testbed.Eventually(t, "Leases again", func(ctx context.Context) error {
		var list coordinationv1.LeaseList
		if err := s.Bed.Client.List(ctx, &list, client.InNamespace(s.Namespace), client.HasLabels{"metallb.io/node"}); err != nil || len(list.Items) == 2 {
			return err
		}
		return errors.New("not all are there")
	})
	stop()
	for e := range w.ResultChan() {
		svc, ok := e.Object.(*corev1.Service)
		if !ok {
			continue
		}
		for _, c := range svc.Status.Conditions {
			if c.Type == "fairlead.io/Advertised" {
				assert.Equal(t, "True", string(c.Status), "%s: %s", c.Reason, c.Message)
			}
		}
	}
	for _, kind := range []client.Object{&v1beta1.ServiceBGPStatus{}, &v1alpha1.BGPSession{}} {
		require.NoError(t, s.Bed.Client.DeleteAllOf(t.Context(), kind, client.InNamespace(s.Namespace)))
	}
	testbed.Eventually(t, "BGPSessions again", sessions)
	testbed.Eventually(t, "ServiceBGPStatuses again", func(ctx context.Context) error {
		var list v1beta1.ServiceBGPStatusList
		if err := s.Bed.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil || len(list.Items) == 2 {
			return err
		}
		return errors.New("not all are there")
	})
}
