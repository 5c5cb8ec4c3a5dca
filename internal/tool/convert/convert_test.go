package convert

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden converts every file of testdata, those of Kubespray's own documentation among them.
func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, inputs)
	for _, path := range inputs {
		if strings.HasSuffix(path, ".golden.yaml") {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			r, err := Convert([]Input{{Name: filepath.Base(path), Text: text}}, Options{})
			require.NoError(t, err)
			require.Empty(t, r.Problems)
			got := render(t, r)
			golden := strings.TrimSuffix(path, ".yaml") + ".golden.yaml"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), got, "run 'go test ./internal/tool/convert -update' and look at the difference")
		})
	}
}

func render(t *testing.T, r *Result) string {
	t.Helper()
	var out strings.Builder
	for _, n := range r.Notes {
		out.WriteString("# " + n.String() + "\n")
	}
	objects, err := r.Manifests()
	require.NoError(t, err)
	values, err := r.ValuesFile()
	require.NoError(t, err)
	out.Write(objects)
	out.WriteString("--- # values.yaml\n")
	out.Write(values)
	return out.String()
}

// TestKubesprayObjects: the last example of Kubespray's documentation becomes these objects, but that they tell each peer of its own pool only.
func TestKubesprayObjects(t *testing.T) {
	want, err := os.ReadFile("testdata/objects/kubespray.yaml")
	require.NoError(t, err)
	want = bytes.ReplaceAll(want, []byte("holdTime: 120s"), []byte("holdTime: 2m0s"))
	want = regexp.MustCompile(`  peers:\n  - peer.\n`).ReplaceAll(want, nil)
	text, err := os.ReadFile("testdata/kubespray-calico-pools.yaml")
	require.NoError(t, err)
	r, err := Convert([]Input{{Text: text}}, Options{})
	require.NoError(t, err)
	got, err := r.Manifests()
	require.NoError(t, err)
	assert.ElementsMatch(t, documents(t, want), documents(t, got))
}

func documents(t *testing.T, text []byte) (out []any) {
	t.Helper()
	c := &converter{result: &Result{}}
	for _, s := range strings.Split(string(text), "\n---\n") {
		d := &document{}
		c.documents = nil
		c.readText("", []byte("values: {}\n"+"object:\n  "+strings.ReplaceAll(s, "\n", "\n  ")), 0, Values, "")
		require.Len(t, c.documents, 1, "%v", c.result.Problems)
		out = append(out, reader{c, d, "", field(c.documents[0].root, "object")}.decode())
	}
	return out
}

