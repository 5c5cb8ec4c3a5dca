package delegation

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

const ours = "10.80.0.0/28 2001:db8:80::/124"

// foreignBlock puts a block of somebody else into Calico's list.
func foreignBlock(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"serviceLoadBalancerIPs": []any{map[string]any{"cidr": "203.0.113.0/24"}},
	}}}
	u.SetGroupVersionKind(calicoGroup.WithKind("BGPConfiguration"))
	u.SetName("default")
	require.NoError(t, bed.Client.Create(t.Context(), u))
}

// TestSwitching goes from Calico to Cilium, back, and to nobody: each time the new one is told before the old one lets go, what is
// somebody else's stays, and in the end nothing of ours is left.
func TestSwitching(t *testing.T) {
	i := install(t)
	agents(t)
	foreignBlock(t)
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true", "enable-l2-announcements": "true"})
	i.bgp("all")
	i.create(&v1beta1.L2Advertisement{ObjectMeta: i.meta("all")})

	p := bed.Start(t, i.namespace, "--backend=calico")
	is(t, "Calico's list", "203.0.113.0/24 "+ours, blocks)
	backend(t, "calico", "Ready", "True Applied")
	s := i.service("web")
	condition(t, s, "Advertised", "True Advertised: Calico: aggregated in 10.80.0.0/28")
	replace := func(next string) {
		_, err := p.Stop()
		require.NoError(t, err)
		p = bed.Start(t, i.namespace, "--backend="+next)
	}

	gap := watchGap(t)
	replace("cilium")
	is(t, "Cilium's advertisements", "fairlead-bgpadv-all", adverts)
	backend(t, "cilium", "Ready", "False Incomplete: BGPAdvertisement/"+i.namespace+`/all: no CiliumBGPPeerConfig selects its CiliumBGPAdvertisement`)
	assert.Never(t, func() bool {
		list, err := blocks(t.Context())
		return err == nil && list != "203.0.113.0/24 "+ours
	}, 5*time.Second, 100*time.Millisecond, "Calico lets go of what Cilium tells nobody")
	i.create(peerConfig())
	backend(t, "cilium", "Ready", "True Applied")
	is(t, "Calico's list", "203.0.113.0/24", blocks)
	backend(t, "calico", "Ready", "")
	assert.False(t, gap(), "Calico was told to stop before Cilium was told to begin")
	policies := func(ctx context.Context) (string, error) {
		return names(ctx, policyGroup.WithKind("CiliumL2AnnouncementPolicy"))
	}
	is(t, "Cilium's policies", "fairlead-l2-all", policies)
	condition(t, s, "Advertised", `True Advertised: Cilium: CiliumBGPAdvertisement "fairlead-bgpadv-all", selected by 1 peer config; CiliumL2AnnouncementPolicy "fairlead-l2-all"`)

	replace("calico")
	is(t, "Calico's list", "203.0.113.0/24 "+ours, blocks)
	is(t, "Cilium's advertisements", "", adverts)
	is(t, "Cilium's policies", "", policies)
	backend(t, "cilium", "Ready", "")

	replace("none")
	is(t, "Calico's list", "203.0.113.0/24", blocks)
	backend(t, "calico", "Ready", "")
	testbed.Eventually(t, "no condition where nobody is asked to advertise", func(ctx context.Context) error {
		require.NoError(t, bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s))
		if len(s.Status.Conditions) != 1 {
			return assert.AnError
		}
		return nil
	})
}

// watchGap looks on while Calico's entries go, and returns a function that tells whether Cilium had nothing at that moment.
func watchGap(t *testing.T) func() bool {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(calicoGroup.WithKind("BGPConfigurationList"))
	w, err := bed.Client.Watch(t.Context(), list)
	require.NoError(t, err)
	found := make(chan bool, 1)
	go func() {
		gap := false
		for e := range w.ResultChan() {
			if e.Type != watch.Modified && e.Type != watch.Deleted {
				continue
			}
			b, _, _ := unstructured.NestedSlice(e.Object.(*unstructured.Unstructured).Object, "spec", "serviceLoadBalancerIPs")
			if len(b) < 3 {
				a, err := adverts(t.Context())
				gap = err != nil || a == ""
				break
			}
		}
		w.Stop()
		found <- gap
	}()
	return func() bool { return <-found }
}

// TestAuto: who serves is found out, also later, and two that could are nobody.
func TestAuto(t *testing.T) {
	i := install(t)
	i.bgp("all")
	bed.Start(t, i.namespace, "--backend=auto")
	s := i.service("web")
	backend(t, "none", "Ready", "False NotDetected: no backend is chosen: neither a Calico whose nodes run BIRD nor a Cilium with its BGP control plane on was found")
	condition(t, s, "Advertised", `False NoBackend: no backend serves BGPAdvertisement "all"`)
	table := bed.Kubectl(t, "get", "backends.fairlead.io")
	assert.Contains(t, table, "NotDetected")
}

