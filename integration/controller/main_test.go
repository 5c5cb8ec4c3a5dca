// Package controller tests the controller's binary on a real API server, from outside.
package controller

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/service"
)

var bed *testbed.Bed

func TestMain(m *testing.M) { os.Exit(testbed.Main(m, &bed)) }

// installation is a namespace with its own pools, and a loadBalancerClass of its own, so that tests do not meet.
type installation struct {
	t         *testing.T
	namespace string
	class     string
}

func install(t *testing.T) *installation {
	ns := bed.Namespace(t)
	return &installation{t: t, namespace: ns, class: "example.org/" + ns}
}

func (i *installation) start(args ...string) *testbed.Process {
	return bed.Start(i.t, i.namespace, append([]string{"--lb-class", i.class}, args...)...)
}

func (i *installation) pool(name string, addresses ...string) *v1beta1.IPAddressPool {
	p := &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name}, Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses},
	}
	require.NoError(i.t, bed.Client.Create(i.t.Context(), p))
	return p
}

// define returns a Service of the installation's class; it does not create it.
func (i *installation) define(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name, Annotations: map[string]string{}}}
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &i.class,
		Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func (i *installation) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := i.define(name, change...)
	require.NoError(i.t, bed.Client.Create(i.t.Context(), s))
	return s
}

func annotated(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[key] = value }
}

// has waits until the Service has exactly these addresses.
func has(t *testing.T, s *corev1.Service, want string) {
	t.Helper()
	testbed.Eventually(t, "addresses of "+s.Name, func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if got := testbed.IPs(s); got != want {
			return fmt.Errorf("has %q, want %q (%s)", got, want, testbed.Condition(s, service.ConditionAllocated))
		}
		return nil
	})
}

// refused waits until the condition of the Service begins so.
func refused(t *testing.T, s *corev1.Service, want string) {
	t.Helper()
	testbed.Eventually(t, "the condition of "+s.Name, func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if got := testbed.Condition(s, service.ConditionAllocated); !strings.HasPrefix(got, want) {
			return fmt.Errorf("is %q, want %q", got, want)
		}
		return nil
	})
}

// events returns "Type Reason" and message of every event of ours on an object; the API server, too, tells Services things.
func events(ctx context.Context, namespace string, uid types.UID) ([]string, error) {
	var list corev1.EventList
	if err := bed.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list.Items {
		if e.InvolvedObject.UID == uid && e.ReportingController == assign.EventSource {
			out = append(out, fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Message))
		}
	}
	slices.Sort(out)
	return out, nil
}

// hasEvents waits until the object has exactly the events that begin so, in alphabetical order.
func hasEvents(t *testing.T, o client.Object, want ...string) {
	t.Helper()
	testbed.Eventually(t, "the events of "+o.GetName(), func(ctx context.Context) error {
		got, err := events(ctx, o.GetNamespace(), o.GetUID())
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		for i := range got {
			if !strings.HasPrefix(got[i], want[i]) {
				return fmt.Errorf("got %q, want %q", got[i], want[i])
			}
		}
		return nil
	})
}

func gone(ctx context.Context, o client.Object) error {
	err := bed.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
	if err == nil {
		return errors.New("still there")
	}
	return client.IgnoreNotFound(err)
}
