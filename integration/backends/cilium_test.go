package backends

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
	"github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/integration/testbed"
)

const (
	ciliumNamespace = "kube-system"
	secretsNS       = "bgp-secrets"
	ourNamespace    = "fairlead-system"
)

// ciliumCRDs returns the CRDs that matter: as Cilium 1.18 to 1.20 installs them, or, if old, as 1.16 and 1.17 did for BGP.
func ciliumCRDs(t testing.TB, old bool) []*apiextensionsv1.CustomResourceDefinition {
	list := testbed.CiliumCRDs(t, v2.BGPAPluralName, v2.BGPPCPluralName, v2.BGPCCPluralName, v2.BGPNCPluralName, v2.PoolPluralName, v2alpha1.L2AnnouncementPluralName)
	if old {
		for _, crd := range list {
			crd.Spec.Versions = slices.DeleteFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name != "v2alpha1" })
			require.Len(t, crd.Spec.Versions, 1)
			crd.Spec.Versions[0].Storage = true
		}
	}
	return list
}

// ciliumFixture is a cluster with Cilium's CRDs, of one version.
type ciliumFixture struct {
	bgp schema.GroupVersion
}

var _ backendtest.Fixture = ciliumFixture{}

// installCilium prepares a cluster for tests.
func installCilium(t testing.TB, old bool) ciliumFixture {
	t.Helper()
	install(t, ciliumCRDs(t, old))
	namespace(t, secretsNS)
	configure(t, map[string]string{"enable-bgp-control-plane": "true", "enable-l2-announcements": "true", "bgp-secrets-namespace": secretsNS})
	if old {
		return ciliumFixture{v2alpha1.SchemeGroupVersion}
	}
	return ciliumFixture{v2.SchemeGroupVersion}
}

// configure replaces Cilium's ConfigMap.
func configure(t testing.TB, data map[string]string) {
	t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ciliumNamespace, Name: "cilium-config"}, Data: data}
	if err := kube.Create(t.Context(), cm.DeepCopy()); err != nil {
		require.NoError(t, client.IgnoreAlreadyExists(err))
		require.NoError(t, kube.Update(t.Context(), cm))
	}
}

func (f ciliumFixture) config(t testing.TB, r *backendtest.Recorder) cilium.Config {
	dc, c := connect(t, r)
	return cilium.Config{Discovery: dc, Client: c, Installation: ourNamespace, FieldManager: "fairlead-test"}
}

func (f ciliumFixture) New(t testing.TB, r *backendtest.Recorder) backends.ClusterBackend {
	return cilium.New(f.config(t, r))
}

func (f ciliumFixture) resources() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		f.bgp.WithResource(v2.BGPPCPluralName), f.bgp.WithResource(v2.BGPCCPluralName), f.bgp.WithResource(v2.BGPAPluralName),
		v2alpha1.SchemeGroupVersion.WithResource(v2alpha1.L2AnnouncementPluralName),
	}
}

var secretsResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

func (f ciliumFixture) all(t testing.TB) []unstructured.Unstructured {
	out := all(t, secretsResource, secretsNS)
	for _, r := range f.resources() {
		out = append(out, all(t, r, "")...)
	}
	return out
}

func (f ciliumFixture) Dump(t testing.TB) string     { return dump(t, f.all(t)) }
func (f ciliumFixture) Versions(t testing.TB) string { return versions(f.all(t)) }

func (f ciliumFixture) Reset(t testing.TB) {
	for _, r := range f.resources() {
		wipe(t, r, "", "")
	}
	wipe(t, secretsResource, secretsNS, "")
}