// TestAutoFinds has one CNI, then both.
func TestAutoFinds(t *testing.T) {
	i := install(t)
	i.bgp("all")
	settings(t, "calico-config", map[string]string{"calico_backend": "bird"})
	p := bed.Start(t, i.namespace, "--backend=auto")
	is(t, "Calico's list", ours, blocks)
	backend(t, "none", "Ready", "")
	_, err := p.Stop()
	require.NoError(t, err)

	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
	bed.Start(t, i.namespace, "--backend=auto")
	backend(t, "none", "Ready", "False NotDetected: no backend is chosen: both Calico's BGP and Cilium's BGP control plane are on")
}

// TestAutoFindsLater: a CNI that is installed while the controller runs is found.
func TestAutoFindsLater(t *testing.T) {
	i := install(t)
	i.bgp("all")
	settings(t, "calico-config", map[string]string{"calico_backend": "bird"})
	removeCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters")
	bed.Start(t, i.namespace, "--backend=auto")
	backend(t, "none", "Ready", "False NotDetected")
	require.NoError(t, bed.InstallCRDs(testbed.CalicoCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters")...))
	is(t, "Calico's list", ours, blocks)
	backend(t, "none", "Ready", "")
}

// TestPeerSecret: a peer whose Secret is missing or of the wrong type says so, on itself and on the Backend object; the others are
// set up, and so is this one once its Secret is right.
func TestPeerSecret(t *testing.T) {
	i := install(t)
	i.bgp("all")
	peer := func(name, address string) *v1beta2.BGPPeer {
		return &v1beta2.BGPPeer{ObjectMeta: i.meta(name), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: address}}
	}
	i.create(peer("open", "2001:db8::1"))
	secured := peer("secured", "192.0.2.1")
	secured.Spec.PasswordSecret.Name = "password"
	i.create(secured)
	peers := func(ctx context.Context) (string, error) { return names(ctx, calicoGroup.WithKind("BGPPeer")) }
	p := bed.Start(t, i.namespace, "--backend=calico")
	is(t, "Calico's peers", "fairlead-open", peers)
	missing := "there is no Secret " + i.namespace + "/password"
	backend(t, "calico", "PeerNotReady", "True Found: BGPPeer/"+i.namespace+"/secured spec.passwordSecret: "+missing)
	eventOn(t, secured, "PeerNotReady", missing)

	_, err := p.Stop()
	require.NoError(t, err)
	secret := &corev1.Secret{ObjectMeta: i.meta("password"), StringData: map[string]string{"password": "hush"}}
	i.create(secret)
	p = bed.Start(t, i.namespace, "--backend=calico")
	wrong := "Secret " + i.namespace + "/password is of type Opaque; it must be kubernetes.io/basic-auth"
	backend(t, "calico", "PeerNotReady", "True Found: BGPPeer/"+i.namespace+"/secured spec.passwordSecret: "+wrong)
	eventOn(t, secured, "PeerNotReady", wrong)

	_, err = p.Stop()
	require.NoError(t, err)
	require.NoError(t, bed.Client.Delete(t.Context(), secret))
	i.create(&corev1.Secret{ObjectMeta: i.meta("password"), Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"password": "hush"}})
	bed.Start(t, i.namespace, "--backend=calico")
	is(t, "Calico's peers", "fairlead-open fairlead-secured", peers)
	backend(t, "calico", "Ready", "True Applied")
}

// TestIPAMConflict: while the CNI's own allocator would take the addresses away again, none is written, and the Service says why.
func TestIPAMConflict(t *testing.T) {
	i := install(t)
	i.bgp("all")
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
	pool := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"blocks": []any{map[string]any{"cidr": "198.51.100.0/24"}}, "disabled": true}}}
	pool.SetGroupVersionKind(ciliumGroup.WithKind("CiliumLoadBalancerIPPool"))
	pool.SetName("unrelated")
	i.create(pool)
	p := bed.Start(t, i.namespace, "--backend=cilium")
	backend(t, "cilium", "IPAMConflict", "True Found: ConfigMap/kube-system/cilium-config data.enable-lb-ipam: is not false, and there is CiliumLoadBalancerIPPool unrelated")
	s := condition(t, i.service("web"), "Allocated", "False IPAMConflict: the CNI's own allocator would replace the addresses, so nothing is written: ConfigMap/kube-system/cilium-config data.enable-lb-ipam")
	assert.Empty(t, s.Status.LoadBalancer.Ingress)
	eventOn(t, s, "IPAMConflict", "CiliumLoadBalancerIPPool unrelated")

	_, err := p.Stop()
	require.NoError(t, err)
	require.NoError(t, bed.Client.Delete(t.Context(), pool))
	bed.Start(t, i.namespace, "--backend=cilium")
	condition(t, s, "Allocated", "True Allocated")
}

