package backends

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
	"github.com/fairlead/fairlead/backends/calico"
)

// calicoRun is a backend in use, and what it reported last.
type calicoRun struct {
	backends.Backend
	calicoFixture
	*backendtest.Recorder
	outcome backends.Outcome
	clock   time.Time
}

// start returns a backend that writes the pools' prefixes, with a clock that stands still.
func (f calicoFixture) start(t testing.TB, change ...func(*calico.Config)) *calicoRun {
	r := &calicoRun{calicoFixture: f, Recorder: &backendtest.Recorder{}, clock: time.Now()}
	f.change = func(cfg *calico.Config) {
		cfg.Aggregation = calico.Preserve
		cfg.Report, cfg.Now = func(o backends.Outcome) { r.outcome = o }, func() time.Time { return r.clock }
		for _, c := range change {
			c(cfg)
		}
	}
	r.Backend = f.New(t, r.Recorder)
	return r
}

// found are the findings without their messages: type, object and field.
func (r *calicoRun) found() []string {
	var out []string
	for _, f := range r.outcome.Findings {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", f.Type, f.Object.Kind, f.Object.Name, f.Field)))
	}
	return out
}

// list is the entries of serviceLoadBalancerIPs, in their order.
func (f calicoFixture) list(t testing.TB) string {
	t.Helper()
	c := f.configuration(t)
	if c == nil {
		return "absent"
	}
	var out []string
	for _, b := range c.Spec.ServiceLoadBalancerIPs {
		out = append(out, b.CIDR)
	}
	return strings.Join(out, " ")
}

func (f calicoFixture) configuration(t testing.TB) *v3.BGPConfiguration {
	t.Helper()
	for _, u := range all(t, f.group.WithResource("bgpconfigurations"), "") {
		var c v3.BGPConfiguration
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &c, true))
		return &c
	}
	return nil
}

// patch changes the BGPConfiguration as somebody else.
func (f calicoFixture) patch(t testing.TB, body string) {
	t.Helper()
	_, err := objects.Resource(f.group.WithResource("bgpconfigurations")).Patch(t.Context(), "default", types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "kubectl"})
	require.NoError(t, err)
}

// simple wants pools with one prefix each: main, and others by their names.
func simple(prefixes ...string) backends.Desired {
	var want backends.Desired
	var names []string
	for i, p := range prefixes {
		name := fmt.Sprintf("pool-%d", i)
		names = append(names, name)
		want.Announcements = append(want.Announcements, announcements(name, p)...)
	}
	want.BGPAdvertisements = []backends.BGPAdvertisement{{Source: source("BGPAdvertisement", "all"), Pools: poolsNamed(names...), AggregationLength: 24, AggregationLengthV6: 64}}
	return want
}

// TestCalicoFaults: what others do to Calico's objects, and what the user is told of it.
func TestCalicoFaults(t *testing.T) {
	f := installCalico(t, calicoRaw, false)
	for _, tc := range []struct {
		name string
		test func(*testing.T, calicoFixture)
	}{
		{"a user takes an entry out", takenOut}, {"a user deletes the configuration", deleted}, {"another controller writes the list", rewritten},
		{"GitOps applies the list", applied}, {"the aggregation is changed", switchedBack}, {"host bits", hostBits}, {"the API server of v3 is down", unavailable},
		{"a migration", migration}, {"Calico's own allocator", allocator}, {"BIRD is off", birdOff}, {"no route leaves the nodes", notExported},
		{"a session of somebody else", samePeer}, {"an object of somebody else", sameName}, {"a filter that cannot be written", brokenFilter},
		{"a large AS number", largeAS}, {"reads that are forbidden", forbidden}, {"no filters", noFilters}, {"long names", longNames}, {"wrapped metadata", wrapped}, {"the record is lost", lostRecord},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.Reset(t)
			tc.test(t, f)
			f.Reset(t)
		})
	}
	t.Run("the API goes", func(t *testing.T) { abandoned(t, f) })
}

