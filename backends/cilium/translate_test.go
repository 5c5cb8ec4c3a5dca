package cilium

import (
	"net/netip"
	"strings"
	"testing"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/backends"
)

const installation = "fairlead-system"

// render returns objects as a user would write them, each after its kind and name.
func render(t *testing.T, objects []object) string {
	t.Helper()
	var out strings.Builder
	for _, o := range objects {
		u, err := encode(o, v2.SchemeGroupVersion.WithKind(kindOf(o)))
		require.NoError(t, err)
		l := o.GetLabels()
		require.Equal(t, backends.ManagedBy, l[backends.LabelManagedBy], keyOf(o))
		require.Equal(t, installation, l[backends.LabelInstallation], keyOf(o))
		spec := map[string]any{}
		for _, field := range []string{"spec", "data"} {
			if v, ok := u.Object[field].(map[string]any); ok {
				spec = v
			}
		}
		own := map[string]string{}
		for k, v := range l {
			if k != backends.LabelManagedBy && k != backends.LabelInstallation {
				own[k] = v
			}
		}
		if len(own) > 0 {
			spec["labels"] = own
		}
		if source := o.GetAnnotations()[backends.AnnotationSource]; source != "" {
			spec["source"] = source
		}
		text, err := yaml.Marshal(map[string]any{keyOf(o).String(): spec})
		require.NoError(t, err)
		out.Write(text)
	}
	return out.String()
}

func texts(findings []backends.Finding) []string {
	var out []string
	for _, f := range findings {
		s := string(f.Type) + " " + f.String()
		if f.Withheld {
			s = "withheld: " + s
		}
		out = append(out, s)
	}
	return out
}

func selector(s string) labels.Selector {
	out, err := labels.Parse(s)
	if err != nil {
		panic(err)
	}
	return out
}

func pools(names ...string) []backends.Pool {
	var out []backends.Pool
	for _, n := range names {
		out = append(out, backends.Pool{Name: n, Label: backends.LabelValue(n)})
	}
	return out
}