// eventOn waits for an event on an object.
func eventOn(t *testing.T, o client.Object, reason, message string) {
	t.Helper()
	testbed.Eventually(t, reason+" on "+o.GetName(), func(ctx context.Context) error {
		var list corev1.EventList
		if err := bed.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			return err
		}
		var got []string
		for _, e := range list.Items {
			if e.InvolvedObject.UID == o.GetUID() && e.Reason == reason && strings.Contains(e.Message, message) {
				return nil
			}
			got = append(got, e.InvolvedObject.Name+" "+e.Reason+": "+e.Message)
		}
		return fmt.Errorf("not among %q", got)
	})
}

// removeCRDs removes Calico's CRDs of those plural names, and with them all objects.
func removeCRDs(t *testing.T, plurals ...string) {
	t.Helper()
	for _, crd := range testbed.CalicoCRDs(t, plurals...) {
		require.NoError(t, bed.Client.Delete(t.Context(), crd))
		testbed.AwaitCRDGone(t, bed.Client, crd.Name)
	}
}

// TestNamedBackend: an advertisement names its own backend.
func TestNamedBackend(t *testing.T) {
	i := install(t)
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
	i.create(&v1beta1.IPAddressPool{ObjectMeta: i.meta("second"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.80.1.0/28"}, AutoAssign: new(bool)}})
	i.bgp("main", func(a *v1beta1.BGPAdvertisement) { a.Spec.IPAddressPools = []string{"main"} })
	second := i.bgp("second", func(a *v1beta1.BGPAdvertisement) {
		a.Spec.IPAddressPools = []string{"second"}
		a.Annotations = map[string]string{"fairlead.io/backend": "cilium"}
	})
	bed.Start(t, i.namespace, "--backend=calico")
	is(t, "Calico's list", ours, blocks)
	is(t, "Cilium's advertisements", "fairlead-bgpadv-second", adverts)

	second.Annotations = nil
	require.NoError(t, bed.Client.Update(t.Context(), second))
	is(t, "Calico's list", "10.80.0.0/28 10.80.1.0/28 2001:db8:80::/124", blocks)
	is(t, "Cilium's advertisements", "", adverts)
}

// peerConfig is a CiliumBGPPeerConfig of the user's that takes what is advertised here.
func peerConfig() *unstructured.Unstructured {
	var families []any
	for _, afi := range []string{"ipv4", "ipv6"} {
		families = append(families, map[string]any{
			"afi": afi, "safi": "unicast", "advertisements": map[string]any{"matchLabels": map[string]any{"fairlead.io/advertise": "true"}},
		})
	}
	config := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"families": families}}}
	config.SetGroupVersionKind(ciliumGroup.WithKind("CiliumBGPPeerConfig"))
	config.SetName("users")
	return config
}

// TestWhatIsNotAdvertisedSaysWhy goes through the reasons that a user can meet.
func TestWhatIsNotAdvertisedSaysWhy(t *testing.T) {
	i := install(t)
	agents(t)
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true", "enable-lb-ipam": "false"})
	i.create(&v1beta1.IPAddressPool{ObjectMeta: i.meta("silent"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.80.2.0/28"}, AutoAssign: new(bool)}})
	i.bgp("some", func(a *v1beta1.BGPAdvertisement) {
		a.Spec.IPAddressPools = []string{"main"}
		a.Spec.ServiceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"expose": "yes"}}}
	})
	i.create(&v1beta1.L2Advertisement{ObjectMeta: i.meta("local"), Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"main"}}})
	class := "foo"
	bed.Start(t, i.namespace, "--backend=cilium", "--l2-backend=none", "--lb-class=,foo")
	condition(t, i.service("unselected"), "Advertised", `False ServiceNotSelected: the serviceSelectors of BGPAdvertisement "some" do not select the Service; no backend serves L2Advertisement "local"`)
	expose := func(s *corev1.Service) { s.Labels["expose"] = "yes" }
	condition(t, i.service("classed", expose, func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }),
		"Advertised", `False ClassNotAdvertised: class "foo" is not advertised by cilium`)
	condition(t, i.service("silent", func(s *corev1.Service) { s.Annotations = map[string]string{"metallb.io/address-pool": "silent"} }),
		"Advertised", `False NoAdvertisement: no BGPAdvertisement or L2Advertisement selects pool "silent"`)
	s := condition(t, i.service("exposed", expose), "Advertised", `False NotAdvertised: pool "main": Cilium: CiliumBGPAdvertisement "fairlead-bgpadv-some", selected by 0 peer configs`)

	// One transition, one event.
	i.create(peerConfig())
	i.bgp("more", func(a *v1beta1.BGPAdvertisement) { a.Spec.IPAddressPools = []string{"main"} }) // has Cilium looked at again
	condition(t, s, "Advertised", "True Advertised")
	testbed.Eventually(t, "two events about it", func(ctx context.Context) error {
		var list corev1.EventList
		if err := bed.Client.List(ctx, &list, client.InNamespace(i.namespace)); err != nil {
			return err
		}
		var got []string
		for _, e := range list.Items {
			if e.InvolvedObject.UID == s.UID && strings.Contains(e.Reason, "dvertised") {
				got = append(got, e.Reason)
			}
		}
		if len(got) != 2 {
			return fmt.Errorf("they are %q", got)
		}
		assert.ElementsMatch(t, []string{"NotAdvertised", "Advertised"}, got)
		return nil
	})
}

