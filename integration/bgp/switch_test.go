package bgp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

var calicoConfiguration = schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "BGPConfiguration"}

// TestSwitch moves a BGPAdvertisement from Calico, whose own peers it uses, to the speakers and back. Calico's entry goes only when the
// router has the speakers' routes, and these only when Calico has been told.
func TestSwitch(t *testing.T) {
	r := newRack(t, 2, func(*v1beta2.BGPPeerSpec) {})
	bed := r.Bed
	require.NoError(t, bed.InstallCRDs(testbed.CalicoCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters", "ippools", "clusterinformations", "kubecontrollersconfigurations")...))
	_, err := r.Controller.Stop()
	require.NoError(t, err)
	r.Controller = bed.Start(t, r.Namespace, "--backend=speaker", "--manage-peers=false")
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"asNumber": int64(65001), "serviceLoadBalancerIPs": []any{map[string]any{"cidr": "203.0.113.0/24"}},
	}}}
	u.SetGroupVersionKind(calicoConfiguration)
	u.SetName("default")
	r.Create(u)
	blocks := func(ctx context.Context) []string {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(calicoConfiguration)
		if err := bed.Client.Get(ctx, client.ObjectKey{Name: "default"}, u); err != nil {
			return []string{err.Error()}
		}
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "serviceLoadBalancerIPs")
		var out []string
		for _, x := range list {
			out = append(out, fmt.Sprint(x.(map[string]any)["cidr"]))
		}
		return out
	}
	await := func(what string, want ...string) {
		t.Helper()
		testbed.Eventually(t, what, func(ctx context.Context) error {
			if got := blocks(ctx); !slices.Equal(got, want) {
				return fmt.Errorf("they are %q, want %q", got, want)
			}
			return nil
		})
	}
	hand := func(to string) {
		t.Helper()
		var a v1beta1.BGPAdvertisement
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "adv"}, &a))
		a.Annotations = map[string]string{"fairlead.io/backend": to}
		require.NoError(t, bed.Client.Update(t.Context(), &a))
	}
	svc := r.Service("web", r.Nodes(), nil)
	route := site.Addrs(svc)[0].String() + "/32"
	routing.Await(t, "the speakers' routes", func() bool { return r.nextHops("ipv4", route) == 2 })
	const foreign = "203.0.113.0/24"
	ours := []string{"192.0.100.0/22", "2001:db8::1:0/112"}

	hand("calico")
	await("Calico's list", foreign, ours[0], ours[1])
	routing.Await(t, "no route of the speakers", func() bool { return r.nextHops("ipv4", route) == 0 })

	testbed.Eventually(t, "the speakers to say so", func(ctx context.Context) error {
		var told v1beta1.ServiceBGPStatusList
		var sessions v1alpha1.BGPSessionList
		in := client.InNamespace(r.Namespace)
		if err := errors.Join(bed.Client.List(ctx, &told, in), bed.Client.List(ctx, &sessions, in)); err != nil {
			return err
		}
		if n := len(told.Items) + len(sessions.Items); n > 0 {
			return fmt.Errorf("%d objects tell of before", n)
		}
		return nil
	})

	// While the speakers have no session, Calico goes on.
	r.frr.BGPD.Kill()
	hand("speaker")
	r.session("n1-tor-v4", "an error", func(x v1alpha1.BGPSessionStatus) bool { return x.State != "Established" && x.LastError != "" })
	testbed.Eventually(t, "the Backend object", func(ctx context.Context) error {
		var b v1alpha1.Backend
		if err := bed.Client.Get(ctx, client.ObjectKey{Name: "speaker"}, &b); err != nil {
			return err
		}
		if len(b.Status.Owned.Objects) != 1 {
			return errors.New("the speakers have not been told")
		}
		return nil
	})
	assert.Equal(t, append([]string{foreign}, ours...), blocks(t.Context()))
	r.frr.Start()
	routing.Await(t, "the speakers' routes", func() bool { return r.nextHops("ipv4", route) == 2 })
	await("Calico's list", foreign)
	r.Advertised(svc, `True Advertised: speaker: advertised by BGP from nodes "n1", "n2" to peers "tor-v4", "tor-v6"`)
	r.frr.BGPD.Kill()
	r.Advertised(svc, "False NoSession: speaker: no BGP session is up over which to advertise it: n1 to tor-v4: ")
	r.frr.Start()
	r.Advertised(svc, "True Advertised: speaker: ")

	// What is taken back leaves nothing behind.
	_, err = r.Controller.Stop()
	require.NoError(t, err)
	bed.Cleanup(t, r.Namespace)
	routing.Await(t, "no route", func() bool { return r.nextHops("ipv4", route) == 0 })
	assert.Equal(t, []string{foreign}, blocks(t.Context()))
	err = bed.Client.Get(t.Context(), client.ObjectKey{Name: "speaker"}, &v1alpha1.Backend{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}