// TestProblems: what cannot be converted is told with its line, and the rest is converted.
func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown variable", "metallb_enabled: true\nmetallb_adress_pool: x\n", []string{"in:2: metallb_adress_pool: unknown variable"}},
		{"unknown key of a pool", "metallb_config:\n  address_pools:\n    a:\n      ip_range: [10.0.0.0/24]\n      autoassign: true\n", []string{"in:5: metallb_config.address_pools.a.autoassign: unknown key"}},
		{"unknown key of a peer", "metallb_config:\n  layer3:\n    metallb_peers:\n      p: {peer_address: 192.0.2.1, peer_asn: 1, my_asn: 2, bfd: x}\n", []string{"in:4: metallb_config.layer3.metallb_peers.p.bfd: unknown key"}},
		{"unknown pool", "metallb_config:\n  layer2:\n  - nope\n", []string{`in:3: metallb_config.layer2[0]: pool "nope" is not defined`}},
		{"bad range", "metallb_ip_range: [10.0.0.9-10.0.0.1]\n", []string{"in:1: metallb_ip_range[0]: range 10.0.0.9-10.0.0.1 ends before it begins"}},
		{"IPv6 range", "metallb_ip_range: [2001:db8::9-2001:db8::1]\n", []string{"ends before it begins"}},
		{"undefined community", "metallb_config:\n  address_pools: {a: {ip_range: 10.0.0.0/24}}\n  layer3:\n    metallb_peers:\n      p: {peer_address: 192.0.2.1, peer_asn: 1, my_asn: 2, address_pool: a, communities: [mine]}\n", []string{`community "mine" is not defined`}},
		{"template", "metallb_ip_range: \"{{ pools | first }}\"\n", []string{"in:1: metallb_ip_range: {{ pools | first }} is a template that cannot be evaluated here"}},
		{"template without its file", "metallb_speaker_enabled: false\ncalico_advertise_service_loadbalancer_ips: \"{{ metallb_ip_range }}\"\n", []string{"in:2: calico_advertise_service_loadbalancer_ips: {{ metallb_ip_range }} names a variable that is in none of the inputs"}},
		{"part of a pool", "metallb_speaker_enabled: false\nmetallb_config: {address_pools: {a: {ip_range: [10.5.0.0/16, 10.6.0.0/16]}}}\ncalico_advertise_service_loadbalancer_ips: [10.5.0.0/16]\n", []string{`holds only part of pool "a"`}},
		{"no pool", "metallb_speaker_enabled: false\nmetallb_config: {address_pools: {a: {ip_range: 10.5.0.0/16}}}\ncalico_advertise_service_loadbalancer_ips: [10.5.0.0/16, \"2001:db8::/64\"]\n", []string{"in:3: calico_advertise_service_loadbalancer_ips[1]: 2001:db8::/64 is in no pool"}},
		{"name", "metallb_config:\n  address_pools:\n    \"123_\": {ip_range: 10.0.0.0/24}\n  layer2: [\"123_\"]\n", []string{`in:3: metallb_config.address_pools.123_: "123_" cannot be the name of an object`, `in:4: metallb_config.layer2[0]: "123_" cannot be the name of an object`}},
		{"tab", "apiVersion: v1\nkind: ConfigMap\ndata:\n  config: |\n    address-pools:\n    - name: a\n    \tprotocol: layer2\n", []string{"in:7: a tab in the indentation"}},
		{"tab in a quoted text", "apiVersion: v1\nkind: ConfigMap\ndata:\n  config: \"address-pools:\\n- name: a\\n\\tprotocol: layer2\\n\"\n", []string{"in: data.config: a tab in the indentation; YAML takes only spaces (line 3 of the text within)"}},
		{"unknown key of the ConfigMap", "apiVersion: v1\nkind: ConfigMap\ndata:\n  config: |\n    peer-autodiscovery:\n      from-labels: {}\n    address-pools: []\n", []string{"in:5: peer-autodiscovery: unknown key"}},
		{"protocol", "address-pools:\n- name: a\n  protocol: ospf\n  addresses: [10.0.0.0/24]\n", []string{`in:2: address-pools[0]: protocol "ospf" of pool "a" is neither layer2 nor bgp`}},
		{"not YAML", "a: [\n", []string{"in:1: did not find expected node content"}},
		{"a list", "- a\n", []string{"in:1: a mapping of keys is needed"}},
		{"another object", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\n", []string{"in:2: kind: IPAddressPool a works as it is: apply it unchanged"}},
		{"an object of others", "apiVersion: apps/v1\nkind: Deployment\n", []string{"in:2: kind: Deployment of apps/v1 is not converted; what is are ConfigMap, MetalLB and AddressPool"}},
		{"unknown value", "controller:\n  replicaCount: 3\n", []string{"in:2: controller.replicaCount: unknown value"}},
		{"value that needs a decision", "speaker:\n  memberlist:\n    enabled: false\nexistingConfigMap: mine\n", []string{"in:3: speaker.memberlist.enabled: speakers agree by memberlist", "in:4: existingConfigMap: names a ConfigMap"}},
		{"two of a name", "address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.0/24]}\n- {name: a, protocol: layer2, addresses: [10.1.0.0/24]}\n", []string{`in:3: address-pools[1]: there would be two objects IPAddressPool "a"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Convert([]Input{{Name: "in", Text: []byte(c.text)}}, Options{})
			require.NoError(t, err)
			var all []string
			for _, p := range r.Problems {
				all = append(all, p.String())
			}
			require.Len(t, all, len(c.want), "%v", all)
			for i, want := range c.want {
				assert.Contains(t, all[i], want)
			}
		})
	}
}

// TestSeveralFiles: variables of one file refer to those of another.
func TestSeveralFiles(t *testing.T) {
	r, err := Convert([]Input{
		{Name: "calico.yml", Text: []byte("calico_advertise_service_loadbalancer_ips: \"{{ metallb_ip_range }}\"\nkube_network_plugin: calico\n")},
		{Name: "addons.yml", Text: []byte("metallb_speaker_enabled: false\nmetallb_ip_range: [10.5.0.0/16, \"2001:db8:5::/64\"]\nmetallb_protocol: bgp\n")},
	}, Options{})
	require.NoError(t, err)
	assert.Empty(t, r.Problems)
	assert.Len(t, r.Objects, 3)
	assert.Equal(t, "calico", r.Values["backend"])
	for _, o := range r.Objects {
		assert.Equal(t, "metallb-system", o.GetNamespace())
	}
}

// TestAliases: anchors of YAML are followed, one that contains itself is no trap.
func TestAliases(t *testing.T) {
	r, err := Convert([]Input{{Text: []byte("metallb_config:\n  address_pools:\n    a: {ip_range: &r [10.5.0.0/24, 2001:db8:5::/64]}\n  layer2: [a]\ncalico_advertise_service_loadbalancer_ips: *r\nmetallb_speaker_enabled: false\n")}}, Options{})
	require.NoError(t, err)
	assert.Empty(t, r.Problems)
	assert.Len(t, r.Objects, 3)
	for _, text := range []string{"metallb_config: &c {address_pools: *c}\n", "metallb_ip_range: &r [*r]\n", "controller: &c {resources: *c}\n"} {
		r, err := Convert([]Input{{Text: []byte(text)}}, Options{})
		require.NoError(t, err)
		assert.NotEmpty(t, r.Problems, text)
	}
}

// TestBackend: whoever converts may choose who is to advertise.
func TestBackend(t *testing.T) {
	text := []byte("address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.0/24]}\n")
	for backend, speakers := range map[string]bool{"": true, "speaker": true, "calico": false, "cilium": false, "auto": false, "none": false} {
		r, err := Convert([]Input{{Text: text}}, Options{Backend: backend})
		require.NoError(t, err)
		assert.Equal(t, speakers, r.Values["speaker"].(map[string]any)["enabled"], backend)
	}
	_, err := Convert([]Input{{Text: []byte("\n")}}, Options{})
	require.ErrorIs(t, err, errNothing)
	_, err = Convert([]Input{{Text: text}, {Text: []byte("metallb_enabled: true\n")}}, Options{})
	require.ErrorContains(t, err, "inputs of different kinds")
	r, err := Convert([]Input{{Text: []byte("null\n")}}, Options{From: Values})
	require.NoError(t, err)
	assert.Equal(t, "speaker", r.Values["backend"], "a release without values of its own has speakers")
}

// FuzzConvert: no text makes it panic.
func FuzzConvert(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.yaml")
	for _, p := range paths {
		text, err := os.ReadFile(p)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Convert([]Input{{Name: "in", Text: text}}, Options{})
		if err == nil {
			_, err = r.Manifests()
			require.NoError(t, err)
		}
	})
}
