package convert

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// told returns the problems with what is written, and asserts that nothing of the template or the vault is in it.
func told(t *testing.T, raw []string, inputs ...Input) (problems []string, written string) {
	t.Helper()
	r, err := Convert(inputs, Options{})
	require.NoError(t, err)
	for _, p := range r.Problems {
		problems = append(problems, p.String())
	}
	written = render(t, &Result{Objects: r.Objects, Values: r.Values})
	for _, s := range raw {
		assert.NotContains(t, written, s)
	}
	return problems, written
}

const vault = "!vault |\n" +
	"          $ANSIBLE_VAULT;1.1;AES256\n" +
	"          66386439653236336462626566653063336164663966303231363934653561363964363833313662\n"

// TestVault: what Ansible Vault has encrypted is no password: it is refused, with its line, wherever it stands.
func TestVault(t *testing.T) {
	const peer = "metallb_peers:\n- peer_address: 192.0.2.1\n  peer_asn: 64513\n  my_asn: 64512\n  password: "
	for _, c := range []struct{ name, text, want string }{
		{"password", peer + vault, "in:5: metallb_peers[0].password: is encrypted by Ansible Vault: write the value in its place"},
		{"without the tag", peer + strings.TrimPrefix(vault, "!vault "), "in:5: metallb_peers[0].password: is encrypted by Ansible Vault"},
		{"older tag", peer + strings.Replace(vault, "!vault", "!vault-encrypted", 1), "in:5: metallb_peers[0].password: is encrypted"},
		{"by a variable", peer + "\"{{ vault_bgp }}\"\nvault_bgp: " + vault, "in:5: metallb_peers[0].password: {{ vault_bgp }}, at in:6, is encrypted by Ansible Vault"},
		{"address", "metallb_peers:\n- peer_asn: 64513\n  my_asn: 64512\n  peer_address: " + vault, "in:4: metallb_peers[0].peer_address: is encrypted"},
		{"number", "metallb_port: " + vault, "in:1: metallb_port: is encrypted"},
		{"truth value", "metallb_speaker_enabled: " + vault, "in:1: metallb_speaker_enabled: is encrypted"},
		{"label of a node", "metallb_speaker_nodeselector:\n  rack: " + vault, "in:2: metallb_speaker_nodeselector.rack: is encrypted"},
		{"toleration", "metallb_speaker_tolerations:\n- key: " + vault, "in:2: metallb_speaker_tolerations[0].key: is encrypted"},
		{"metallb_config", "metallb_config: " + vault, "in:1: metallb_config: is encrypted"},
		{"layer3", "metallb_config:\n  layer3:\n    metallb_peers:\n      tor:\n        peer_address: 192.0.2.1\n        peer_asn: 64513\n        my_asn: 64512\n        password: " + vault, "in:8: metallb_config.layer3.metallb_peers.tor.password: is encrypted"},
		{"ConfigMap", "peers:\n- peer-address: 192.0.2.1\n  peer-asn: 64513\n  my-asn: 64512\n  password: " + vault, "in:5: peers[0].password: is encrypted"},
		{"ConfigMap as a whole", "apiVersion: v1\nkind: ConfigMap\ndata:\n  config: " + vault, "in:4: data.config: is encrypted"},
		{"Helm value", "controller:\n  priorityClassName: " + vault, "in:2: controller.priorityClassName: is encrypted"},
		{"MetalLB", "apiVersion: metallb.io/v1beta1\nkind: MetalLB\nspec:\n  loadBalancerClass: " + vault, "in:4: spec.loadBalancerClass: is encrypted"},
		{"file", strings.ReplaceAll(strings.TrimPrefix(vault, "!vault |\n"), " ", ""), "in:1: the whole file is encrypted by Ansible Vault: decrypt it first"},
		{"other tag", peer + "!env BGP_PASSWORD\n", "in:5: metallb_peers[0].password: the tag !env makes a value that is not known here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems, written := told(t, []string{"AES256", "6638643", "BGP_PASSWORD", "password"}, Input{Name: "in", Text: []byte(c.text)})
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0], c.want)
			assert.NotContains(t, written, "passwordNamespace")
			assert.NotContains(t, written, "kind: BGPPeer", "without its password it would be another peer")
		})
	}
	problems, _ := told(t, nil,
		Input{Name: "addons.yml", Text: []byte(peer + "\"{{ vault_bgp }}\"\n")}, Input{Name: "secrets.yml", Text: []byte("# secret\n\nvault_bgp: " + vault)})
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0], "addons.yml:5: metallb_peers[0].password: {{ vault_bgp }}, at secrets.yml:3, is encrypted")

	// A vault among variables that are about something else is nobody's business here.
	problems, _ = told(t, nil, Input{Name: "in", Text: []byte("metallb_enabled: true\nregistry_password: " + vault)})
	assert.Empty(t, problems)
}