func bgp(name string, change ...func(*backends.BGPAdvertisement)) backends.BGPAdvertisement {
	a := backends.BGPAdvertisement{
		Source: backends.Source{Kind: "BGPAdvertisement", Namespace: installation, Name: name},
		Pools:  pools("main"), AggregationLength: 32, AggregationLengthV6: 128,
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

func l2(name string, change ...func(*backends.L2Advertisement)) backends.L2Advertisement {
	a := backends.L2Advertisement{
		Source: backends.Source{Kind: "L2Advertisement", Namespace: installation, Name: name}, Pools: pools("main"),
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

func router(name, address string, change ...func(*backends.Peer)) backends.Peer {
	p := backends.Peer{
		Source: backends.Source{Kind: "BGPPeer", Namespace: installation, Name: name},
		MyASN:  64512, PeerASN: 64513, Address: netip.MustParseAddr(address),
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func node(name string, extra ...string) backends.Node {
	set := labels.Set{labelHostname: name}
	for i := 0; i < len(extra); i += 2 {
		set[extra[i]] = extra[i+1]
	}
	return backends.Node{Name: name, Labels: set}
}

func nodes(names ...string) []backends.Node {
	var out []backends.Node
	for _, n := range names {
		out = append(out, node(n))
	}
	return out
}

func run(want backends.Desired, change ...func(*facts)) *translation {
	f := facts{installation: installation, secretsNamespace: "bgp-secrets"}
	for _, c := range change {
		c(&f)
	}
	return translate(want, f)
}

func wider(f *facts) { f.allowWider = true }

func given(objects ...object) func(*facts) {
	return func(f *facts) { f.world = worldOf(objects...) }
}

// worldOf returns a world with objects, as if somebody had written them.
func worldOf(objects ...object) *world {
	w := &world{}
	for _, o := range objects {
		switch o := o.DeepCopyObject().(type) {
		case *corev1.Secret:
			w.secrets = append(w.secrets, o)
		case *v2.CiliumBGPPeerConfig:
			w.peerConfigs = append(w.peerConfigs, o)
		case *v2.CiliumBGPClusterConfig:
			w.clusterConfigs = append(w.clusterConfigs, o)
		case *v2.CiliumBGPAdvertisement:
			w.adverts = append(w.adverts, o)
		case *v2.CiliumBGPNodeConfig:
			w.nodeConfigs = append(w.nodeConfigs, o)
		case *policy:
			w.policies = append(w.policies, o)
		}
	}
	return w
}

func TestAdvertisement(t *testing.T) {
	for _, tc := range []struct {
		name     string
		want     backends.Desired
		change   []func(*facts)
		objects  string
		findings []string
	}{
		{
			name: "the least",
			want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}},
			objects: `
CiliumBGPAdvertisement/fairlead-bgpadv-a:
  advertisements:
  - advertisementType: Service
    selector:
      matchExpressions:
      - key: fairlead.io/pool
        operator: In
        values:
        - main
    service:
      addresses:
      - LoadBalancerIP
  labels:
    fairlead.io/advertise: "true"
    fairlead.io/advertisement: a
  source: BGPAdvertisement/fairlead-system/a
`,
		},
		{
			name: "everything",
			want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) {
				a.Pools = pools("six", "main")
				a.ServiceSelectors = []labels.Selector{selector("app=web,tier!=test"), selector("public"), selector("public")}
				a.Peers = []string{"tor-a", "tor-b"}
				a.AggregationLength, a.AggregationLengthV6 = 24, 64
				a.LocalPref = 150
				a.Communities = []backends.Community{
					{Parts: [3]uint32{64512, 200}}, {Large: true, Parts: [3]uint32{64512, 1, 2}}, {Parts: [3]uint32{64512, 100}}, {Parts: [3]uint32{64512, 100}},
				}
			})}},
			objects: `
CiliumBGPAdvertisement/fairlead-bgpadv-a:
  advertisements:
  - advertisementType: Service
    attributes:
      communities:
        large:
        - "64512:1:2"
        standard:
        - 64512:100
        - 64512:200
      localPreference: 150
    selector:
      matchExpressions:
      - key: fairlead.io/pool
        operator: In
        values:
        - main
        - six
      - key: app
        operator: In
        values:
        - web
      - key: tier
        operator: NotIn
        values:
        - test
    service:
      addresses:
      - LoadBalancerIP
      aggregationLengthIPv4: 24
      aggregationLengthIPv6: 64
  - advertisementType: Service
    attributes:
      communities:
        large:
        - "64512:1:2"
        standard:
        - 64512:100
        - 64512:200
      localPreference: 150
    selector:
      matchExpressions:
      - key: fairlead.io/pool
        operator: In
        values:
        - main
        - six
      - key: public
        operator: Exists
    service:
      addresses:
      - LoadBalancerIP
      aggregationLengthIPv4: 24
      aggregationLengthIPv6: 64
  labels:
    fairlead.io/advertisement: a
    peer.fairlead.io/tor-a: "true"
    peer.fairlead.io/tor-b: "true"
  source: BGPAdvertisement/fairlead-system/a
`,
		},
		{name: "no pools", want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) { a.Pools = nil })}}},
		{
			name: "a selector that selects nothing",
			want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) {
				a.ServiceSelectors = []labels.Selector{labels.Nothing()}
			})}},
		},
		{
			name: "a selector that cannot be written",
			want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) {
				a.ServiceSelectors = []labels.Selector{selector("size>3")}
			})}},
			findings: []string{`withheld: UnsupportedField BGPAdvertisement/fairlead-system/a spec.serviceSelectors[0]: the operator "gt" is not one of In, NotIn, Exists and DoesNotExist`},
		},
		{
			name: "nodes, where peers are not managed",
			want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) {
				a.NodeSelectors = []labels.Selector{selector("rack=1")}
			})}},
			findings: []string{"withheld: UnsupportedField BGPAdvertisement/fairlead-system/a spec.nodeSelectors: the routes of one CiliumBGPAdvertisement go out from all nodes; " +
				"let the peers be managed (--manage-peers), or remove the selectors"},
		},
		{
			name: "a CRD without aggregation",
			want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) {
				a.AggregationLength, a.AggregationLengthV6 = 24, 64
			})}},
			change: []func(*facts){func(f *facts) { f.noAggregation4, f.noAggregation6 = true, true }},
			objects: `
CiliumBGPAdvertisement/fairlead-bgpadv-a:
  advertisements:
  - advertisementType: Service
    selector:
      matchExpressions:
      - key: fairlead.io/pool
        operator: In
        values:
        - main
    service:
      addresses:
      - LoadBalancerIP
  labels:
    fairlead.io/advertise: "true"
    fairlead.io/advertisement: a
  source: BGPAdvertisement/fairlead-system/a
`,
			findings: []string{
				"UnsupportedField BGPAdvertisement/fairlead-system/a spec.aggregationLength: the installed CiliumBGPAdvertisement has no field for /24; the routes are those of single addresses. A newer Cilium aggregates them",
				"UnsupportedField BGPAdvertisement/fairlead-system/a spec.aggregationLengthV6: the installed CiliumBGPAdvertisement has no field for /64; the routes are those of single addresses. A newer Cilium aggregates them",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(tc.want, tc.change...)
			assert.Equal(t, strings.TrimPrefix(tc.objects, "\n"), render(t, got.objects))
			assert.Equal(t, tc.findings, texts(got.findings))
		})
	}
}

