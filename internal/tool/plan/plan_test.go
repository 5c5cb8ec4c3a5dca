package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	const pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\n"
	one := write("good/one.yaml", "# only a comment\n---\n"+pool+"---\n"+pool)
	write("good/two.json", `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}}]}`)
	write("good/notes.txt", "not: [an object")
	write("good/deep/three.yml", pool)
	write("empty/x.txt", "")
	for _, tc := range []struct {
		name      string
		paths     []string
		recursive bool
		in        string
		want      []string // kind and source
		err       string
	}{
		{name: "file", paths: []string{one}, want: []string{"IPAddressPool one.yaml#2", "IPAddressPool one.yaml#3"}},
		{name: "folder", paths: []string{filepath.Join(dir, "good")}, want: []string{"IPAddressPool one.yaml#2", "IPAddressPool one.yaml#3", "Service two.json#1.items[0]"}},
		{name: "folders in it", paths: []string{filepath.Join(dir, "good")}, recursive: true, want: []string{"IPAddressPool three.yml#1", "IPAddressPool one.yaml#2", "IPAddressPool one.yaml#3", "Service two.json#1.items[0]"}},
		{name: "standard input", paths: []string{"-"}, in: pool, want: []string{"IPAddressPool stdin#1"}},
		{name: "no such file", paths: []string{filepath.Join(dir, "nowhere")}, err: "no such file"},
		{name: "folder without manifests", paths: []string{filepath.Join(dir, "empty")}, err: "has no files that end in .yaml"},
		{name: "nothing", paths: []string{"-"}, err: "there are no objects"},
		{name: "tab", paths: []string{"-"}, in: pool + "spec:\n\taddresses: []\n", err: "yaml: line 5: found character that cannot start any token; there is a tab in the indentation"},
		{name: "key twice", paths: []string{"-"}, in: pool + "kind: Service\n", err: `key "kind" already set`},
		{name: "no kind", paths: []string{"-"}, in: pool + "---\napiVersion: v1\nmetadata: {name: x}\n", err: "stdin#2: kind is missing"},
		{name: "no name", paths: []string{"-"}, in: "apiVersion: v1\nkind: Service\n", err: "stdin#1: metadata.name is missing"},
		{name: "not an object", paths: []string{"-"}, in: "- a\n- b\n", err: "stdin#1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all, err := Load(tc.paths, tc.recursive, strings.NewReader(tc.in))
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			var got []string
			for _, m := range all {
				got = append(got, m.GetKind()+" "+filepath.Base(m.Source))
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestDiff(t *testing.T) {
	lines := func(s string) []string { return strings.Fields(s) }
	for _, tc := range []struct{ before, after, want string }{
		{"a b c", "a b c", ""}, {"", "a", "+a"}, {"a", "", "-a"}, {"a b", "a c", " a|-b|+c"},
		{"1 2 3 4 5 6 7 8 9", "1 2 3 4 x 6 7 8 9", " 3| 4|-5|+x| 6| 7| ..."},
		{"a b c d e f g h", "x b c d e f g y", "-a|+x| b| c| ...| f| g|-h|+y"},
	} {
		assert.Equal(t, tc.want, strings.Join(Diff(lines(tc.before), lines(tc.after)), "|"), "%s to %s", tc.before, tc.after)
	}
}

// TestCompare: what becomes of Services, by the controller's own rules.
func TestCompare(t *testing.T) {
	pool := func(name string, addresses ...string) func(*survey.Survey) {
		return func(s *survey.Survey) {
			for i := range s.Config.Pools {
				if s.Config.Pools[i].Name == name {
					s.Config.Pools[i].Spec.Addresses = addresses
					return
				}
			}
			s.Config.Pools = append(s.Config.Pools, v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}, Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}})
		}
	}
	service := func(name string, do func(*corev1.Service)) func(*survey.Survey) {
		return func(s *survey.Survey) { do(s.Service("shop", name)) }
	}
	for _, tc := range []struct {
		name       string
		change     []func(*survey.Survey)
		want       []string // of each Service: name, what, before, after, reason
		disruptive bool
		faults     int
	}{
		{name: "nothing"},
		{name: "a pool is widened", change: []func(*survey.Survey){pool("main", "192.0.2.0/24", "2001:db8::/64")}},
		{name: "a pool moves", change: []func(*survey.Survey){pool("main", "10.0.0.0/24", "2001:db8::/64")}, disruptive: true,
			want: []string{"mail renumbered [192.0.2.1] [10.0.0.1] Allocated", "web renumbered [192.0.2.0 2001:db8::] [10.0.0.0 2001:db8::] Allocated", "wide stays [] [] AddressNotInPool"}},
		{name: "a pool goes, and there is no other", change: []func(*survey.Survey){func(s *survey.Survey) { s.Config.Pools = slices.Clone(s.Config.Pools[1:]) }}, disruptive: true,
			want: []string{"mail loses [192.0.2.1] [] NoMatchingPool", "web loses [192.0.2.0 2001:db8::] [] NoMatchingPool", "wide stays [] [] AddressNotInPool"}},
		{name: "a pool admits no longer: addresses are kept", change: []func(*survey.Survey){func(s *survey.Survey) {
			s.Config.Pools[0].Spec.AllocateTo = &v1beta1.ServiceAllocation{Namespaces: []string{"other"}}
		}}, want: []string{"mail stays [192.0.2.1] [192.0.2.1] AddressKept", "web stays [192.0.2.0 2001:db8::] [192.0.2.0 2001:db8::] AddressKept", "wide stays [] [] PoolNotAdmitting"}},
		{name: "a faulty edit: its last valid version stays", change: []func(*survey.Survey){pool("main", "192.0.2.0/33")}, faults: 1, disruptive: true},
		{name: "a pool that is asked for comes", change: []func(*survey.Survey){pool("nowhere", "10.9.0.0/30")}, want: []string{"lost gains [] [10.9.0.0] Allocated"}},
		{name: "who is in the way goes", change: []func(*survey.Survey){service("mail", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })}, disruptive: true,
			want: []string{"mail loses [192.0.2.1] [] ", "wide gains [] [192.0.2.1] Allocated"}},
		{name: "another address is asked for", change: []func(*survey.Survey){service("mail", func(s *corev1.Service) {
			s.Annotations = map[string]string{"metallb.io/loadBalancerIPs": "198.51.100.9"}
		})}, disruptive: true, want: []string{"mail renumbered [192.0.2.1] [198.51.100.9] Allocated", "wide gains [] [192.0.2.1] Allocated"}},
		{name: "another address is asked for in vain", change: []func(*survey.Survey){service("mail", func(s *corev1.Service) {
			s.Annotations = map[string]string{"metallb.io/loadBalancerIPs": "192.0.2.0"}
		})}, want: []string{"mail stays [192.0.2.1] [192.0.2.1] AddressKept"}},
		{name: "an advertisement goes", change: []func(*survey.Survey){func(s *survey.Survey) { s.Config.BGPAdvertisements = nil }}, disruptive: true,
			want: []string{"mail stays [192.0.2.1] [192.0.2.1] Allocated withdrawn", "web stays [192.0.2.0 2001:db8::] [192.0.2.0 2001:db8::] Allocated withdrawn"}},
		{name: "an advertisement selects Services no longer", change: []func(*survey.Survey){func(s *survey.Survey) {
			s.Config.BGPAdvertisements[0].Spec.ServiceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"a": "b"}}}
		}}, disruptive: true, want: []string{"mail stays [192.0.2.1] [192.0.2.1] Allocated withdrawn", "web stays [192.0.2.0 2001:db8::] [192.0.2.0 2001:db8::] Allocated withdrawn"}},
		{name: "an address is reserved for another: who has it keeps it", change: []func(*survey.Survey){func(s *survey.Survey) {
			s.Config.Reservations[0].Spec.Addresses = []string{"192.0.2.0/30"}
		}}},
		{name: "a new Service, and a namespace that a pool selects", change: []func(*survey.Survey){func(s *survey.Survey) {
			s.Config.Pools[2].Spec.AllocateTo = &v1beta1.ServiceAllocation{NamespaceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"team": "b"}}}}
			s.Namespaces["b"] = map[string]string{"team": "b"}
			svc := s.Service("shop", "mail").DeepCopy()
			svc.Namespace, svc.Name, svc.Status, svc.Annotations, svc.Labels = "b", "new", corev1.ServiceStatus{}, nil, nil
			s.Services = append(s.Services, *svc)
		}}, want: []string{"new gains [] [203.0.113.10] Allocated"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := surveytest.Survey(t, surveytest.Shop)
			then := surveytest.Survey(t, surveytest.Shop, tc.change...)
			r, err := Compare(now, then)
			require.NoError(t, err)
			var got []string
			for _, s := range r.Services {
				text := s.Name + " " + s.Addresses + " [" + strings.Join(s.Before, " ") + "] [" + strings.Join(s.After, " ") + "] " + s.Reason
				if s.Withdrawn && s.Addresses == Stays {
					text += " withdrawn"
				}
				got = append(got, text)
			}
			assert.Equal(t, tc.want, got)
			assert.Equal(t, tc.disruptive, r.Disruptive)
			assert.Len(t, r.Faults, tc.faults)
			assert.Empty(t, r.Gaps)
		})
	}
}