// AddForeign adds an object of each kind that a user made, and one that another installation made.
func (f ciliumFixture) AddForeign(t testing.TB) {
	make := func(kind, plural, name string, labels map[string]string, spec map[string]any) {
		gv := f.bgp
		if plural == v2alpha1.L2AnnouncementPluralName {
			gv = v2alpha1.SchemeGroupVersion
		}
		u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
		u.SetGroupVersionKind(gv.WithKind(kind))
		u.SetName(name)
		u.SetLabels(labels)
		_, err := objects.Resource(gv.WithResource(plural)).Create(t.Context(), u, metav1.CreateOptions{FieldManager: "kubectl"})
		require.NoError(t, err)
	}
	other := map[string]string{"app.kubernetes.io/managed-by": "fairlead", "fairlead.io/installation": "another"}
	pods := map[string]any{"advertisements": []any{map[string]any{"advertisementType": "PodCIDR"}}}
	make(v2.BGPAKindDefinition, v2.BGPAPluralName, "pods", nil, pods)
	make(v2.BGPAKindDefinition, v2.BGPAPluralName, "fairlead-bgpadv-of-another", other, pods)
	make(v2.BGPPCKindDefinition, v2.BGPPCPluralName, "theirs", nil, map[string]any{"families": []any{map[string]any{
		"afi": "ipv4", "safi": "unicast", "advertisements": map[string]any{"matchLabels": map[string]any{"fairlead.io/advertise": "true"}},
	}}})
	make(v2.BGPCCKindDefinition, v2.BGPCCPluralName, "theirs", nil, map[string]any{
		"nodeSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/hostname": "n9"}},
		"bgpInstances": []any{map[string]any{"name": "theirs", "localASN": int64(64999), "peers": []any{
			map[string]any{"name": "theirs", "peerAddress": "192.0.2.99", "peerASN": int64(64998), "peerConfigRef": map[string]any{"name": "theirs"}},
		}}},
	})
	make(v2alpha1.L2AnnouncementKindDefinition, v2alpha1.L2AnnouncementPluralName, "theirs", nil, map[string]any{
		"loadBalancerIPs": true, "serviceSelector": map[string]any{"matchLabels": map[string]any{"app": "theirs"}},
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretsNS, Name: "theirs"}, StringData: map[string]string{"password": "theirs"}}
	require.NoError(t, kube.Create(t.Context(), secret))
}

func selector(s string) labels.Selector {
	out, err := labels.Parse(s)
	if err != nil {
		panic(err)
	}
	return out
}

func poolsNamed(names ...string) []backends.Pool {
	var out []backends.Pool
	for _, n := range names {
		out = append(out, backends.Pool{Name: n, Label: backends.LabelValue(n)})
	}
	return out
}

func source(kind, name string) backends.Source {
	return backends.Source{Kind: kind, Namespace: ourNamespace, Name: name}
}

func announcements(pool string, prefixes ...string) []backends.Announcement {
	var out []backends.Announcement
	for _, p := range prefixes {
		out = append(out, backends.Announcement{Prefix: netip.MustParsePrefix(p), Pool: pool})
	}
	return out
}

func seconds(n int) *time.Duration {
	d := time.Duration(n) * time.Second
	return &d
}