// TestLabels: which peer configs of the user's own may select an advertisement.
func TestLabels(t *testing.T) {
	limited := func(peers []string, nodes ...labels.Selector) backends.BGPAdvertisement {
		return bgp("limited", func(a *backends.BGPAdvertisement) { a.Peers, a.NodeSelectors = peers, nodes })
	}
	long := strings.Repeat("x", 70)
	managed := []backends.Peer{router("tor-a", "192.0.2.1")}
	for _, tc := range []struct {
		name   string
		want   backends.Desired
		change []func(*facts)
		labels []string // of the last advertisement, apart from those that all have
	}{
		{name: "for all", want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("b")}}, labels: []string{labelAdvertise}},
		{
			name:   "for all, next to one for some",
			want:   backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{limited([]string{"tor-a", "tor-b"}), bgp("z")}},
			labels: []string{labelAdvertise, "peer.fairlead.io/tor-a", "peer.fairlead.io/tor-b"},
		},
		{name: "for some", want: backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{limited([]string{"tor-a"})}}, labels: []string{"peer.fairlead.io/tor-a"}},
		{
			name: "for some, wider allowed", change: []func(*facts){wider},
			want:   backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{limited([]string{"tor-a"})}},
			labels: []string{labelAdvertise, "peer.fairlead.io/tor-a"},
		},
		{
			name:   "a long name",
			want:   backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{limited([]string{long})}},
			labels: []string{"peer.fairlead.io/" + backends.LabelValue(long)},
		},
		{
			name: "for some nodes, wider allowed", change: []func(*facts){wider},
			want:   backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{limited(nil, selector("rack=1"))}},
			labels: []string{labelAdvertise},
		},
		{
			name:   "for some nodes, peers managed",
			want:   backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{limited(nil, selector("rack=1"))}, Peers: managed, Nodes: nodes("n1")},
			labels: []string{"to.fairlead.io/tor-a", "except.fairlead.io/n1"},
		},
		{
			name:   "for all nodes, peers managed",
			want:   backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("b")}, Peers: managed, Nodes: nodes("n1")},
			labels: []string{labelAdvertise, "peer.fairlead.io/tor-a", "to.fairlead.io/tor-a"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var last *v2.CiliumBGPAdvertisement
			for _, o := range run(tc.want, tc.change...).objects {
				if a, ok := o.(*v2.CiliumBGPAdvertisement); ok {
					last = a
				}
			}
			require.NotNil(t, last)
			for _, l := range []string{backends.LabelManagedBy, backends.LabelInstallation, labelAdvertisement} {
				delete(last.Labels, l)
			}
			want := map[string]string{}
			for _, l := range tc.labels {
				want[l] = yes
			}
			assert.Equal(t, want, last.Labels)
		})
	}
}