// takenOut: put back three times, then left for ten minutes; other entries come and go meanwhile.
func takenOut(t *testing.T, f calicoFixture) {
	r := f.start(t)
	want := simple("192.0.2.0/24", "198.51.100.0/24")
	require.NoError(t, r.Apply(t.Context(), want))
	for range 3 {
		f.patch(t, `{"spec":{"serviceLoadBalancerIPs":[{"cidr":"203.0.113.0/24"},{"cidr":"198.51.100.0/24"}]}}`)
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Equal(t, "203.0.113.0/24 192.0.2.0/24 198.51.100.0/24", f.list(t))
		assert.Empty(t, r.found())
	}
	f.patch(t, `{"spec":{"serviceLoadBalancerIPs":[{"cidr":"203.0.113.0/24"},{"cidr":"198.51.100.0/24"}]}}`)
	r.Take()
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Empty(t, r.Take())
	assert.Equal(t, []string{"Contended BGPConfiguration/default spec.serviceLoadBalancerIPs"}, r.found())
	assert.Contains(t, r.outcome.Findings[0].Message, "192.0.2.0/24")
	assert.False(t, r.outcome.Pools["pool-0"].Advertised)
	assert.True(t, r.outcome.Pools["pool-1"].Advertised, "nothing else is affected")

	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24", "10.0.0.0/24")))
	assert.Equal(t, "203.0.113.0/24 10.0.0.0/24", f.list(t), "nothing else is affected")

	r.clock = r.clock.Add(11 * time.Minute)
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, "203.0.113.0/24 192.0.2.0/24 198.51.100.0/24", f.list(t))
	assert.Empty(t, r.found())
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Equal(t, "203.0.113.0/24", f.list(t))
}

// deleted: the same with the whole configuration.
func deleted(t *testing.T, f calicoFixture) {
	r := f.start(t)
	want := simple("192.0.2.0/24")
	require.NoError(t, r.Apply(t.Context(), want))
	for range 3 {
		wipe(t, f.group.WithResource("bgpconfigurations"), "", "")
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Equal(t, "192.0.2.0/24", f.list(t))
	}
	wipe(t, f.group.WithResource("bgpconfigurations"), "", "")
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, "absent", f.list(t))
	assert.Equal(t, []string{"Contended BGPConfiguration/default spec.serviceLoadBalancerIPs"}, r.found())
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.True(t, f.ledger.IsEmpty(), "%+v", f.ledger.Record)
}

// rewritten: an entry of ours that is moved is as good; another controller's own list is kept, tags as well.
func rewritten(t *testing.T, f calicoFixture) {
	r := f.start(t)
	want := simple("192.0.2.0/24")
	want.BGPAdvertisements[0].Communities = []backends.Community{{Parts: [3]uint32{64512, 1}}}
	require.NoError(t, r.Apply(t.Context(), want))
	f.patch(t, `{"spec":{"serviceLoadBalancerIPs":[{"cidr":"192.0.2.0/24"},{"cidr":"203.0.113.0/24"}]}}`)
	r.Take()
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Empty(t, r.Take())
	assert.Equal(t, "192.0.2.0/24 203.0.113.0/24", f.list(t), "somebody else's order")
	for range 4 {
		f.patch(t, `{"spec":{"prefixAdvertisements":[{"cidr":"203.0.113.0/24","communities":["64512:9"]}]}}`)
		require.NoError(t, r.Apply(t.Context(), want))
	}
	assert.Contains(t, r.found(), "Contended BGPConfiguration/default spec.prefixAdvertisements")
	assert.Equal(t, "203.0.113.0/24", f.configuration(t).Spec.PrefixAdvertisements[0].CIDR)
	assert.Len(t, f.configuration(t).Spec.PrefixAdvertisements, 1)
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Equal(t, "203.0.113.0/24", f.list(t))
	assert.True(t, f.ledger.IsEmpty(), "%+v", f.ledger.Record)
}

