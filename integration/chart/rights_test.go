package chart

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

var (
	calicoGroup = schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}
	ciliumGroup = schema.GroupVersion{Group: "cilium.io", Version: "v2"}
	ipamGroup   = schema.GroupVersion{Group: "ipam.cluster.x-k8s.io", Version: "v1beta2"}
	policyGroup = schema.GroupVersion{Group: "cilium.io", Version: "v2alpha1"}
)

// cnis gives the cluster the CRDs of both CNIs and their settings: an idle backend, too, has something to look at.
func cnis(t testing.TB) {
	t.Helper()
	require.NoError(t, bed.InstallCRDs(testbed.CalicoCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters", "ippools", "clusterinformations", "kubecontrollersconfigurations", "caliconodestatuses")...))
	require.NoError(t, bed.InstallCRDs(testbed.CiliumCRDs(t, "ciliumbgpadvertisements", "ciliumbgppeerconfigs", "ciliumbgpclusterconfigs", "ciliumbgpnodeconfigs",
		"ciliumloadbalancerippools", "ciliuml2announcementpolicies")...))
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}} // sessions are set up for nodes
	require.NoError(t, bed.Client.Create(t.Context(), node))
	t.Cleanup(func() { require.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), node)) })
	for name, data := range map[string]map[string]string{
		"cilium-config": {"enable-bgp-control-plane": "true", "enable-l2-announcements": "true", "bgp-secrets-namespace": "kube-system"},
		"calico-config": {"calico_backend": "bird"},
	} {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name}, Data: data}
		require.NoError(t, bed.Client.Create(t.Context(), cm))
		t.Cleanup(func() { require.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), cm)) })
	}
}

func names(ctx context.Context, k schema.GroupVersionKind, namespace string) ([]string, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
	err := bed.Client.List(ctx, list, client.InNamespace(namespace))
	var out []string
	for _, o := range list.Items {
		out = append(out, o.GetName())
	}
	return out, err
}

// count waits until there are so many objects of a kind.
func count(t testing.TB, k schema.GroupVersionKind, namespace string, want int) {
	t.Helper()
	testbed.Eventually(t, fmt.Sprintf("%d %ss", want, k.Kind), func(ctx context.Context) error {
		got, err := names(ctx, k, namespace)
		if err == nil && len(got) != want {
			err = fmt.Errorf("there are %q", got)
		}
		return err
	})
}

func backend(t testing.TB, name, want string) {
	t.Helper()
	testbed.Eventually(t, "backend "+name, func(ctx context.Context) error {
		var b v1alpha1.Backend
		if err := bed.Client.Get(ctx, client.ObjectKey{Name: name}, &b); err != nil {
			return err
		}
		c := meta.FindStatusCondition(b.Status.Conditions, "Ready")
		if c == nil || !strings.HasPrefix(string(c.Status)+" "+c.Message, want) {
			return fmt.Errorf("is %+v, want %q", c, want)
		}
		return nil
	})
}

// scenario is a controller at work, in front of whom requests are recorded.
type scenario struct {
	*release
	config  string
	process *testbed.Process
	peer    *v1beta2.BGPPeer
}

// emptied looks that the BGPConfiguration, without which confd would end, is there and says nothing, and removes it for the next.
func (s *scenario) emptied() {
	s.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(calicoGroup.WithKind("BGPConfiguration"))
	require.NoError(s.t, bed.Client.Get(s.t.Context(), client.ObjectKey{Name: "default"}, u))
	assert.Empty(s.t, u.Object["spec"])
	require.NoError(s.t, bed.Client.Delete(s.t.Context(), u))
}

// begin has a release's controller give out an address, hold it, and advertise it.
func begin(t testing.TB, r *recorder, values ...string) *scenario {
	t.Helper()
	s := &scenario{release: install(t, values...)}
	s.config = s.account("controller", r.url, r.ca)
	s.process = s.start(s.config)
	s.create(&v1beta1.IPAddressPool{ObjectMeta: s.object("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.90.0.0/28", "2001:db8:90::/124"}}})
	s.create(&v1beta1.BGPAdvertisement{ObjectMeta: s.object("main")})
	s.create(&v1beta1.L2Advertisement{ObjectMeta: s.object("main")})
	addressed(t, s.service("web"))
	return s
}

// configured waits until the controller says so of the configuration.
func (s *scenario) configured(want v1beta1.ConfigurationResult) {
	s.t.Helper()
	state := &v1beta1.ConfigurationState{ObjectMeta: s.object("controller")}
	testbed.Eventually(s.t, "the configuration to be "+string(want), func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(state), state); err != nil {
			return err
		}
		if state.Status.Result != want {
			return fmt.Errorf("is %+v", state.Status)
		}
		return nil
	})
}