// TestHold: what exists for a pool whose addresses are unknown stays, and nothing is added for it.
func TestHold(t *testing.T) {
	both := backends.Desired{
		BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) { a.Pools = pools("faulty", "main") })},
		L2Advertisements:  []backends.L2Advertisement{l2("a", func(a *backends.L2Advertisement) { a.Pools = pools("faulty", "main") })},
		Peers:             []backends.Peer{router("tor-a", "192.0.2.1")}, Nodes: nodes("n1"),
	}
	before := run(both)
	only := both
	only.BGPAdvertisements, only.L2Advertisements = []backends.BGPAdvertisement{bgp("a")}, []backends.L2Advertisement{l2("a")}
	none := backends.Desired{Peers: both.Peers, Nodes: both.Nodes}

	held := only
	held.Hold = []string{"faulty"}
	assert.Equal(t, render(t, before.objects), render(t, run(held, given(before.objects...)).objects))
	assert.Empty(t, run(held, given(before.objects...)).compare(), "equal")
	assert.Equal(t, render(t, run(only).objects), render(t, run(held).objects), "nothing is added for a pool on hold")
	assert.True(t, run(held, given(before.objects...)).outcome(on, nil).Pools["faulty"].Advertised)

	held = none
	held.Hold = []string{"faulty"}
	got := run(held, given(before.objects...))
	want := both
	want.BGPAdvertisements = []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) { a.Pools = pools("faulty") })}
	want.L2Advertisements = []backends.L2Advertisement{l2("a", func(a *backends.L2Advertisement) { a.Pools = pools("faulty") })}
	assert.Equal(t, render(t, run(want).objects), render(t, got.objects), "without an advertisement, too")
	assert.Len(t, got.compare(), 2)

	assert.Len(t, run(none, given(before.objects...)).compare(), 2, "the advertisement and the policy are deleted")
}

// on is a Cilium with everything switched on.
var on = Detection{BGP: true, L2: true, config: map[string]string{keyBGP: yes, keyL2: yes}, source: "ConfigMap kube-system/cilium-config"}

func TestContradiction(t *testing.T) {
	got := run(backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{
		bgp("a", func(a *backends.BGPAdvertisement) { a.LocalPref = 100 }),
		bgp("b", func(a *backends.BGPAdvertisement) { a.LocalPref = 200 }),
		bgp("c", func(a *backends.BGPAdvertisement) { a.LocalPref = 300; a.AggregationLength = 24 }),
	}})
	assert.Equal(t, []string{`UnsupportedField BGPAdvertisement/fairlead-system/b spec.localPref: 200 contradicts 100 of BGPAdvertisement "a", ` +
		`which has pool "main" and the same aggregation length, too; where both apply Cilium sends the higher`}, texts(got.findings))
}

// TestTwoPools: Cilium advertises every address of a Service that it selects, so one with addresses of two pools is selected only by
// what selects both.
func TestTwoPools(t *testing.T) {
	pool := func(names ...string) func(*backends.BGPAdvertisement) {
		return func(a *backends.BGPAdvertisement) {
			a.Pools = nil
			for _, n := range names {
				a.Pools = append(a.Pools, backends.Pool{Name: n, Label: backends.LabelValue(n)})
			}
		}
	}
	want := backends.Desired{
		BGPAdvertisements: []backends.BGPAdvertisement{bgp("both", pool("four", "six")), bgp("four", pool("four")), bgp("six", pool("six"))},
		Services:          []backends.Service{{Namespace: "default", Name: "web", Pool: "four,six", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}},
	}
	selected := map[string][]string{}
	for _, o := range run(want).objects {
		if a, ok := o.(*v2.CiliumBGPAdvertisement); ok {
			selected[a.Name] = poolsIn(a.Spec.Advertisements[0].Selector)
		}
	}
	assert.Equal(t, map[string][]string{
		"fairlead-bgpadv-both": {"four", "six", backends.PoolLabel("four,six")}, "fairlead-bgpadv-four": {"four"}, "fairlead-bgpadv-six": {"six"},
	}, selected)
}
