// Package allocators tests addresses that somebody else gives out: the controller's binary on real API servers, and Cluster API's in-cluster
// IPAM provider, unmodified.
package allocators

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// bed has the provider, and is the hub where there is one.
var bed *testbed.Bed

var provider *testbed.Process

func TestMain(m *testing.M) {
	os.Exit(testbed.MainWith(m, &bed, func(b *testbed.Bed) (err error) {
		provider, err = b.ServeIPAM()
		return err
	}))
}

// cluster is an installation on one API server.
type cluster struct {
	t         *testing.T
	bed       *testbed.Bed
	namespace string
	class     string
}

func install(t *testing.T, b *testbed.Bed) *cluster {
	ns := b.Namespace(t)
	return &cluster{t: t, bed: b, namespace: ns, class: "example.org/" + ns}
}

func (c *cluster) start(args ...string) *testbed.Process {
	return c.bed.Start(c.t, c.namespace, append([]string{"--lb-class", c.class, "--allocators=cluster-api"}, args...)...)
}

// providerPool makes a pool of the provider and returns what IPAddressPools name it by.
func providerPool(t *testing.T, name string, addresses ...any) string {
	t.Helper()
	prefix := int64(24)
	if strings.Contains(fmt.Sprint(addresses[0]), ":") {
		prefix = 64
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"addresses": addresses, "prefix": prefix, "allocateReservedIPAddresses": true,
	}}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: clusterapi.Group, Version: "v1alpha2", Kind: "GlobalInClusterIPPool"})
	o.SetName(name)
	require.NoError(t, bed.Client.Create(t.Context(), o))
	return "GlobalInClusterIPPool." + clusterapi.Group + "/" + name
}

// pool makes an IPAddressPool; from is the pool of the allocator, empty for the built-in one.
func (c *cluster) pool(name, from string, addresses ...string) *v1beta1.IPAddressPool {
	c.t.Helper()
	p := &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}, Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses},
	}
	if from != "" {
		p.Annotations = external(from)
	}
	require.NoError(c.t, c.bed.Client.Create(c.t.Context(), p))
	return p
}

func external(from string) map[string]string {
	return map[string]string{config.AnnotationAllocator: config.AllocatorClusterAPI, config.AnnotationAllocatorPool: from}
}

func (c *cluster) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	c.t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name, Annotations: map[string]string{}}}
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &c.class, Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
	}
	for _, f := range change {
		f(s)
	}
	require.NoError(c.t, c.bed.Client.Create(c.t.Context(), s))
	return s
}

func annotated(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[key] = value }
}

func families(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, families }
}

// has waits until the Service has these addresses, and returns what its condition says then.
func (c *cluster) has(s *corev1.Service, want string) string {
	c.t.Helper()
	testbed.Eventually(c.t, "addresses of "+s.Name, func(ctx context.Context) error {
		if err := c.bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if got := testbed.IPs(s); got != want {
			return fmt.Errorf("has %q, want %q (%s)", got, want, testbed.Condition(s, service.ConditionAllocated))
		}
		return nil
	})
	return testbed.Condition(s, service.ConditionAllocated)
}

// says waits until the condition of the Service begins so.
func (c *cluster) says(s *corev1.Service, want string) {
	c.t.Helper()
	testbed.Eventually(c.t, "the condition of "+s.Name, func(ctx context.Context) error {
		if err := c.bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if got := testbed.Condition(s, service.ConditionAllocated); !strings.HasPrefix(got, want) {
			return fmt.Errorf("is %q, want %q", got, want)
		}
		return nil
	})
}

// claims returns the claims in a namespace of the hub, by name of the Service they are for.
func claims(ctx context.Context, namespace string) (map[string]unstructured.Unstructured, error) {
	list, err := objects(ctx, namespace, "IPAddressClaim")
	out := map[string]unstructured.Unstructured{}
	for _, o := range list {
		out[o.GetLabels()[clusterapi.LabelServiceName]+" "+o.GetAnnotations()[clusterapi.AnnotationFamily]] = o
	}
	return out, err
}

func objects(ctx context.Context, namespace, kind string) ([]unstructured.Unstructured, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: clusterapi.Group, Version: clusterapi.Versions[0], Kind: kind + "List"})
	err := bed.Client.List(ctx, list, client.InNamespace(namespace))
	return list.Items, err
}

// noClaims waits until a namespace has no more claims than these.
func claimed(t *testing.T, namespace string, want ...string) {
	t.Helper()
	testbed.Eventually(t, "claims", func(ctx context.Context) error {
		all, err := claims(ctx, namespace)
		if err != nil {
			return err
		}
		got := map[string]bool{}
		for name := range all {
			got[name] = true
		}
		for _, name := range want {
			if !got[name] {
				return fmt.Errorf("none for %s; there are %v", name, got)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			return fmt.Errorf("%v are left", got)
		}
		return nil
	})
}