// applied: nothing is written to a list that somebody applies as a whole; the user learns what it has to hold.
func applied(t *testing.T, f calicoFixture) {
	apply := func(cidrs ...any) {
		var list []any
		for _, c := range cidrs {
			list = append(list, map[string]any{"cidr": c})
		}
		u := f.object(v3.KindBGPConfiguration, "default", map[string]any{"serviceLoadBalancerIPs": list})
		_, err := objects.Resource(f.group.WithResource("bgpconfigurations")).Apply(t.Context(), "default", u, metav1.ApplyOptions{FieldManager: "argocd", Force: true})
		require.NoError(t, err)
	}
	r := f.start(t)
	apply("203.0.113.0/24")
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.Equal(t, "203.0.113.0/24", f.list(t))
	assert.Contains(t, r.found(), "Contended BGPConfiguration/default spec.serviceLoadBalancerIPs")
	assert.Contains(t, fmt.Sprint(r.outcome.Findings), `field manager "argocd" applies the whole list, so that nothing is written; it has to hold 192.0.2.0/24`)
	assert.False(t, r.outcome.Pools["pool-0"].Advertised)
	apply("203.0.113.0/24", "192.0.2.0/24")
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.NotContains(t, r.found(), "Contended BGPConfiguration/default spec.serviceLoadBalancerIPs")
	assert.True(t, r.outcome.Pools["pool-0"].Advertised)
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Equal(t, "203.0.113.0/24 192.0.2.0/24", f.list(t))
}

// switchedBack: a user's change of the aggregation is left alone, and the routes follow it.
func switchedBack(t *testing.T, f calicoFixture) {
	r := f.start(t, func(cfg *calico.Config) { cfg.Aggregation = calico.Auto })
	want := simple("192.0.2.0/24")
	want.BGPAdvertisements[0].AggregationLength, want.BGPAdvertisements[0].AggregationLengthV6 = 32, 128
	want.Services = []backends.Service{{Namespace: "shop", Name: "web", Pool: "pool-0", Addrs: addresses("192.0.2.7")}}
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, v3.ServiceLoadBalancerAggregationDisabled, *f.configuration(t).Spec.ServiceLoadBalancerAggregation)
	f.patch(t, `{"spec":{"serviceLoadBalancerAggregation":"Enabled"}}`)
	for range 2 {
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Equal(t, v3.ServiceLoadBalancerAggregationEnabled, *f.configuration(t).Spec.ServiceLoadBalancerAggregation)
		assert.Equal(t, []string{"Contended BGPConfiguration/default spec.serviceLoadBalancerAggregation"}, r.found())
		assert.Equal(t, "192.0.2.7/32", f.list(t), "single addresses all the same")
	}
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Equal(t, "absent", f.list(t))
}

// hostBits: an entry that stops BIRD is named.
func hostBits(t *testing.T, f calicoFixture) {
	f.make(t, f.object(v3.KindBGPConfiguration, "default", map[string]any{"serviceLoadBalancerIPs": []any{map[string]any{"cidr": "10.1.0.7/24"}}}))
	r := f.start(t)
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.Contains(t, r.found(), "ConfigFrozen BGPConfiguration/default spec.serviceLoadBalancerIPs[10.1.0.7/24]")
	assert.False(t, r.outcome.Pools["pool-0"].Advertised)
}

// down answers with an error in the place of the API server, or of one behind it.
type down struct {
	next   http.RoundTripper
	prefix string // of the paths that it answers
	status int    // 503 if 0
}