// edit changes an object as a user would, again if somebody else was faster.
func edit(t testing.TB, o client.Object, change func()) {
	t.Helper()
	testbed.Eventually(t, "an edit to go through", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change()
		return bed.Client.Update(ctx, o)
	})
}

// session asks for a BGP session, with a password if there is a name of a Secret.
func (s *scenario) session(secret string) {
	s.t.Helper()
	if secret != "" {
		s.create(&corev1.Secret{ObjectMeta: s.object(secret), Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"username": {}, "password": []byte("s3cret")}})
	}
	s.peer = &v1beta2.BGPPeer{ObjectMeta: s.object("tor"), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.2.1"}}
	s.peer.Spec.PasswordSecret.Name = secret
	s.create(s.peer)
}

// end stops the controller, which must have been allowed everything that it asked for, and has "controller cleanup" take all back.
func (s *scenario) end(allowed ...string) {
	s.t.Helper()
	_, err := s.process.Stop()
	require.NoError(s.t, err)
	for line := range strings.Lines(s.process.Log()) {
		if strings.Contains(line, "forbidden") && !slices.ContainsFunc(allowed, func(a string) bool { return strings.Contains(line, a) }) {
			assert.Fail(s.t, "refused", line)
		}
	}
	out := bed.Cleanup(s.t, s.name, "--kubeconfig", s.config, "--lb-class", s.class(), "--release-ips")
	assert.Contains(s.t, out, "addresses released")
}

