package main

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// seedFrom is from how many Services on they are written into etcd: with 40,000 kube-apiserver gives up creating them.
const seedFrom = 20_000

// seed writes the Services prefix-1 to prefix-(n-1) into etcd as copies of prefix-0, which has been created and given its address
// by way of the API: with names, cluster addresses and addresses of their own. With each goes the object by which the API server knows
// who has a cluster address; it would make all of them, and send events, while something else is measured.
func (w *world) seed(ctx context.Context, prefix string, n int) error {
	if _, err := w.create(ctx, served, prefix, 1, 1); err != nil {
		return err
	}
	if _, err := w.assign(ctx, prefix, 1); err != nil {
		return err
	}
	var s corev1.Service
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name(prefix, 0)}, &s); err != nil {
		return err
	}
	var ip networkingv1.IPAddress
	if err := w.client.Get(ctx, client.ObjectKey{Name: s.Spec.ClusterIP}, &ip); err != nil {
		return err
	}
	return w.bed.Copies(ctx, []client.Object{&s, &ip}, 1, n, func(i int) []string {
		return []string{
			s.Name, name(prefix, i), nth(0).String(), nth(i).String(),
			// The API server's own addresses are at the beginning of its range.
			s.Spec.ClusterIP, netip.AddrFrom4([4]byte{10, 104, byte(i >> 8), byte(i)}).String(),
		}
	})
}
