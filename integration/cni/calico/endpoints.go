package calico

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/cni"
)

// ofServices is who keeps the EndpointSlices of Services with a selector.
const ofServices = "endpointslice-controller.k8s.io"

// mirror does what kube-controller-manager does of old: it makes an Endpoints object for each IPv4 EndpointSlice. This Calico looks at
// those (confd/pkg/backends/calico/routes.go).
func mirror(t testing.TB, l *cni.Lab) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w, err := l.Client.Watch(ctx, &discoveryv1.EndpointSliceList{})
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-done
	})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for e := range w.ResultChan() {
				slice, ok := e.Object.(*discoveryv1.EndpointSlice)
				if !ok || slice.AddressType != discoveryv1.AddressTypeIPv4 || slice.Labels[discoveryv1.LabelManagedBy] != ofServices {
					continue
				}
				if err := mirrored(ctx, l.Client, slice, e.Type == watch.Deleted); err != nil && ctx.Err() == nil {
					t.Errorf("mirror %s: %v", slice.Name, err)
				}
			}
			if w, err = l.Client.Watch(ctx, &discoveryv1.EndpointSliceList{}); err != nil {
				if ctx.Err() == nil {
					t.Errorf("watch EndpointSlices: %v", err)
				}
				return
			}
		}
	}()
}

// mirrored makes the Endpoints object of a slice what the slice is.
func mirrored(ctx context.Context, c client.Client, slice *discoveryv1.EndpointSlice, gone bool) error {
	var addresses []any
	for _, e := range slice.Endpoints {
		if e.Conditions.Ready == nil || *e.Conditions.Ready {
			addresses = append(addresses, map[string]any{"ip": e.Addresses[0], "nodeName": *e.NodeName})
		}
	}
	var subsets []any
	if len(addresses) > 0 {
		var ports []any
		for _, p := range slice.Ports {
			ports = append(ports, map[string]any{"name": *p.Name, "port": int64(*p.Port), "protocol": string(*p.Protocol)})
		}
		subsets = []any{map[string]any{"addresses": addresses, "ports": ports}}
	}
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Endpoints"))
	u.SetNamespace(slice.Namespace)
	u.SetName(slice.Labels[discoveryv1.LabelServiceName])
	if gone {
		return client.IgnoreNotFound(c.Delete(ctx, u))
	}
	u.Object["subsets"] = subsets
	return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("endpoints"), client.ForceOwnership)
}
