package backends

import (
	"fmt"
	"io"
	"net/http"
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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
	"github.com/fairlead/fairlead/backends/calico"
)

// calicoRun is a backend in use, and what it reported last.
type calicoRun struct {
	backends.ClusterBackend
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
	r.ClusterBackend = f.New(t, r.Recorder)
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
	assert.Empty(t, f.list(t))
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