// TestRights: with the permissions of each mode the controller does the work of that mode and takes it back, and asks for nothing that
// it may not; and each permission is used by one of them.
func TestRights(t *testing.T) {
	cnis(t)
	r := record(t)
	granted := map[string]string{}
	note := func(s *scenario) {
		for key, role := range rules(t, s.name) {
			granted[key] = role
		}
	}

	t.Run("none", func(t *testing.T) {
		s := begin(t, r, "backend=none", "managePeers=false")
		note(s)
		held := s.service("held", func(s *corev1.Service) { s.Annotations = map[string]string{"fairlead.io/hold-address": "1s"} })
		addressed(t, held)
		reservation := v1alpha1.GroupVersion.WithKind("AddressReservation")
		count(t, reservation, s.name, 1)
		edit(t, held, func() { held.Annotations["fairlead.io/hold-address"] = "2s" })
		testbed.Eventually(t, "the hold to follow", func(ctx context.Context) error {
			var list v1alpha1.AddressReservationList
			if err := bed.Client.List(ctx, &list, client.InNamespace(s.name)); err != nil {
				return err
			}
			if len(list.Items) != 1 || list.Items[0].Spec.HoldAfterDelete.Duration != 2*time.Second {
				return errors.New("it has not")
			}
			return nil
		})
		require.NoError(t, bed.Client.Delete(t.Context(), held))
		count(t, reservation, s.name, 0)
		// An event that is repeated is counted up.
		bad := &v1beta1.IPAddressPool{ObjectMeta: s.object("bad"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.90.0.8/29"}}}
		s.create(bad)
		for range 2 {
			s.configured("Invalid")
			edit(t, bad, func() { bad.Spec.Addresses = []string{"10.92.0.0/29"} })
			s.configured("Valid")
			edit(t, bad, func() { bad.Spec.Addresses = []string{"10.90.0.8/29"} })
		}
		r.await(t, "events.k8s.io events update")
		s.end()
	})
	t.Run("auto", func(t *testing.T) {
		s := begin(t, r)
		note(s)
		backend(t, "none", "False")
		s.end()
	})
	t.Run("calico", func(t *testing.T) {
		s := begin(t, r, "backend=calico", "calico.passwordNamespace=kube-system")
		note(s)
		backend(t, "calico", "True")
		s.session("bgp")
		count(t, calicoGroup.WithKind("BGPPeer"), "", 1)
		edit(t, s.peer, func() { s.peer.Spec.PeerASN = 64514 })
		s.create(&v1beta1.IPAddressPool{ObjectMeta: s.object("more"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.93.0.0/28"}}})
		for _, k := range []string{"bgpconfigurations patch", "bgppeers update", "bgpfilters update"} {
			r.await(t, calicoGroup.Group+" "+k)
		}
		r.await(t, "rbac.authorization.k8s.io rolebindings create")
		s.end()
		count(t, calicoGroup.WithKind("BGPPeer"), "", 0)
		s.emptied()
	})
	t.Run("calico without access to passwords", func(t *testing.T) {
		s := begin(t, r, "backend=calico")
		backend(t, "calico", "True")
		s.session("bgp")
		backend(t, "calico", "False write Secret/kube-system/fairlead-bgppeer-tor")
		count(t, calicoGroup.WithKind("BGPConfiguration"), "", 1)
		count(t, calicoGroup.WithKind("BGPPeer"), "", 0)
		// The remedy: what may have been written cannot be looked for without the permission.
		s.helm("upgrade", "loadBalancerClass="+s.class(), "backend=calico", "calico.passwordNamespace=kube-system")
		s.end("fairlead-bgppeer-tor")
		s.emptied()
	})
	t.Run("cilium", func(t *testing.T) {
		s := begin(t, r, "backend=cilium", "cilium.passwordNamespace=kube-system")
		note(s)
		bed.CiliumAgent(t, "n1", testbed.Routers{netip.MustParseAddr("192.0.2.1"): true})
		r.await(t, "fairlead.io bgpsessions create")
		r.await(t, "fairlead.io bgpsessions/status patch")
		s.session("bgp")
		count(t, ciliumGroup.WithKind("CiliumBGPAdvertisement"), "", 1)
		count(t, policyGroup.WithKind("CiliumL2AnnouncementPolicy"), "", 1)
		count(t, ciliumGroup.WithKind("CiliumBGPPeerConfig"), "", 1)
		edit(t, s.peer, func() { s.peer.Spec.PeerASN, s.peer.Spec.EBGPMultiHop = 64514, true })
		l2 := &v1beta1.L2Advertisement{ObjectMeta: s.object("main")}
		edit(t, l2, func() { l2.Spec.Interfaces = []string{"eth7"} })
		bgp := &v1beta1.BGPAdvertisement{ObjectMeta: s.object("main")}
		edit(t, bgp, func() { bgp.Spec.LocalPref = 200 })
		for _, resource := range []string{"ciliumbgpadvertisements", "ciliumbgppeerconfigs", "ciliumbgpclusterconfigs", "ciliuml2announcementpolicies"} {
			r.await(t, ciliumGroup.Group+" "+resource+" update")
		}
		s.end()
		for _, kind := range []string{"CiliumBGPAdvertisement", "CiliumBGPPeerConfig", "CiliumBGPClusterConfig"} {
			count(t, ciliumGroup.WithKind(kind), "", 0)
		}
	})
	t.Run("cilium without access to passwords", func(t *testing.T) {
		s := begin(t, r, "backend=cilium")
		s.session("")
		count(t, ciliumGroup.WithKind("CiliumBGPPeerConfig"), "", 1)
		backend(t, "cilium", "True")
		s.end()
	})
	t.Run("speaker and webhook", func(t *testing.T) {
		s := begin(t, r, "backend=speaker", "speaker.enabled=true", "controller.webhookMode=enabled", "controller.extraArgs={--webhook-port=0}")
		note(s)
		exists(t, &corev1.Secret{ObjectMeta: s.object("memberlist")}, true)
		r.await(t, "metallb.io servicebgpstatuses watch")
		r.await(t, "fairlead.io bgpsessions watch")
		r.await(t, "coordination.k8s.io leases watch")
		testbed.Eventually(t, "the CA", func(ctx context.Context) error {
			var o admissionregistrationv1.ValidatingWebhookConfiguration
			if err := bed.Client.Get(ctx, client.ObjectKey{Name: "metallb-webhook-configuration"}, &o); err != nil {
				return err
			}
			if len(o.Webhooks[0].ClientConfig.CABundle) == 0 {
				return errors.New("is not there")
			}
			return nil
		})
		s.end()
	})
	t.Run("cluster-api", func(t *testing.T) {
		provider, err := bed.ServeIPAM()
		require.NoError(t, err)
		t.Cleanup(provider.Kill)
		pool := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"addresses": []any{"10.94.0.0/28"}, "prefix": int64(24)}}}
		pool.SetGroupVersionKind(schema.GroupVersionKind{Group: ipamGroup.Group, Version: "v1alpha2", Kind: "GlobalInClusterIPPool"})
		pool.SetName("lb")
		require.NoError(t, bed.Client.Create(t.Context(), pool))
		s := begin(t, r, "backend=none", "allocators.clusterAPI.enabled=true")
		note(s)
		// An address that a Service has already is made known to the provider; one that somebody takes away stays.
		main := &v1beta1.IPAddressPool{ObjectMeta: s.object("main")}
		edit(t, main, func() {
			main.Spec.Addresses = []string{"10.90.0.0/28", "2001:db8:90::/124", "10.94.0.0/28"}
			main.Annotations = map[string]string{
				"fairlead.io/allocator": "cluster-api", "fairlead.io/allocator-pool": "GlobalInClusterIPPool." + ipamGroup.Group + "/lb",
			}
		})
		r.await(t, ipamGroup.Group+" ipaddresses create")
		r.await(t, ipamGroup.Group+" ipaddressclaims patch")
		r.await(t, ipamGroup.Group+" globalinclusterippools watch")
		more := s.service("more")
		addressed(t, more)
		var list unstructured.UnstructuredList
		list.SetGroupVersionKind(ipamGroup.WithKind("IPAddressList"))
		require.NoError(t, bed.Client.List(t.Context(), &list, client.InNamespace(s.name)))
		for i := range list.Items {
			list.Items[i].SetFinalizers(nil)
			require.NoError(t, bed.Client.Update(t.Context(), &list.Items[i]))
			require.NoError(t, client.IgnoreNotFound(bed.Client.Delete(t.Context(), &list.Items[i])))
		}
		r.await(t, ipamGroup.Group+" ipaddresses get")
		// Somebody takes the marks of a claim away: it is looked at, and then left alone.
		list.SetGroupVersionKind(ipamGroup.WithKind("IPAddressClaimList"))
		require.NoError(t, bed.Client.List(t.Context(), &list, client.InNamespace(s.name)))
		for i := range list.Items {
			if o := &list.Items[i]; o.GetLabels()["fairlead.io/service-name"] == "web" {
				edit(t, o, func() { o.SetLabels(nil) })
			}
		}
		r.await(t, ipamGroup.Group+" ipaddressclaims get")
		require.NoError(t, bed.Client.Delete(t.Context(), more))
		r.await(t, ipamGroup.Group+" ipaddressclaims delete")
		s.end()
	})
	if t.Failed() {
		return
	}
	for key, role := range granted {
		watched := strings.HasSuffix(key, " list") && r.saw(strings.TrimSuffix(key, "list")+"watch") // older API servers have lists read first
		if !r.saw(key) && !watched && unused[key] == "" && !strings.HasPrefix(key, "projectcalico.org ") {
			assert.Fail(t, "a permission that nobody uses", "%s: %s", role, key)
		}
		if stored, ok := strings.CutPrefix(key, "projectcalico.org "); ok { // the same objects by another door
			assert.Contains(t, granted, calicoGroup.Group+" "+stored)
		}
	}
	for key := range unused {
		assert.Contains(t, granted, key)
		assert.False(t, r.saw(key), "%s is used after all", key)
	}
}

// unused are permissions that no step of TestRights uses, and what they are for.
var unused = map[string]string{
	" services get":                                        "cleanup, after somebody else has written",
	" secrets update":                                      "renewing the webhook's certificate",
	"metallb.io servicel2statuses delete":                  "what speakers of nodes that are gone have told, a minute later",
	"metallb.io servicebgpstatuses delete":                 "what speakers of nodes that are gone have told, a minute later",
	"metallb.io configurationstates delete":                "what speakers of nodes that are gone have told, a minute later",
	"fairlead.io bgpsessions delete":                       "what speakers of nodes that are gone have told, a minute later",
	"coordination.k8s.io leases delete":                    "what speakers of nodes that are gone have told, a minute later",
	"rbac.authorization.k8s.io roles update":               "putting right what somebody has changed",
	"rbac.authorization.k8s.io rolebindings update":        "putting right what somebody has changed",
	"migration.projectcalico.org datastoremigrations list": "standing still while Calico moves its objects",
	"ipam.cluster.x-k8s.io inclusterippools get":           "pools of this kind, as those of globalinclusterippools",
	"ipam.cluster.x-k8s.io inclusterippools list":          "pools of this kind, as those of globalinclusterippools",
	"ipam.cluster.x-k8s.io inclusterippools watch":         "pools of this kind, as those of globalinclusterippools",
	"cilium.io ciliumbgpadvertisements get":                "after somebody else has written",
	"cilium.io ciliumbgpclusterconfigs get":                "after somebody else has written",
	"cilium.io ciliumbgppeerconfigs get":                   "after somebody else has written",
	"cilium.io ciliuml2announcementpolicies get":           "after somebody else has written",
	"cilium.io ciliumbgpnodeconfigs patch":                 "giving nodes to CiliumBGPClusterConfigs of their own, after an upgrade",
}

// rules returns what the roles of a release's controller grant, and which role does.
func rules(t testing.TB, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	ours := client.MatchingLabels{"app.kubernetes.io/instance": name, "app.kubernetes.io/component": "controller"}
	add := func(role string, rules []rbacv1.PolicyRule) {
		for _, rule := range rules {
			for _, g := range rule.APIGroups {
				for _, r := range rule.Resources {
					for _, v := range rule.Verbs {
						out[g+" "+r+" "+v] = role
					}
				}
			}
		}
	}
	var cluster rbacv1.ClusterRoleList
	require.NoError(t, bed.Client.List(t.Context(), &cluster, ours))
	for _, o := range cluster.Items {
		add("ClusterRole "+o.Name, o.Rules)
	}
	var list rbacv1.RoleList
	require.NoError(t, bed.Client.List(t.Context(), &list, ours))
	for _, o := range list.Items {
		add("Role "+o.Name, o.Rules)
	}
	require.NotEmpty(t, out)
	return out
}