// TestNodes: an address that a node announces stays there as long as it may.
func TestNodes(t *testing.T) {
	now := surveytest.Survey(t, surveytest.Shop)
	then := surveytest.Survey(t, surveytest.Shop, func(s *survey.Survey) {
		s.Config.L2Advertisements[0].Spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"kubernetes.io/hostname": "n1"}}}
	})
	r, err := Compare(now, then)
	require.NoError(t, err)
	assert.Equal(t, []NodeChange{
		{What: "192.0.2.0 on the local network", Before: []string{"n2"}, After: []string{"n1"}},
		{What: "2001:db8:: on the local network", Before: []string{"n2"}, After: []string{"n1"}},
	}, r.Nodes)
	assert.True(t, r.Disruptive)
}

// TestNamespace: objects without a namespace go where kubectl apply puts them, and what nobody would read there is warned of.
func TestNamespace(t *testing.T) {
	const pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: new}\nspec: {addresses: [10.9.0.0/24]}\n"
	const explicit = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: new, namespace: other}\nspec: {addresses: [10.9.0.0/24]}\n"
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: new}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n"
	for _, tc := range []struct {
		name, text, namespace, want, warning string
	}{
		{"the installation's", pool, surveytest.Namespace, "create metallb-system/new", ""},
		{"another", pool, "default", "ignored default/new", `IPAddressPool "new" would be stored in namespace "default" and not be read there: the installation is in namespace "metallb-system"; ` +
			`give it metadata.namespace: metallb-system, or use -n metallb-system`},
		{"another, written in the object", explicit, surveytest.Namespace, "ignored other/new", `IPAddressPool "new" would be stored in namespace "other" and not be read there: the installation is in namespace "metallb-system"`},
		{"a Service", service, "shop", "create shop/new", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			manifests, err := Load([]string{"-"}, false, strings.NewReader(tc.text))
			require.NoError(t, err)
			c := &Change{Client: surveytest.Client(t, surveytest.Shop), Namespace: tc.namespace}
			_, got, _, err := c.Make(t.Context(), surveytest.Survey(t, surveytest.Shop), manifests)
			require.NoError(t, err)
			require.Len(t, got, 1)
			assert.Equal(t, tc.want, got[0].Action+" "+got[0].Namespace+"/"+got[0].Name)
			if tc.warning == "" {
				assert.Empty(t, c.astray)
				return
			}
			require.Len(t, c.astray, 1)
			assert.Contains(t, c.astray[0], tc.warning)
		})
	}
}