func (d *down) RoundTrip(req *http.Request) (*http.Response, error) {
	if d.prefix == "" || !strings.HasPrefix(req.URL.Path, d.prefix) {
		return d.next.RoundTrip(req)
	}
	reason, status := "ServiceUnavailable", http.StatusServiceUnavailable
	if d.status == http.StatusForbidden {
		reason, status = "Forbidden", d.status
	}
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"the server is currently unable to handle the request"}`, reason, status)
	return &http.Response{
		Status: reason, StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}, nil
}

// unavailable: while Calico's API server is down, its storage is written to.
func unavailable(t *testing.T, f calicoFixture) {
	r := f.start(t)
	d := &down{next: r.Next, prefix: "/apis/projectcalico.org/v3"}
	r.Next = d
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.Equal(t, "192.0.2.0/24", f.list(t))
	assert.Equal(t, "crd.projectcalico.org/v1", r.outcome.APIVersion)
	d.prefix = "/apis/"
	err := r.Apply(t.Context(), simple("192.0.2.0/24", "10.0.0.0/24"))
	require.ErrorContains(t, err, "announce 10.0.0.0/24: discover projectcalico.org/v3: the server is currently unable to handle the request")
	d.prefix = "/apis/projectcalico.org/v3"
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24", "10.0.0.0/24")))
	assert.Equal(t, "10.0.0.0/24 192.0.2.0/24", f.list(t))
}

// migration: nothing is written while Calico moves its objects.
func migration(t *testing.T, f calicoFixture) {
	r := f.start(t)
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{
		Name:        "datastoremigrations.migration.projectcalico.org",
		Annotations: map[string]string{"api-approved.kubernetes.io": "unapproved, stands in for Calico's own"},
	}}
	crd.Spec.Group, crd.Spec.Scope = "migration.projectcalico.org", apiextensionsv1.ClusterScoped
	crd.Spec.Names = apiextensionsv1.CustomResourceDefinitionNames{Plural: "datastoremigrations", Singular: "datastoremigration", Kind: "DatastoreMigration", ListKind: "DatastoreMigrationList"}
	crd.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{
		Name: "v1", Served: true, Storage: true,
		Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}},
	}}
	install(t, []*apiextensionsv1.CustomResourceDefinition{crd})
	resource := calicoRaw.WithResource("datastoremigrations")
	resource.Group = crd.Spec.Group
	phase := func(p string) {
		u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"phase": p}}}
		u.SetAPIVersion(crd.Spec.Group + "/v1")
		u.SetKind("DatastoreMigration")
		u.SetName("v1-to-v3")
		wipe(t, resource, "", "")
		_, err := objects.Resource(resource).Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	for _, p := range []string{"", "Pending", "Migrating", "WaitingForConflictResolution", "Converged", "Failed"} {
		phase(p)
		r.Take()
		assert.ErrorIs(t, r.Apply(t.Context(), simple("192.0.2.0/24", "10.0.0.0/24")), calico.ErrMigrating, p)
		assert.Empty(t, r.Take(), p)
	}
	phase("Complete")
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24", "10.0.0.0/24")))
	assert.Equal(t, "10.0.0.0/24 192.0.2.0/24", f.list(t))

	info := `{"spec":{"datastoreReady":%v}}`
	ready := func(is bool) {
		_, err := objects.Resource(f.group.WithResource("clusterinformations")).Patch(t.Context(), "default", types.MergePatchType, fmt.Appendf(nil, info, is), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	ready(false)
	assert.ErrorIs(t, r.Apply(t.Context(), simple("192.0.2.0/24")), calico.ErrMigrating)
	ready(true)
}

// allocator: the user learns that Calico replaces addresses.
func allocator(t *testing.T, f calicoFixture) {
	defer wipe(t, f.group.WithResource("ippools"), "", "")
	defer wipe(t, f.group.WithResource("kubecontrollersconfigurations"), "", "")
	f.make(t, f.object(v3.KindIPPool, "lb", map[string]any{"cidr": "203.0.113.0/24", "allowedUses": []any{"LoadBalancer"}}))
	f.make(t, f.object(v3.KindKubeControllersConfiguration, "default", map[string]any{"controllers": map[string]any{"loadBalancer": map[string]any{"assignIPs": "AllServices"}}}))
	r := f.start(t)
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.Equal(t, []string{"IPAMConflict KubeControllersConfiguration/default spec.controllers.loadBalancer"}, r.found())
	assert.Equal(t, []string{"", "calico"}, r.outcome.Claims)
	assert.True(t, r.outcome.Pools["pool-0"].Advertised)
	_, err := objects.Resource(f.group.WithResource("kubecontrollersconfigurations")).Patch(t.Context(), "default", types.MergePatchType,
		[]byte(`{"spec":{"controllers":{"loadBalancer":{"assignIPs":"RequestedServicesOnly"}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.Empty(t, r.found())
	assert.Equal(t, []string{"calico"}, r.outcome.Claims)
	assert.True(t, r.outcome.ClaimsLoadBalancerIP)
}

// birdOff: what is written has no effect, and the user is told by whom.
func birdOff(t *testing.T, f calicoFixture) {
	ds := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: nodeNamespace, Name: "calico-node"}}
	ds.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": "calico-node"}}
	ds.Spec.Template.Labels = ds.Spec.Selector.MatchLabels
	ds.Spec.Template.Spec.Containers = []corev1.Container{{
		Name: "calico-node", Image: "calico/node", Env: []corev1.EnvVar{{Name: "CALICO_NETWORKING_BACKEND", ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "calico-config"}, Key: "calico_backend"},
		}}},
	}}
	require.NoError(t, kube.Create(t.Context(), ds))
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: nodeNamespace, Name: "calico-config"}, Data: map[string]string{"calico_backend": "vxlan"}}
	require.NoError(t, kube.Create(t.Context(), cm))
	defer func() {
		require.NoError(t, kube.Delete(t.Context(), ds))
		require.NoError(t, kube.Delete(t.Context(), cm))
	}()
	r := f.start(t)
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.Equal(t, []string{"BackendInactive BGPConfiguration/default"}, r.found())
	assert.Contains(t, r.outcome.Findings[0].Message, "DaemonSet kube-system/calico-node")
	assert.False(t, r.outcome.Pools["pool-0"].Advertised)
	cm.Data["calico_backend"] = "bird"
	require.NoError(t, kube.Update(t.Context(), cm))
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")))
	assert.Empty(t, r.found())
	assert.True(t, r.outcome.Pools["pool-0"].Advertised)
}