// full uses every field that can be expressed.
func full() backends.Desired {
	rack := selector("rack=1")
	return backends.Desired{
		Announcements: slices.Concat(announcements("main", "192.0.2.0/24"), announcements("six", "2001:db8::/64"), announcements(strings.Repeat("long", 20), "198.51.100.0/24")),
		BGPAdvertisements: []backends.BGPAdvertisement{
			{Source: source("BGPAdvertisement", "all"), Pools: poolsNamed("main", "six"), AggregationLength: 32, AggregationLengthV6: 128},
			{
				Source: source("BGPAdvertisement", "limited"), Pools: poolsNamed("main", strings.Repeat("long", 20)), AggregationLength: 24, AggregationLengthV6: 64,
				ServiceSelectors: []labels.Selector{selector("app=web,tier notin (test,dev),!hidden"), selector("public")},
				NodeSelectors:    []labels.Selector{rack}, Peers: []string{"tor-a"}, LocalPref: 4294967295,
				Communities: []backends.Community{{Parts: [3]uint32{65535, 65535}}, {Large: true, Parts: [3]uint32{4294967295, 0, 4294967295}}},
			},
		},
		Peers: []backends.Peer{
			{
				Source: source("BGPPeer", "tor-a"), MyASN: 64512, PeerASN: 4294967295, Address: netip.MustParseAddr("192.0.2.1"), Port: 1179, HoldTime: seconds(9),
				KeepaliveTime: seconds(3), ConnectTime: 5 * time.Second, Password: "s3cret", GracefulRestart: true, MultiHop: true,
			},
			{Source: source("BGPPeer", "tor-b"), MyASN: 64513, DynamicASN: "external", Address: netip.MustParseAddr("2001:db8::1"), DualStack: true, NodeSelectors: []labels.Selector{rack}},
		},
		Nodes: []backends.Node{
			{Name: "n1", Labels: labels.Set{"kubernetes.io/hostname": "n1", "rack": "1"}},
			{Name: "n2", Labels: labels.Set{"kubernetes.io/hostname": "n2"}},
			{Name: "n3", Labels: labels.Set{"kubernetes.io/hostname": "n3"}},
		},
	}
}

func (f ciliumFixture) States() []backendtest.State {
	simple := backends.Desired{
		Announcements:     announcements("main", "192.0.2.0/24"),
		BGPAdvertisements: []backends.BGPAdvertisement{{Source: source("BGPAdvertisement", "all"), Pools: poolsNamed("main"), AggregationLength: 32, AggregationLengthV6: 128}},
	}
	managed := simple
	managed.Nodes = full().Nodes
	managed.Peers = []backends.Peer{{Source: source("BGPPeer", "tor-a"), MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("192.0.2.1"), Password: "other"}}
	l2 := func(a backends.L2Advertisement) backends.Desired {
		a.Source, a.Pools = source("L2Advertisement", "lan"), poolsNamed("main")
		return backends.Desired{L2Advertisements: []backends.L2Advertisement{a}}
	}
	everything := full()
	everything.L2Advertisements = l2(backends.L2Advertisement{
		NodeSelectors: []labels.Selector{selector("rack=1"), selector("rack=2")}, ServiceSelectors: []labels.Selector{selector("app=web"), selector("part in (0,1)")},
		Interfaces: []string{"eth0", "bond0.100"},
	}).L2Advertisements
	if f.bgp != v2.SchemeGroupVersion { // those that differ between the versions
		return []backendtest.State{{Name: "empty"}, {Name: "managed", Want: managed}, {Name: "full", Want: full()}}
	}
	return []backendtest.State{
		{Name: "empty"},
		{Name: "simple", Want: simple},
		{Name: "l2", Want: l2(backends.L2Advertisement{})},
		{Name: "l2 for some", Want: l2(backends.L2Advertisement{ServiceSelectors: []labels.Selector{selector("part=0")}})},
		{Name: "everything", Want: everything},
	}
}

// services makes n Services with addresses from pool main, in two namespaces.
func services(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		ns := fmt.Sprintf("tenant-%d", i%2)
		namespace(t, ns)
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("web-%02d", i), Labels: map[string]string{
			"fairlead.io/pool": "main", "part": fmt.Sprint(i % 3),
		}}}
		s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		require.NoError(t, client.IgnoreAlreadyExists(kube.Create(t.Context(), s)))
	}
}

// TestCiliumConformance runs the suite on both versions of the API, in a cluster with so many Services that policies of the L2
// announcer have to be emptied step by step.
func TestCiliumConformance(t *testing.T) {
	services(t, 12)
	for _, old := range []bool{false, true} {
		t.Run(map[bool]string{false: "v2", true: "v2alpha1"}[old], func(t *testing.T) {
			backendtest.Run(t, installCilium(t, old))
		})
	}
}