// TestUnknown: what could not be found out is no "nothing would change".
func TestUnknown(t *testing.T) {
	gap := func(what string) func(*survey.Survey) {
		return func(s *survey.Survey) {
			s.Gaps = append(s.Gaps, survey.Gap{What: what, Why: "you may not list " + what})
		}
	}
	calico := func(s *survey.Survey) { s.Controller.Settings["backend"] = "calico" }
	for _, tc := range []struct {
		name    string
		change  []func(*survey.Survey)
		problem string
		err     string // empty: all is known
	}{
		{name: "all is known"},
		{name: "Services", change: []func(*survey.Survey){gap("Services")}, err: "you may not list Services"},
		{name: "peers", change: []func(*survey.Survey){gap("BGPPeers")}, err: "you may not list BGPPeers"},
		{name: "who serves", change: []func(*survey.Survey){gap("Backends")}, err: "you may not list Backends"},
		{name: "where speakers run", change: []func(*survey.Survey){gap("SpeakerLeases")}, err: "you may not list SpeakerLeases"},
		{name: "where speakers would run, were there any", change: []func(*survey.Survey){gap("SpeakerLeases"), calico}},
		{name: "a kind that is not there", change: []func(*survey.Survey){func(s *survey.Survey) { s.Gaps = []survey.Gap{{What: "BFDProfiles", Missing: true}} }}},
		{name: "what a backend would write", problem: "list bgpconfigurations: no answer", err: "what would be written for calico: list bgpconfigurations: no answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Compare(surveytest.Survey(t, surveytest.Shop, tc.change...), surveytest.Survey(t, surveytest.Shop, tc.change...))
			require.NoError(t, err)
			if tc.problem != "" {
				r.Backends = []Backend{{Name: "calico", Problem: tc.problem}}
				r.judge()
			}
			assert.False(t, r.Changes)
			assert.Equal(t, tc.err != "", r.Incomplete)
			if tc.err == "" {
				require.NoError(t, r.Unknown())
				return
			}
			require.ErrorIs(t, r.Unknown(), survey.ErrNotReadable)
			require.ErrorContains(t, r.Unknown(), tc.err)
		})
	}
}