// TestCleanup takes everything back beside a controller that runs, twice, and when the CNI's API is gone.
func TestCleanup(t *testing.T) {
	i := install(t)
	agents(t)
	foreignBlock(t)
	i.bgp("all")
	bed.Start(t, i.namespace, "--backend=calico")
	s := i.service("web")
	is(t, "Calico's list", "203.0.113.0/24 "+ours, blocks)
	condition(t, s, "Advertised", "True")

	out := bed.Cleanup(t, i.namespace)
	assert.Contains(t, out, "a controller runs; waiting")
	assert.Contains(t, out, "Services: 1 changed (marks removed, addresses kept)")
	left, err := blocks(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "203.0.113.0/24", left)
	var list v1alpha1.BackendList
	require.NoError(t, bed.Client.List(t.Context(), &list))
	assert.Empty(t, list.Items)
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s))
	assert.Len(t, s.Status.LoadBalancer.Ingress, 1)
	assert.Empty(t, s.Status.Conditions)
	assert.NotContains(t, s.Labels, "fairlead.io/pool")

	out = bed.Cleanup(t, i.namespace, "--release-ips")
	assert.Contains(t, out, "Services: 0 changed") // nothing is marked as ours any more
	out = bed.Cleanup(t, i.namespace)
	assert.NotContains(t, out, "waiting", "its own Lease is respected as if a controller held it")
}

// TestLeadsAfterCleanup: a controller that is started after a cleanup leads at once, unless one ran when it began.
func TestLeadsAfterCleanup(t *testing.T) {
	i := install(t)
	holder := func(ctx context.Context) (string, error) {
		var lease coordinationv1.Lease
		err := bed.Client.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: "fairlead-controller"}, &lease)
		if err != nil || lease.Spec.HolderIdentity == nil {
			return "", err
		}
		return *lease.Spec.HolderIdentity, nil
	}
	leads := func() {
		t.Helper()
		began := time.Now()
		testbed.Eventually(t, "a controller to lead", func(ctx context.Context) error {
			now, err := holder(ctx)
			if err == nil && (now == "" || strings.HasPrefix(now, "cleanup_")) {
				err = fmt.Errorf("the Lease is held by %q", now)
			}
			return err
		})
		t.Logf("a controller leads after %v", time.Since(began).Round(time.Millisecond))
		assert.Less(t, time.Since(began), 20*time.Second)
	}
	assert.NotContains(t, bed.Cleanup(t, i.namespace), "waiting", "there is no Lease")
	p := bed.Start(t, i.namespace)
	leads()
	_, err := p.Stop()
	require.NoError(t, err)
	assert.NotContains(t, bed.Cleanup(t, i.namespace), "waiting", "none runs")
	p = bed.Start(t, i.namespace)
	leads()
	p.Kill() // its Lease is valid for some seconds more
	assert.NotContains(t, bed.Cleanup(t, i.namespace), "waiting", "none runs any more")
	bed.Start(t, i.namespace)
	leads()

	assert.Contains(t, bed.Cleanup(t, i.namespace), "a controller runs; waiting")
	bed.Cleanup(t, i.namespace)
	left, err := holder(t.Context())
	require.NoError(t, err)
	assert.Contains(t, left, "cleanup_", "the one that ran would begin anew")
}

// TestCleanupReleases gives the addresses back, without a controller and without a CNI.
func TestCleanupReleases(t *testing.T) {
	i := install(t)
	i.bgp("all")
	p := bed.Start(t, i.namespace, "--backend=calico")
	s := i.service("web")
	is(t, "Calico's list", ours, blocks)
	_, err := p.Stop()
	require.NoError(t, err)
	removeCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters")
	out := bed.Cleanup(t, i.namespace, "--release-ips")
	assert.Contains(t, out, "Services: 1 changed (addresses released)")
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s))
	assert.Empty(t, s.Status.LoadBalancer.Ingress)
	assert.Empty(t, s.Annotations)
	var list v1alpha1.BackendList
	require.NoError(t, bed.Client.List(t.Context(), &list))
	assert.Empty(t, list.Items)
}
