package testbed

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Edit changes an object as a user would, again if somebody else was faster.
func Edit[T client.Object](t testing.TB, b *Bed, o T, change func(T)) {
	t.Helper()
	Eventually(t, "an edit to go through", func(ctx context.Context) error {
		if err := b.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change(o)
		return b.Client.Update(ctx, o)
	})
}

// IPs returns the addresses of a Service as its status has them, with blanks between.
func IPs(s *corev1.Service) string {
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP)
	}
	return strings.Join(out, " ")
}

// Condition returns "Status Reason: message" of a condition of a Service; empty: it has none of that type.
func Condition(s *corev1.Service, kind string) string {
	c := meta.FindStatusCondition(s.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}