// TestLocally: what kubectl apply would make of an object, worked out without the API server.
func TestLocally(t *testing.T) {
	object := func(spec map[string]any, annotations map[string]string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "a"}, "spec": spec}}
		if annotations != nil {
			u.SetAnnotations(annotations)
		}
		return u
	}
	have := object(map[string]any{"clusterIP": "10.0.0.1", "loadBalancerIP": "192.0.2.1", "type": "LoadBalancer"}, map[string]string{
		"mine": "stays", "metallb.io/address-pool": "old",
		corev1.LastAppliedConfigAnnotation: `{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","annotations":{"metallb.io/address-pool":"old"}},"spec":{"loadBalancerIP":"192.0.2.1","type":"LoadBalancer"}}`,
	})
	next, err := locally(object(map[string]any{"type": "LoadBalancer"}, nil), have)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"clusterIP": "10.0.0.1", "type": "LoadBalancer"}, next.Object["spec"], "what the last manifest said and this one does not is gone, and what others said stays")
	assert.Equal(t, map[string]string{"mine": "stays"}, told(next))

	for _, tc := range []struct {
		name string
		spec map[string]any
		want []string
	}{
		{"IPv4 by default", map[string]any{}, []string{"192.0.2.1"}},
		{"both", map[string]any{"ipFamilyPolicy": "PreferDualStack"}, []string{"192.0.2.1", "2001:db8::1"}},
		{"IPv6", map[string]any{"ipFamilies": []any{"IPv6"}}, []string{"2001:db8::1"}},
		{"given", map[string]any{"clusterIPs": []any{"10.1.1.1"}}, []string{"10.1.1.1"}},
	} {
		next, err := locally(object(tc.spec, nil), nil)
		require.NoError(t, err)
		ips, _, _ := unstructured.NestedStringSlice(next.Object, "spec", "clusterIPs")
		assert.Equal(t, tc.want, ips, tc.name)
	}
}
