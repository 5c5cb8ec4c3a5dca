package controller

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestCrashedNode has a node whose speaker told that it announces two Services and holds a session, and then crashed with the node: the objects
// stay, and say nothing any more. It counts again as soon as the speaker gives a sign of life.
func TestCrashedNode(t *testing.T) {
	t.Parallel()
	i := install(t)
	node := i.namespace + "-node"
	in := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: i.namespace, Name: name, Labels: map[string]string{"metallb.io/node": node, "metallb.io/node-name": node}}
	}
	create := func(o client.Object, status func()) {
		t.Helper()
		require.NoError(t, bed.Client.Create(t.Context(), o))
		if status != nil {
			status()
			require.NoError(t, bed.Client.Status().Update(t.Context(), o))
		}
	}
	i.pool("routed", "10.73.0.0/28")
	i.pool("link", "10.74.0.0/28")
	create(&v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "tor"}, Spec: v1beta2.BGPPeerSpec{MyASN: 65001, PeerASN: 65002, PeerAddress: "192.0.2.1"}}, nil)
	create(&v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "adv"}, Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"routed"}}}, nil)
	create(&v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "adv"}, Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"link"}}}, nil)
	create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, nil)
	t.Cleanup(func() {
		require.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}))
	})
	session := &v1alpha1.BGPSession{ObjectMeta: in("session")}
	create(session, func() { session.Status.Node, session.Status.Peer, session.Status.State = node, "tor", "Established" })
	crashed, seconds := metav1.NewMicroTime(time.Now().Add(-time.Hour)), int32(40)
	lease := &coordinationv1.Lease{ObjectMeta: in("speaker-" + node), Spec: coordinationv1.LeaseSpec{HolderIdentity: &node, LeaseDurationSeconds: &seconds, RenewTime: &crashed}}
	lease.Annotations = map[string]string{"fairlead.io/links": `{"links":[{"Name":"eth0","Prefixes":["10.74.0.0/16"],"IPv4":true,"IPv6":true}]}`}
	create(lease, nil)

	i.start("--backend=speaker")
	services := map[string]*corev1.Service{}
	for _, pool := range []string{"routed", "link"} {
		svc := i.service(pool, annotated("metallb.io/address-pool", pool))
		services[pool] = svc
		testbed.Eventually(t, "an address of "+pool, func(ctx context.Context) error {
			if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil || testbed.IPs(svc) == "" {
				return fmt.Errorf("none yet: %w", err)
			}
			return nil
		})
	}
	ready, port := true, int32(80)
	create(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: services["link"].Namespace, Name: "link", Labels: map[string]string{discoveryv1.LabelServiceName: "link"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, nil)
	told := &v1beta1.ServiceBGPStatus{ObjectMeta: in("bgp")}
	create(told, func() {
		told.Status = v1beta1.ServiceBGPStatusStatus{Node: node, ServiceName: "routed", ServiceNamespace: services["routed"].Namespace, Peers: []string{"tor"}}
	})
	said := &v1beta1.ServiceL2Status{ObjectMeta: in("l2")}
	create(said, func() {
		said.Status = v1beta1.ServiceL2StatusStatus{Node: node, ServiceName: "link", ServiceNamespace: services["link"].Namespace}
	})
	advertised := func(pool, want string) {
		t.Helper()
		testbed.Eventually(t, pool+" to be "+want, func(ctx context.Context) error {
			svc := services[pool]
			if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
				return err
			}
			c := meta.FindStatusCondition(svc.Status.Conditions, "fairlead.io/Advertised")
			if c == nil || string(c.Status)+" "+c.Reason != want {
				return fmt.Errorf("%+v", c)
			}
			return nil
		})
	}
	advertised("routed", "False NoSpeaker")
	advertised("link", "False NoSpeaker")

	testbed.Edit(t, bed, lease, func(l *coordinationv1.Lease) { now := metav1.NowMicro(); l.Spec.RenewTime = &now })
	advertised("routed", "True Advertised")
	advertised("link", "True Advertised")

	// It crashes: nobody renews the Lease any more.
	began := time.Now()
	advertised("routed", "False NoSpeaker")
	advertised("link", "False NoSpeaker")
	for _, o := range []client.Object{session, told, said} {
		testbed.Eventually(t, fmt.Sprintf("%T to be removed", o), func(ctx context.Context) error {
			if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there (%w)", err)
			}
			return nil
		})
	}
	t.Logf("what a node says that has crashed is removed after %v", time.Since(began).Round(time.Second))
}
