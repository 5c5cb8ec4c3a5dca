package dashboard

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/service"
)

const (
	pools = 20
	nodes = 6
)

var services = flag.Int("dashboard.services", 1000, "how many Services there are")

// world is an installation with a controller, and what speakers would tell.
type world struct {
	t         *testing.T
	namespace string
	class     string
}

// build makes an installation. Its objects go with the test, but for those of the cluster.
func build(t *testing.T) *world {
	w := &world{t: t, namespace: bed.Namespace(t)}
	w.class = "example.org/" + w.namespace
	for i := range nodes {
		w.node(fmt.Sprintf("%s-node-%d", w.namespace, i+1))
	}
	w.renew()
	bed.Start(t, w.namespace, "--lb-class", w.class, "--backend=speaker")
	return w
}

func (w *world) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace, Name: name}
}

// as is the world for another test.
func (w *world) as(t *testing.T) *world {
	of := *w
	of.t = t
	return &of
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	require.NoError(w.t, bed.Client.Create(w.t.Context(), o))
}

// status creates an object with a status.
func (w *world) status(o client.Object, set func()) {
	w.t.Helper()
	w.create(o)
	set()
	require.NoError(w.t, bed.Client.Status().Update(w.t.Context(), o))
}

// renew has the speakers give a sign of life until the test ends.
func (w *world) renew() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for tick := time.NewTicker(5 * time.Second); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			for i := range nodes {
				patch := fmt.Appendf(nil, `{"spec":{"renewTime":%q}}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
				lease := &coordinationv1.Lease{ObjectMeta: w.meta("speaker-" + w.nodeName(i))}
				_ = bed.Client.Patch(ctx, lease, client.RawPatch(types.MergePatchType, patch)) // the API server is stopped now and then
			}
		}
	}()
}

// node makes a node whose speaker is alive.
func (w *world) node(name string) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	w.status(n, func() {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	})
	w.t.Cleanup(func() { _ = bed.Client.Delete(context.Background(), n) })
	lease := presence.Lease(w.namespace, "speaker-"+name, name, time.Now())
	links := presence.Links{Links: []backends.Link{{Name: "eth0", IPv4: true, IPv6: true}}}
	lease.Annotations = map[string]string{presence.Annotation: links.String()}
	w.create(lease)
	state := &v1beta1.ConfigurationState{ObjectMeta: w.ofSpeaker("speaker-"+name, name)}
	w.status(state, func() { state.Status.Result = v1beta1.ConfigurationValid })
}

func (w *world) ofSpeaker(name, node string) metav1.ObjectMeta {
	m := w.meta(name)
	m.Labels = map[string]string{presence.LabelStatusNode: node, presence.LabelNode: node}
	return m
}

func (w *world) nodeName(i int) string { return fmt.Sprintf("%s-node-%d", w.namespace, i%nodes+1) }

func poolName(i int) string { return fmt.Sprintf("pool-%02d", i+1) }

// configure makes pools of any size and advertisements of both kinds, peers, and the sessions with them.
func (w *world) configure() {
	for i := range pools {
		p := &v1beta1.IPAddressPool{ObjectMeta: w.meta(poolName(i)), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{fmt.Sprintf("10.%d.0.0/24", 20+i)}}}
		switch i {
		case 0:
			p.Spec.Addresses = []string{"10.20.0.0/23", "2001:db8:20::/64"}
			p.Spec.AvoidBuggyIPs = true
		case 1:
			p.Spec.Addresses = []string{"11.0.0.0/8"}
		case 2:
			p.Spec.Addresses, p.Spec.AutoAssign = []string{"10.22.0.10-10.22.0.12"}, new(false)
		}
		w.create(p)
		if i%2 == 0 {
			w.create(&v1beta1.L2Advertisement{ObjectMeta: w.meta(poolName(i)), Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{poolName(i)}}})
		} else {
			w.create(&v1beta1.BGPAdvertisement{ObjectMeta: w.meta(poolName(i)), Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{poolName(i)}}})
		}
	}
	w.create(&v1alpha1.AddressReservation{ObjectMeta: w.meta("printers"), Spec: v1alpha1.AddressReservationSpec{Addresses: []string{"10.20.1.0/27"}}})
	for i, peer := range []string{"tor-left", "tor-right"} {
		w.create(&v1beta2.BGPPeer{ObjectMeta: w.meta(peer), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: fmt.Sprintf("10.255.0.%d", i+1)}})
		for n := range nodes {
			s := &v1alpha1.BGPSession{ObjectMeta: w.ofSpeaker(fmt.Sprintf("%s-%s", w.nodeName(n), peer), w.nodeName(n))}
			w.status(s, func() {
				s.Status = v1alpha1.BGPSessionStatus{Node: w.nodeName(n), Peer: peer, Address: fmt.Sprintf("10.255.0.%d", i+1), State: backends.Established,
					BFD: "Up", PrefixesSent: 412, Since: new(metav1.NewTime(time.Now().Add(-3 * time.Hour)))}
			})
		}
	}
}

// define returns a Service of the installation's class.
func (w *world) define(name, pool string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: w.meta(name)}
	s.Annotations = map[string]string{}
	if pool != "" {
		s.Annotations["metallb.io/address-pool"] = pool
	}
	s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &w.class, Ports: []corev1.ServicePort{{Port: 80}},
		AllocateLoadBalancerNodePorts: new(false)}
	for _, c := range change {
		c(s)
	}
	return s
}

// fill creates Services with endpoints, and has speakers announce those of layer 2.
func (w *world) fill(n int) {
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			ctx, pool := w.t.Context(), i%pools
			if pool == 2 {
				pool = 1 // it has three addresses
			}
			name := fmt.Sprintf("web-%04d", i)
			s := w.define(name, poolName(pool))
			if i%100 == 7 {
				s.Annotations["metallb.io/allow-shared-ip"] = "front"
				s.Spec.Ports[0].Port = int32(1000 + i)
			}
			if err := bed.Client.Create(ctx, s); err != nil {
				return err
			}
			node := w.nodeName(i)
			slice := &discoveryv1.EndpointSlice{ObjectMeta: w.meta(name), AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"10.1.0.1"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}},
			}}
			slice.Labels = map[string]string{discoveryv1.LabelServiceName: name}
			if err := bed.Client.Create(ctx, slice); err != nil {
				return err
			}
			if pool%2 == 1 {
				return nil
			}
			return w.announce(ctx, name, node)
		})
	}
	require.NoError(w.t, g.Wait())
	testbed.Eventually(w.t, "all Services to be judged", func(ctx context.Context) error {
		var list corev1.ServiceList
		if err := bed.Client.List(ctx, &list, client.InNamespace(w.namespace)); err != nil {
			return err
		}
		for i := range list.Items {
			if meta.FindStatusCondition(list.Items[i].Status.Conditions, service.ConditionAllocated) == nil {
				return errors.New(list.Items[i].Name + " is not")
			}
		}
		return nil
	})
}

// announce has the speaker of a node say that it announces a Service on layer 2.
func (w *world) announce(ctx context.Context, name, node string) error {
	x := &v1beta1.ServiceL2Status{ObjectMeta: w.meta("l2-" + name + "-" + node[len(node)-1:])}
	x.Labels = map[string]string{presence.LabelStatusNode: node, "metallb.io/service-name": name, "metallb.io/service-namespace": w.namespace}
	if err := bed.Client.Create(ctx, x); err != nil {
		return err
	}
	x.Status = v1beta1.ServiceL2StatusStatus{Node: node, ServiceName: name, ServiceNamespace: w.namespace, Interfaces: []v1beta1.InterfaceInfo{{Name: "eth0"}}}
	return bed.Client.Status().Update(ctx, x)
}

// account makes a user who may read everything but what is left out, and returns the kubeconfig and what takes the permission for Services.
func (w *world) account(name string) (kubeconfig string, revoke func()) {
	ctx := w.t.Context()
	w.create(&corev1.ServiceAccount{ObjectMeta: w.meta(name)})
	rules := map[string][]rbacv1.PolicyRule{
		"all": {
			{APIGroups: []string{"metallb.io", "fairlead.io", "coordination.k8s.io", "apps", "discovery.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"namespaces", "events"}, Verbs: []string{"get", "list", "watch"}},
		},
		"services": {{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"get", "list", "watch"}}},
	}
	for part, r := range rules {
		role := metav1.ObjectMeta{Name: w.namespace + "-" + name + "-" + part}
		w.create(&rbacv1.ClusterRole{ObjectMeta: role, Rules: r})
		w.create(&rbacv1.ClusterRoleBinding{ObjectMeta: role, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.namespace, Name: name}},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}})
	}
	token := &authenticationv1.TokenRequest{}
	require.NoError(w.t, bed.Client.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: w.meta(name)}, token))
	kc, err := clientcmd.Load(bed.Kubeconfig)
	require.NoError(w.t, err)
	for user := range kc.AuthInfos {
		kc.AuthInfos[user].ClientCertificateData, kc.AuthInfos[user].ClientKeyData, kc.AuthInfos[user].Token = nil, nil, token.Status.Token
	}
	path := filepath.Join(w.t.TempDir(), name)
	require.NoError(w.t, clientcmd.WriteToFile(*kc, path))
	return path, func() {
		require.NoError(w.t, bed.Client.Delete(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-" + name + "-services"}}))
	}
}