// notExported: an IPPool that keeps routes on the nodes is named, and other pools are not affected.
func notExported(t *testing.T, f calicoFixture) {
	defer wipe(t, f.group.WithResource("ippools"), "", "")
	f.make(t, f.object(v3.KindIPPool, "here", map[string]any{"cidr": "192.0.0.0/16", "disableBGPExport": true}))
	r := f.start(t)
	require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24", "198.51.100.0/24")))
	assert.Equal(t, []string{"BackendInactive IPPool/here spec.disableBGPExport"}, r.found())
	assert.False(t, r.outcome.Pools["pool-0"].Advertised)
	assert.True(t, r.outcome.Pools["pool-1"].Advertised)
}

func addresses(text ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range text {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func peer(name, addr string) backends.Peer {
	return backends.Peer{Source: source("BGPPeer", name), MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr(addr)}
}

// samePeer: a session that somebody else's BGPPeer holds is left to it, and the other is set up.
func samePeer(t *testing.T, f calicoFixture) {
	f.make(t, f.object(v3.KindBGPPeer, "theirs", map[string]any{"peerIP": "192.0.2.1", "asNumber": int64(64513)}))
	r := f.start(t)
	want := simple("198.51.100.0/24", "203.0.113.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.BGPAdvertisements[0].Pools = poolsNamed("pool-0")
	want.BGPAdvertisements = append(want.BGPAdvertisements, backends.BGPAdvertisement{Source: source("BGPAdvertisement", "some"), Pools: poolsNamed("pool-1"), Peers: []string{"tor-b"}, AggregationLength: 24})
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, []string{"UnsupportedField BGPAdvertisement/some spec.peers", "PeerExists BGPPeer/tor-a spec.peerAddress"}, r.found())
	assert.True(t, r.outcome.Findings[0].Withheld)
	assert.Equal(t, "198.51.100.0/24", f.list(t), "the foreign peer would hear the other")
	assert.Equal(t, []string{"fairlead-tor-b", "theirs"}, f.names(t, "bgppeers"))
}

func (f calicoFixture) names(t testing.TB, resource string) []string {
	var out []string
	for _, u := range all(t, f.group.WithResource(resource), "") {
		out = append(out, u.GetName())
	}
	return out
}

// sameName: an object of somebody else is never overwritten nor deleted, whatever the record says.
func sameName(t *testing.T, f calicoFixture) {
	f.make(t, f.object(v3.KindBGPPeer, "fairlead-tor-a", map[string]any{"peerIP": "192.0.2.77", "asNumber": int64(64999)}))
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	before := f.Dump(t)
	for range 2 {
		r := f.start(t)
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Equal(t, []string{"Contended BGPPeer/fairlead-tor-a"}, r.found())
		assert.Contains(t, f.names(t, "bgppeers"), "fairlead-tor-b")
		require.NoError(t, r.Apply(t.Context(), want))
	}
	f.ledger.Objects = append(f.ledger.Objects, "BGPPeer/fairlead-tor-a") // as after a crash at the wrong time
	require.NoError(t, f.start(t).Apply(t.Context(), backends.Desired{}))
	assert.Equal(t, before, f.Dump(t))
	assert.True(t, f.ledger.IsEmpty())
}

// brokenFilter: what cannot be kept from a peer is not advertised, and nothing else is affected.
func brokenFilter(t *testing.T, f calicoFixture) {
	f.make(t, f.object(v3.KindBGPFilter, "fairlead-tor-a", map[string]any{"exportV4": []any{}}))
	r := f.start(t)
	want := simple("198.51.100.0/24", "203.0.113.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.BGPAdvertisements[0].Pools = poolsNamed("pool-0")
	want.BGPAdvertisements = append(want.BGPAdvertisements, backends.BGPAdvertisement{Source: source("BGPAdvertisement", "some"), Pools: poolsNamed("pool-1"), Peers: []string{"tor-b"}, AggregationLength: 24})
	err := r.Apply(t.Context(), want)
	require.ErrorContains(t, err, "announce 203.0.113.0/24: cannot be kept from peers that must not hear it")
	assert.NotContains(t, err.Error(), "198.51.100.0/24")
	assert.Equal(t, []string{"Contended BGPFilter/fairlead-tor-a"}, r.found())
	assert.Equal(t, "198.51.100.0/24", f.list(t))
	assert.False(t, r.outcome.Pools["pool-1"].Advertised)
	assert.Equal(t, []string{"fairlead-tor-b"}, f.names(t, "bgppeers"))
	wipe(t, f.group.WithResource("bgpfilters"), "", "")
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, "198.51.100.0/24 203.0.113.0/24", f.list(t))
	assert.Equal(t, []string{"fairlead-tor-a", "fairlead-tor-b"}, f.names(t, "bgppeers"))
}

// largeAS: Calico's CRDs ask for an int32 as the AS number. What the API refuses is told, and the other peer is set up.
func largeAS(t *testing.T, f calicoFixture) {
	r := f.start(t)
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.Peers[0].PeerASN = 4294967295
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, []string{"UnsupportedField BGPPeer/tor-a"}, r.found())
	assert.Contains(t, r.outcome.Findings[0].Message, "spec.asNumber")
	assert.Equal(t, []string{"fairlead-tor-b"}, f.names(t, "bgppeers"))
	assert.True(t, r.outcome.Pools["pool-0"].Advertised)
}

// forbidden: what may not be read is not known, and nothing fails for it but what cannot do without.
func forbidden(t *testing.T, f calicoFixture) {
	r := f.start(t)
	d := &down{next: r.Next, status: http.StatusForbidden}
	r.Next = d
	for _, path := range []string{
		"/apis/apps/", "/api/v1/namespaces/kube-system/configmaps", "/apis/crd.projectcalico.org/v1/clusterinformations", "/apis/crd.projectcalico.org/v1/ippools",
		"/apis/crd.projectcalico.org/v1/kubecontrollersconfigurations", "/apis/crd.projectcalico.org/v1/bgppeers", "/openapi/",
	} {
		d.prefix = path
		require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")), path)
		assert.Empty(t, r.found(), path)
	}
	d.prefix = "/apis/crd.projectcalico.org/v1/bgpconfigurations"
	dc, c := connect(t, r.Recorder)
	r.Next = d
	detected, err := calico.Detect(t.Context(), dc, c)
	require.NoError(t, err)
	assert.True(t, detected.Available())
	assert.ErrorContains(t, r.Apply(t.Context(), simple("10.0.0.0/24")), `announce 10.0.0.0/24: read BGPConfiguration "default" (crd.projectcalico.org/v1)`)
	d.prefix = "/apis/crd.projectcalico.org/v1/bgppeers"
	want := simple("10.0.0.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	assert.ErrorContains(t, r.Apply(t.Context(), want), "announce 10.0.0.0/24: list BGPPeers (crd.projectcalico.org/v1)")
	assert.Equal(t, "192.0.2.0/24", f.list(t), "foreign peers might hear it")
}

// noFilters: a Calico older than BGPFilters holds sessions, and advertises what all peers may hear.
func noFilters(t *testing.T, f calicoFixture) {
	r := f.start(t)
	r.Next = &hidden{r.Next, "bgpfilters"}
	want := simple("198.51.100.0/24", "203.0.113.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	want.BGPAdvertisements[0].Pools = poolsNamed("pool-0")
	want.BGPAdvertisements = append(want.BGPAdvertisements, backends.BGPAdvertisement{Source: source("BGPAdvertisement", "some"), Pools: poolsNamed("pool-1"), Peers: []string{"tor-a"}, AggregationLength: 24})
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, []string{"UnsupportedField BGPAdvertisement/some spec.peers"}, r.found())
	assert.Contains(t, r.outcome.Findings[0].Message, "no BGPFilter")
	assert.Equal(t, "198.51.100.0/24", f.list(t))
	assert.Equal(t, []string{"fairlead-tor-a"}, f.names(t, "bgppeers"))
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Empty(t, f.names(t, "bgppeers"))
}

// hidden takes a resource out of discovery.
type hidden struct {
	next     http.RoundTripper
	resource string
}

func (h *hidden) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(req)
	if err != nil || req.URL.Path != "/apis/"+calicoRaw.String() {
		return resp, err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	b = bytes.ReplaceAll(b, []byte(`"name":"`+h.resource+`"`), []byte(`"name":"of-a-later-version"`))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return resp, resp.Request.Context().Err()
}

// longNames: of pools and peers, as long as a name may be.
func longNames(t *testing.T, f calicoFixture) {
	long := strings.Repeat("long", 63)
	r := f.start(t)
	want := backends.Desired{
		Announcements: announcements(long, "198.51.100.0/24"), Nodes: full().Nodes, Peers: []backends.Peer{peer(long, "192.0.2.1"), peer(long+"x", "192.0.2.2")},
		BGPAdvertisements: []backends.BGPAdvertisement{{Source: source("BGPAdvertisement", long), Pools: poolsNamed(long), NodeSelectors: []labels.Selector{selector("rack=1")}, AggregationLength: 24}},
	}
	want.Peers[0].Password = "s3cret"
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Empty(t, r.found())
	assert.Len(t, f.names(t, "bgppeers"), 4, "two groups of nodes for each")
	f.strict(t)
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Empty(t, f.all(t))
}

// wrapped: on the raw objects that Calico's API server has written, labels are in an annotation, which stays.
func wrapped(t *testing.T, f calicoFixture) {
	const annotation = "projectcalico.org/metadata"
	r := f.start(t)
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	require.NoError(t, r.Apply(t.Context(), want))
	u, err := objects.Resource(f.group.WithResource("bgppeers")).Get(t.Context(), "fairlead-tor-a", metav1.GetOptions{})
	require.NoError(t, err)
	u.SetLabels(nil)
	u.SetAnnotations(map[string]string{annotation: `{"labels":{"app.kubernetes.io/managed-by":"fairlead","fairlead.io/installation":"` + ourNamespace + `"}}`})
	_, err = objects.Resource(f.group.WithResource("bgppeers")).Update(t.Context(), u, metav1.UpdateOptions{})
	require.NoError(t, err)
	want.Peers[0].Port = 1179
	require.NoError(t, r.Apply(t.Context(), want))
	u, err = objects.Resource(f.group.WithResource("bgppeers")).Get(t.Context(), "fairlead-tor-a", metav1.GetOptions{})
	require.NoError(t, err)
	ip, _, _ := unstructured.NestedString(u.Object, "spec", "peerIP")
	assert.Equal(t, "192.0.2.1:1179", ip)
	assert.Contains(t, u.GetAnnotations()[annotation], "fairlead")
	assert.Empty(t, r.found())
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Empty(t, f.all(t))
}

// lostRecord: without the record, objects are known by their labels; entries of the list are nobody's and stay.
func lostRecord(t *testing.T, f calicoFixture) {
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	want.Peers[0].Password = "s3cret"
	require.NoError(t, f.start(t).Apply(t.Context(), want))
	f.ledger.Record = calico.Record{}
	require.NoError(t, f.start(t).Apply(t.Context(), backends.Desired{}))
	assert.Len(t, f.all(t), 1)
	assert.Equal(t, "198.51.100.0/24", f.list(t))
}

// abandoned: without Calico's API, what is not Calico's goes all the same, and the record with it.
func abandoned(t *testing.T, f calicoFixture) {
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	want.Peers[0].Password = "s3cret"
	r := f.start(t)
	require.NoError(t, r.Apply(t.Context(), want))
	remove(t, calicoCRDs(t, f.group, false))
	require.ErrorIs(t, r.Apply(t.Context(), want), backends.ErrNotInstalled)
	assert.Len(t, all(t, secretsResource, nodeNamespace), 1)
	for range 2 {
		require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
		assert.Empty(t, all(t, secretsResource, nodeNamespace))
		assert.True(t, f.ledger.IsEmpty())
	}
}

// TestOldCalico: a Calico that lacks fields is given what it knows, and the user is told what that means.
func TestOldCalico(t *testing.T) {
	f := installCalico(t, calicoRaw, true)
	defer f.Reset(t)
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.Peers[1].MyASN = 64999
	for name, mode := range map[string]calico.Aggregation{"auto": calico.Auto, "disabled": calico.Disabled} {
		r := f.start(t, func(cfg *calico.Config) { cfg.Aggregation = mode })
		require.NoError(t, r.Apply(t.Context(), want))
		expected := []string{"UnsupportedField BGPPeer/tor-b spec.myASN"}
		if mode == calico.Disabled {
			expected = append([]string{"UnsupportedField BGPConfiguration/default spec.serviceLoadBalancerAggregation"}, expected...)
		}
		assert.Equal(t, expected, r.found(), name)
		assert.Equal(t, "198.51.100.0/24", f.list(t))
		assert.Contains(t, r.outcome.Facts, backends.Fact{
			Name: "missing fields", Value: "BGPConfiguration spec.serviceLoadBalancerAggregation, BGPPeer spec.localASNumber", Source: "OpenAPI schema",
		})
		assert.Len(t, f.names(t, "bgppeers"), 2)
		assert.True(t, r.outcome.Pools["pool-0"].Advertised)
	}
	t.Run("before its schema is known", func(t *testing.T) {
		f.Reset(t)
		r := f.start(t, func(cfg *calico.Config) { cfg.Aggregation = calico.Disabled })
		d := &down{next: r.Next, prefix: "/openapi/"}
		r.Next = d
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Equal(t, "198.51.100.0/24", f.list(t), "refused writes show what is missing")
		assert.Len(t, f.names(t, "bgppeers"), 2)
		r.Take()
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Empty(t, r.Take())
		assert.Nil(t, f.ledger.Aggregation)
	})
}
