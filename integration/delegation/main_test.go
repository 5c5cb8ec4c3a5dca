// Package delegation tests, from outside and on a real API server with the CRDs of both CNIs, how the controller's binary chooses
// between them, moves from one to the other, and tells the user.
package delegation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

var bed *testbed.Bed

func TestMain(m *testing.M) { os.Exit(testbed.Main(m, &bed)) }

// The objects that are looked at.
var (
	calicoGroup = schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}
	ciliumGroup = schema.GroupVersion{Group: "cilium.io", Version: "v2"}
	policyGroup = schema.GroupVersion{Group: "cilium.io", Version: "v2alpha1"}
)

// installation is a namespace with one pool, and a loadBalancerClass that Cilium advertises or none.
type installation struct {
	t         *testing.T
	namespace string
}

// install makes an installation on a cluster with the CRDs of both CNIs. Tests of this package do not run in parallel.
func install(t *testing.T) *installation {
	require.NoError(t, bed.InstallCRDs(testbed.CalicoCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters", "ippools", "clusterinformations", "kubecontrollersconfigurations", "caliconodestatuses")...))
	require.NoError(t, bed.InstallCRDs(testbed.CiliumCRDs(t, "ciliumbgpadvertisements", "ciliumbgppeerconfigs", "ciliumbgpclusterconfigs", "ciliumbgpnodeconfigs",
		"ciliumloadbalancerippools", "ciliuml2announcementpolicies")...))
	i := &installation{t, bed.Namespace(t)}
	t.Cleanup(i.clean)
	i.create(&v1beta1.IPAddressPool{ObjectMeta: i.meta("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.80.0.0/28", "2001:db8:80::/124"}}})
	return i
}

// agents has a stand-in for the agents of both CNIs say that a node has sessions of both families.
func agents(t *testing.T) {
	t.Helper()
	routers := testbed.Routers{netip.MustParseAddr("192.0.2.1"): true, netip.MustParseAddr("2001:db8::1"): true}
	bed.CalicoAgent(t, "n1", func() testbed.Routers { return routers })
	bed.CiliumAgent(t, "n1", routers)
}

func (i *installation) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: i.namespace, Name: name}
}

func (i *installation) create(o client.Object) {
	i.t.Helper()
	require.NoError(i.t, bed.Client.Create(i.t.Context(), o))
}

// clean removes what a test may have left behind, so that the next one finds a cluster like new.
func (i *installation) clean() {
	ctx := context.WithoutCancel(i.t.Context())
	for _, k := range []schema.GroupVersionKind{
		calicoGroup.WithKind("BGPConfiguration"), calicoGroup.WithKind("BGPPeer"), calicoGroup.WithKind("BGPFilter"), calicoGroup.WithKind("IPPool"),
		calicoGroup.WithKind("CalicoNodeStatus"), // of a controller that had no time left to remove its questions
		ciliumGroup.WithKind("CiliumBGPAdvertisement"), ciliumGroup.WithKind("CiliumBGPPeerConfig"), ciliumGroup.WithKind("CiliumBGPClusterConfig"),
		ciliumGroup.WithKind("CiliumLoadBalancerIPPool"), policyGroup.WithKind("CiliumL2AnnouncementPolicy"),
		v1alpha1.GroupVersion.WithKind("Backend"),
	} {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(k)
		err := bed.Client.DeleteAllOf(ctx, u)
		require.True(i.t, err == nil || meta.IsNoMatchError(err) || apierrors.IsNotFound(err), "%v", err)
	}
	for _, ns := range []string{"default", i.namespace} {
		require.NoError(i.t, bed.Client.DeleteAllOf(ctx, &corev1.Service{}, client.InNamespace(ns), client.MatchingLabels{"test": "yes"}))
	}
	for _, o := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cilium-config"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "calico-config"}},
	} {
		require.NoError(i.t, client.IgnoreNotFound(bed.Client.Delete(ctx, o)))
	}
}

// bgp creates a BGPAdvertisement of all pools.
func (i *installation) bgp(name string, change ...func(*v1beta1.BGPAdvertisement)) *v1beta1.BGPAdvertisement {
	a := &v1beta1.BGPAdvertisement{ObjectMeta: i.meta(name)}
	for _, c := range change {
		c(a)
	}
	i.create(a)
	return a
}

// service creates a Service without a class, and waits for its address.
func (i *installation) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	i.t.Helper()
	s := &corev1.Service{ObjectMeta: i.meta(name)}
	s.Labels = map[string]string{"test": "yes"}
	s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}}
	for _, c := range change {
		c(s)
	}
	i.create(s)
	return s
}

// settings sets a key of a CNI's ConfigMap in kube-system.
func settings(t *testing.T, name string, data map[string]string) {
	t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name}, Data: data}
	err := bed.Client.Create(t.Context(), cm)
	if apierrors.IsAlreadyExists(err) {
		err = bed.Client.Update(t.Context(), cm)
	}
	require.NoError(t, err)
}

// blocks returns Calico's list, empty if there is no BGPConfiguration.
func blocks(ctx context.Context) (string, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(calicoGroup.WithKind("BGPConfiguration"))
	if err := bed.Client.Get(ctx, client.ObjectKey{Name: "default"}, u); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	list, _, err := unstructured.NestedSlice(u.Object, "spec", "serviceLoadBalancerIPs")
	var out []string
	for _, b := range list {
		out = append(out, b.(map[string]any)["cidr"].(string))
	}
	return strings.Join(out, " "), err
}

// names returns the names of all objects of a kind.
func names(ctx context.Context, k schema.GroupVersionKind) (string, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
	if err := bed.Client.List(ctx, list); err != nil {
		return "", err
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.GetName())
	}
	slices.Sort(out)
	return strings.Join(out, " "), nil
}

func adverts(ctx context.Context) (string, error) {
	return names(ctx, ciliumGroup.WithKind("CiliumBGPAdvertisement"))
}

// is waits until what read returns is want.
func is(t *testing.T, what, want string, read func(context.Context) (string, error)) {
	t.Helper()
	testbed.Eventually(t, what, func(ctx context.Context) error {
		got, err := read(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("is %q, want %q", got, want)
		}
		return err
	})
}

// condition waits until a condition of a Service begins so, and returns the Service.
func condition(t *testing.T, s *corev1.Service, kind, want string) *corev1.Service {
	t.Helper()
	testbed.Eventually(t, kind+" of "+s.Name, func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		c := meta.FindStatusCondition(s.Status.Conditions, "fairlead.io/"+kind)
		if c == nil {
			return errors.New("there is none")
		}
		if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); !strings.HasPrefix(got, want) {
			return fmt.Errorf("is %q, want %q", got, want)
		}
		return nil
	})
	return s
}

// backend waits until a condition of a Backend object begins so; an empty want waits until the object is gone.
func backend(t *testing.T, name, kind, want string) {
	t.Helper()
	testbed.Eventually(t, fmt.Sprintf("%s of backend %s", kind, name), func(ctx context.Context) error {
		var b v1alpha1.Backend
		err := bed.Client.Get(ctx, client.ObjectKey{Name: name}, &b)
		if want == "" {
			if err == nil {
				err = errors.New("it is still there")
			}
			return client.IgnoreNotFound(err)
		}
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(b.Status.Conditions, kind)
		if c == nil {
			return fmt.Errorf("there is none: %+v", b.Status.Conditions)
		}
		if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); !strings.HasPrefix(got, want) {
			return fmt.Errorf("is %q, want %q", got, want)
		}
		return nil
	})
}