// TestTemplates: a template in any value is refused with its line, and written nowhere.
func TestTemplates(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"node selector", "metallb_config:\n  speaker:\n    nodeselector: \"{{ lb_nodes }}\"\n", "in:3: metallb_config.speaker.nodeselector: {{ lb_nodes }} names a variable that is in none of the inputs"},
		{"within a node selector", "metallb_speaker_nodeselector:\n  rack: \"{{ rack | lower }}\"\n", "in:2: metallb_speaker_nodeselector.rack: {{ rack | lower }} is a template that cannot be evaluated here"},
		{"key", "metallb_speaker_nodeselector:\n  \"{{ key }}\": x\n", "in:2: metallb_speaker_nodeselector.{{ key }}: the key {{ key }} is a template"},
		{"within tolerations", "metallb_controller_tolerations:\n- key: a\n- {key: \"{{ taint }}-x\"}\n", "in:3: metallb_controller_tolerations[1].key: {{ taint }}-x is a template"},
		{"statement", "metallb_loadbalancer_class: \"{% if a %}b{% endif %}\"\n", "in:1: metallb_loadbalancer_class: {% if a %}b{% endif %} is a template"},
		{"name of a pool", "metallb_pool_name: \"pool-{{ site }}\"\n", "in:1: metallb_pool_name: pool-{{ site }} is a template"},
		{"pool", "metallb_config:\n  address_pools:\n    \"{{ site }}\": {ip_range: 192.0.2.0/28}\n", "in:3: metallb_config.address_pools.{{ site }}: the key {{ site }} is a template"},
		{"community", "metallb_config:\n  layer3:\n    communities: {a: \"{{ asn }}:1\"}\n", "in:3: metallb_config.layer3.communities.a: {{ asn }}:1 is a template"},
		{"level", "metallb_log_level: \"{{ level }}\"\n", "in:1: metallb_log_level: {{ level }} names a variable"},
		{"number", "metallb_port: \"{{ base + 1 }}\"\n", "in:1: metallb_port: {{ base + 1 }} is a template"},
		{"flag", "metallb_avoid_buggy_ips: \"{{ buggy }}\"\n", "in:1: metallb_avoid_buggy_ips: {{ buggy }} names a variable"},
		{"limit", "metallb_limits_cpu: \"{{ cpu }}\"\n", "in:1: metallb_limits_cpu: {{ cpu }} names a variable"},
		{"layer 2", "metallb_config:\n  layer2: [\"{{ pool }}\"]\n", "in:2: metallb_config.layer2[0]: {{ pool }} names a variable"},
		{"duration", "metallb_config:\n  layer3:\n    defaults: {hold_time: \"{{ hold }}\"}\n", "in:3: metallb_config.layer3.defaults.hold_time: {{ hold }} names a variable"},
		{"ConfigMap", "peers:\n- {peer-address: 192.0.2.1, peer-asn: 64513, my-asn: 64512, router-id: \"{{ id }}\"}\n", "in:2: peers[0].router-id: {{ id }} is a template"},
		{"namespace of a ConfigMap", "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: \"{{ .Release.Namespace }}\"}\ndata:\n  config: |\n    peers:\n    - {peer-address: 192.0.2.1, peer-asn: 64513, my-asn: 64512}\n", "in:3: metadata.namespace: {{ .Release.Namespace }} is a template"},
		{"Helm value", "speaker:\n  nodeSelector: {rack: \"{{ rack }}\"}\n", "in:2: speaker.nodeSelector.rack: {{ rack }} is a template"},
		{"whole part of Helm values", "speaker: \"{{ speaker }}\"\n", "in:1: speaker: {{ speaker }} is a template"},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems, _ := told(t, []string{"{{", "{%"}, Input{Name: "in", Text: []byte(c.text)})
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0], c.want)
		})
	}
}

// TestTemplatesFollowed: a template that names a variable of one of the inputs stands for its value, at any depth; what is marked as no
// template is none, nor is what other programs make of their own texts.
func TestTemplatesFollowed(t *testing.T) {
	problems, written := told(t, []string{"{{"},
		Input{Name: "a", Text: []byte("metallb_config:\n  speaker: {nodeselector: \"{{ lb_nodes }}\", tolerations: [\"{{ one }}\", {key: \"{{ key }}\"}]}\n")},
		Input{Name: "b", Text: []byte("lb_nodes: {rack: \"{{ key }}\"}\none: {key: k1, operator: Exists}\nkey: k2\n")})
	assert.Empty(t, problems)
	assert.Contains(t, written, "  nodeSelector:\n    rack: k2\n  tolerations:\n  - key: k1\n    operator: Exists\n  - key: k2\n")

	problems, written = told(t, nil, Input{Name: "in", Text: []byte("metallb_peers:\n- {peer_address: 192.0.2.1, peer_asn: 64513, my_asn: 64512, password: !unsafe \"a{{b\"}\n")})
	assert.Empty(t, problems)
	assert.Contains(t, written, "password: a{{b\n")

	problems, written = told(t, nil, Input{Name: "in", Text: []byte("speaker:\n  podAnnotations: {a: \"{{ with secret }}\"}\nprometheus:\n  prometheusRule:\n    extraAlerts: [{annotations: {text: \"{{ $labels.pool }}\"}}]\n")})
	assert.Empty(t, problems)
	assert.Contains(t, written, "{{ $labels.pool }}")

	// What is wrong with a value behind a template is told with the line of the value.
	problems, _ = told(t, nil,
		Input{Name: "a", Text: []byte("metallb_ip_range: \"{{ ranges }}\"\n")}, Input{Name: "b", Text: []byte("\n\nranges: [10.0.0.9-10.0.0.1]\n")})
	assert.Equal(t, []string{"b:3: ranges[0]: range 10.0.0.9-10.0.0.1 ends before it begins: write 10.0.0.1-10.0.0.9"}, problems)

	problems, _ = told(t, nil, Input{Name: "in", Text: []byte("metallb_ip_range: \"{{ a }}\"\na: \"{{ b }}\"\nb: \"{{ a }}\"\n")})
	assert.Equal(t, []string{"in:1: metallb_ip_range: {{ a }} is a template that cannot be evaluated here: write the value in its place"}, problems)
}
