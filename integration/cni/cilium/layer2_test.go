package cilium

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestInterfaces: what is announced is what those L2Advertisements say together that still apply.
func TestInterfaces(t *testing.T) {
	c := New()
	c.TwoInterfaces = true
	l := cni.NewLab(t, c)
	p := l.Bed.Start(t, l.Namespace, "--backend=cilium")
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: l.Namespace, Name: name} }
	create := func(o client.Object) {
		t.Helper()
		require.NoError(t, l.Client.Create(t.Context(), o))
	}
	announced := func(want ...string) {
		t.Helper()
		testbed.Eventually(t, fmt.Sprintf("layer 2 announcements %q\n%s", want, p.Log()), func(context.Context) error {
			var got []string
			for node := range c.Agents {
				text, err := os.ReadFile(dump(l, node))
				if err != nil {
					return err
				}
				for line := range strings.Lines(string(text)) {
					if announced, ok := strings.CutPrefix(line, "l2 "); ok {
						got = append(got, strings.TrimSpace(announced))
					}
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Errorf("they are %q", got)
			}
			return nil
		})
	}
	advert := func(name, iface, tier string) *v1beta1.L2Advertisement {
		o := &v1beta1.L2Advertisement{ObjectMeta: meta(name), Spec: v1beta1.L2AdvertisementSpec{Interfaces: []string{iface}}}
		if tier != "" {
			o.Spec.ServiceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": tier}}}
		}
		return o
	}
	create(&v1beta1.IPAddressPool{ObjectMeta: meta("a"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.100.0/30"}}})
	svc := &corev1.Service{ObjectMeta: meta("web"), Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	svc.Labels = map[string]string{"tier": "front"}
	create(svc)
	create(advert("first", "eth0", ""))
	announced("192.0.100.0 on eth0")
	second := advert("second", "eth1", "")
	create(second)
	announced("192.0.100.0 on eth0", "192.0.100.0 on eth1")
	require.NoError(t, l.Client.Delete(t.Context(), second))
	announced("192.0.100.0 on eth0")

	create(advert("third", "eth1", "front"))
	announced("192.0.100.0 on eth0", "192.0.100.0 on eth1")
	before := svc.DeepCopy()
	svc.Labels["tier"] = "back"
	require.NoError(t, l.Client.Patch(t.Context(), svc, client.MergeFrom(before)))
	announced("192.0.100.0 on eth0")
}
