package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// seedFrom is from how many Services on they are written into etcd: kube-apiserver creates the slower the more there are, and
	// with 40,000 gives up.
	seedFrom = 20_000
	// seedBatch is how many go into one transaction; etcd takes 128.
	seedBatch = 50
)

// seed writes the Services prefix-1 to prefix-(n-1) into etcd as copies of prefix-0, which has been created and given its address
// by way of the API: with names, cluster addresses and addresses of their own.
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
	s.APIVersion, s.Kind, s.ResourceVersion = "v1", "Service", ""
	shape, err := json.Marshal(&s)
	if err != nil {
		return err
	}
	batches := (n - 1 + seedBatch - 1) / seedBatch
	_, err = loop(ctx, "seed batch", batches, 4, func(ctx context.Context, batch int) error {
		var puts []map[string]any
		for i := 1 + batch*seedBatch; i < min(n, 1+(batch+1)*seedBatch); i++ {
			copied, err := copyOf(shape, prefix, i)
			if err != nil {
				return err
			}
			for _, o := range []struct {
				key    string
				object any
			}{
				{"/registry/services/specs/" + namespace + "/" + copied.Name, copied},
				{"/registry/ipaddresses/" + copied.Spec.ClusterIP, clusterIP(copied)},
			} {
				b, err := json.Marshal(o.object)
				if err != nil {
					return err
				}
				puts = append(puts, map[string]any{"requestPut": map[string][]byte{"key": []byte(o.key), "value": b}})
			}
		}
		return w.etcd(ctx, map[string]any{"success": puts})
	})
	return err
}

// copyOf returns the i-th copy of a Service.
func copyOf(shape []byte, prefix string, i int) (*corev1.Service, error) {
	var s corev1.Service
	// A condition names the address, too.
	if err := json.Unmarshal(bytes.ReplaceAll(shape, []byte(nth(0).String()), []byte(nth(i).String())), &s); err != nil {
		return nil, err
	}
	s.Name, s.UID = name(prefix, i), uuid.NewUUID()
	// The API server's own addresses are at the beginning of its range.
	s.Spec.ClusterIP = netip.AddrFrom4([4]byte{10, 104, byte(i >> 8), byte(i)}).String()
	s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	return &s, nil
}

// clusterIP returns the object by which the API server knows who has a cluster address; it would make all of them, and send events,
// while something else is measured.
func clusterIP(s *corev1.Service) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IPAddress"},
		ObjectMeta: metav1.ObjectMeta{Name: s.Spec.ClusterIP, UID: uuid.NewUUID(), CreationTimestamp: s.CreationTimestamp, Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: string(corev1.IPv4Protocol), networkingv1.LabelManagedBy: "ipallocator.k8s.io",
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: s.Namespace, Name: s.Name}},
	}
}

// etcd runs a transaction.
func (w *world) etcd(ctx context.Context, txn map[string]any) error {
	body, err := json.Marshal(txn)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.bed.EtcdURL()+"/v3/kv/txn", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("write to etcd: %s: %.200s: %w", resp.Status, answer, err)
	}
	return nil
}
