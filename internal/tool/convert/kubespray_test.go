package convert

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// converted converts one text without a problem, and returns the notes and what is written.
func converted(t *testing.T, text string) (notes []string, written string) {
	t.Helper()
	r, err := Convert([]Input{{Name: "in", Text: []byte(text)}}, Options{})
	require.NoError(t, err)
	require.Empty(t, r.Problems)
	for _, n := range r.Notes {
		notes = append(notes, n.String())
	}
	return notes, render(t, &Result{Objects: r.Objects, Values: r.Values})
}

// TestNames: a name that Kubernetes does not take is changed as MetalLB's own converter changes it, wherever it is named, and told.
func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"kube_service_pool": "kube-service-pool", "Primary": "primary", "10_net": "net", "rack 7": "rack-7", "pool_": "pool", "10-net": "10-net",
		"a.b": "a.b", "123": "123", "1_2": "1_2", "": "", "Ünter": "nter", strings.Repeat("A", 70): strings.Repeat("a", 63),
	} {
		assert.Equal(t, want, objectName(in), in)
	}

	// Kubespray's own sample.
	notes, written := converted(t, "metallb_ip_range: [10.5.0.50-10.5.0.99]\nmetallb_additional_address_pools:\n  kube_service_pool:\n    ip_range: [10.5.1.50-10.5.1.99]\n    protocol: layer2\n    auto_assign: false\n")
	assert.Equal(t, []string{`in:3: metallb_additional_address_pools.kube_service_pool: "kube_service_pool" cannot be the name of an object: the IPAddressPool is called "kube-service-pool", as MetalLB's own converter does. Change what refers to it, annotations of Services included`}, notes)
	assert.Contains(t, written, "kind: L2Advertisement\nmetadata:\n  name: kube-service-pool\n  namespace: metallb-system\nspec:\n  ipAddressPools:\n  - kube-service-pool\n")
	assert.NotContains(t, written, "kube_service_pool")

	notes, written = converted(t, `metallb_speaker_enabled: false
calico_advertise_service_loadbalancer_ips: [10.6.0.0/16]
metallb_config:
  address_pools: {My_Pool: {ip_range: [10.6.0.0/16]}}
  layer2: [My_Pool]
  layer3:
    metallb_peers:
      tor_1: {peer_address: 192.0.2.1, peer_asn: 64513, my_asn: 64512, address_pool: [My_Pool]}
`)
	assert.Len(t, notes, 2)
	assert.Contains(t, notes[1], `"tor_1" cannot be the name of an object: the BGPPeer is called "tor-1"`)
	assert.NotContains(t, written, "My_Pool")
	assert.Equal(t, 3, strings.Count(written, "  ipAddressPools:\n  - my-pool\n"), written)

	notes, written = converted(t, "address-pools:\n- {name: my_pool, protocol: bgp, addresses: [10.0.0.0/24]}\npeers:\n- {peer-address: 192.0.2.1, peer-asn: 64513, my-asn: 64512, bfd-profile: Quick_One}\nbfd-profiles:\n- {name: Quick_One}\n")
	assert.Len(t, notes, 2)
	assert.Contains(t, written, "  ipAddressPools:\n  - my-pool\n")
	assert.Contains(t, written, "kind: BFDProfile\nmetadata:\n  name: quick-one\n")
	assert.Contains(t, written, "bfdProfile: quick-one\n")

	problems, _ := told(t, nil, Input{Name: "in", Text: []byte("address-pools:\n- {name: my_pool, protocol: bgp, addresses: [10.0.0.0/24]}\n- {name: my-pool, protocol: bgp, addresses: [10.0.1.0/24]}\n")})
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0], `in:3: address-pools[1]: there would be two objects IPAddressPool "my-pool"`)
}

// TestOldPeers: Kubespray 2.19 to 2.21 wrote node_selectors and source_address of metallb_peers into MetalLB's ConfigMap. Since it has
// metallb_config it makes nothing of them.
func TestOldPeers(t *testing.T) {
	text, err := os.ReadFile("testdata/kubespray-selectors.yaml")
	require.NoError(t, err)
	notes, written := converted(t, string(text))
	assert.Empty(t, notes)
	assert.Contains(t, written, "  sourceAddress: 192.0.2.9\n")
	assert.Contains(t, written, "  nodeSelectors:\n  - matchLabels:\n      rack: r1\n  - matchExpressions:\n    - key: rack\n      operator: In\n      values:\n      - r2\n      - r3\n")
	assert.Contains(t, written, "  resources:\n    limits:\n      cpu: 100m\n      memory: 100Mi\n")
	assert.Equal(t, 2, strings.Count(written, "memory: 100Mi"), "controller and speakers had the same")

	problems, _ := told(t, nil, Input{Name: "in", Text: []byte("metallb_peers:\n- peer_address: 192.0.2.1\n  peer_asn: 64513\n  my_asn: 64512\n  node_selectors:\n  - match-expressions: [{key: a, operator: near}]\n")})
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0], `in:6: metallb_peers[0].node_selectors[0]: "near" is not a valid label selector operator`)

	notes, written = converted(t, "metallb_config:\n  layer3:\n    metallb_peers:\n      tor:\n        peer_address: 192.0.2.1\n        peer_asn: 64513\n        my_asn: 64512\n        source_address: 192.0.2.9\n        node_selectors: [{match-labels: {rack: r1}}]\n")
	require.Len(t, notes, 2)
	assert.Contains(t, notes[0], "in:8: metallb_config.layer3.metallb_peers.tor.source_address: Kubespray makes nothing of it: left out. Set spec.sourceAddress")
	assert.Contains(t, notes[1], "in:9: metallb_config.layer3.metallb_peers.tor.node_selectors: Kubespray makes nothing of it: left out. Set spec.nodeSelectors")
	assert.NotContains(t, written, "r1")

	// What Kubespray had before 2.13.
	notes, written = converted(t, "metallb_enabled: true\nmetallb:\n  ip_range: 10.5.0.50-10.5.0.99\n  protocol: layer2\n  limits: {cpu: 50m, memory: 64Mi}\n  port: \"7472\"\n")
	assert.Empty(t, notes)
	assert.Contains(t, written, "  - 10.5.0.50-10.5.0.99\n")
	assert.Contains(t, written, "cpu: 50m\n      memory: 64Mi\n")
	problems, _ = told(t, nil, Input{Name: "in", Text: []byte("metallb_limits_mem: 100 MB\n")})
	assert.Equal(t, []string{`in:1: metallb_limits_mem: "100 MB" is not an amount of memory such as 100m or 100Mi`}, problems)
}

// TestNoPeers: Kubespray's BGPAdvertisements name no peers, so every peer hears of every pool. That is told.
func TestNoPeers(t *testing.T) {
	text, err := os.ReadFile("testdata/kubespray-layer3.yaml")
	require.NoError(t, err)
	notes, written := converted(t, string(text))
	assert.NotContains(t, written, "  peers:")
	assert.Contains(t, notes[0], "metallb_config.layer3.metallb_peers: every peer hears of every pool, as from Kubespray")
}

// TestSilent: a pool that nobody announces is told. metallb_protocol announces nothing beside metallb_config, in Kubespray either.
func TestSilent(t *testing.T) {
	const pools = "metallb_config:\n  address_pools:\n    a: {ip_range: [192.0.2.0/28]}\n    b: {ip_range: [192.0.2.16/28]}\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"protocol", "metallb_protocol: layer2\n" + pools, []string{
			`in:4: metallb_config.address_pools.a: nobody announces the pool "a": neither metallb_config.layer2 nor the address_pool of a peer names it; of metallb_protocol (in:1) Kubespray makes nothing beside metallb_config`,
			`in:5: metallb_config.address_pools.b: nobody announces the pool "b": neither`,
		}},
		{"one of two", pools + "  layer2: [a]\n", []string{`in:4: metallb_config.address_pools.b: nobody announces the pool "b"`}},
		{"by a peer", pools + "  layer2: [a]\n  layer3: {metallb_peers: {p: {peer_address: 192.0.2.1, peer_asn: 1, my_asn: 2, address_pool: b}}}\n", nil},
		{"older form without a protocol", "metallb_additional_address_pools:\n  c: {ip_range: [192.0.2.32/28]}\n", []string{`in:2: metallb_additional_address_pools.c: nobody announces the pool "c"`}},
		{"older form", "metallb_ip_range: [192.0.2.0/28]\nmetallb_protocol: layer2\n", nil},
		{"named twice", "metallb_config:\n  address_pools: {a: {ip_range: [192.0.2.0/28]}}\n  layer2: [a, a]\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			notes, _ := converted(t, c.text)
			require.Len(t, notes, len(c.want), "%v", notes)
			for i, want := range c.want {
				assert.Contains(t, notes[i], want)
			}
		})
	}
}

// TestOverlap: an address that would be in two pools, or in one twice, is a problem, for the controller would leave one out.
func TestOverlap(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"old and new form", "metallb_ip_range: [192.0.2.0/28]\nmetallb_config:\n  address_pools:\n    primary: {ip_range: [192.0.2.0/28]}\n  layer2: [primary]\n", `in:1: metallb_ip_range[0]: 192.0.2.0/28 overlaps 192.0.2.0/28 of pool "primary" (in:4)`},
		{"two pools", "metallb_config:\n  address_pools:\n    a: {ip_range: [192.0.2.0-192.0.2.20]}\n    b:\n      ip_range:\n      - 198.51.100.1\n      - 192.0.2.16/28\n  layer2: [a, b]\n", `in:7: metallb_config.address_pools.b.ip_range[1]: 192.0.2.16/28 overlaps 192.0.2.0-192.0.2.20 of pool "a" (in:3)`},
		{"one pool", "metallb_ip_range:\n- 2001:db8::/120\n- 2001:db8::7\n", `in:3: metallb_ip_range[1]: 2001:db8::7/128 overlaps 2001:db8::/120 of pool "loadbalanced" (in:2)`},
		{"ConfigMap", "address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.0/24]}\n- {name: b, protocol: bgp, addresses: [10.0.0.7/32]}\n", `in:3: address-pools[1].addresses[0]: 10.0.0.7/32 overlaps 10.0.0.0/24 of pool "a" (in:2)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems, written := told(t, nil, Input{Name: "in", Text: []byte(c.text)})
			require.Len(t, problems, 1)
			_, overlapping, _ := strings.Cut(c.want, "]: ")
			overlapping, _, _ = strings.Cut(overlapping, " ")
			assert.LessOrEqual(t, strings.Count(written, "- "+overlapping+"\n"), 1)
			assert.Contains(t, problems[0], c.want+", and an address can be in one pool only, and there once: take it out of one of them")
		})
	}
}

// TestTwice: of what is defined twice the last definition counts, as for Ansible, and that is told.
func TestTwice(t *testing.T) {
	const config = "metallb_config:\n  address_pools:\n    primary: {ip_range: \"{{ lb_range }}\"}\n  layer2: [primary]\n"
	notes, written := converted(t, config+"lb_range: [192.0.2.0/28]\nlb_range: [198.51.100.0/28]\n")
	assert.Equal(t, []string{"in: 1 variable that is not about MetalLB: passed over", "in:6: lb_range: is there twice: the last one counts, what in:5 holds is left out"}, notes)
	assert.Contains(t, written, "198.51.100.0/28")
	assert.NotContains(t, written, "192.0.2.0/28")

	for _, text := range []string{
		"metallb_ip_range: [192.0.2.0/28]\nmetallb_ip_range: [198.51.100.0/28]\n",
		"metallb_config:\n  address_pools: {a: {ip_range: [192.0.2.0/28]}}\n  address_pools: {a: {ip_range: [198.51.100.0/28]}}\n  layer2: [a]\n",
		"metallb_config:\n  address_pools:\n    a: {ip_range: [192.0.2.0/28]}\n    a: {ip_range: [198.51.100.0/28]}\n  layer2: [a]\n",
		"address-pools:\n- name: a\n  protocol: layer2\n  addresses: [192.0.2.0/28]\n  addresses: [198.51.100.0/28]\n",
	} {
		notes, written := converted(t, text)
		assert.Contains(t, strings.Join(notes, "\n"), "is there twice: the last one counts", text)
		assert.Contains(t, written, "198.51.100.0/28", text)
		assert.NotContains(t, written, "192.0.2.0/28", text)
	}

	r, err := Convert([]Input{{Name: "all.yml", Text: []byte(config + "lb_range: [192.0.2.0/28]\n")}, {Name: "site.yml", Text: []byte("lb_range: [198.51.100.0/28]\nmetallb_port: 7473\n")}, {Name: "rack.yml", Text: []byte("metallb_port: 7474\n")}}, Options{})
	require.NoError(t, err)
	assert.Empty(t, r.Problems)
	assert.Contains(t, render(t, r), "- 198.51.100.0/28\n")
	assert.Contains(t, render(t, r), "metricsPort: 7474\n")
	assert.Contains(t, render(t, r), "rack.yml:1: metallb_port: is defined in site.yml:2, too: the last file given counts")
}

// TestMerge: what a mapping merges is read as if it stood there.
func TestMerge(t *testing.T) {
	_, written := converted(t, "metallb_config:\n  address_pools:\n    a: &a {ip_range: [192.0.2.0/28], auto_assign: false}\n    b:\n      <<: *a\n      ip_range: [198.51.100.0/28]\n  layer2: [a, b]\n")
	assert.Equal(t, 2, strings.Count(written, "autoAssign: false"))
}

// TestDefaults: empty values and port 0 mean the default, as they do for MetalLB; an empty password is none, and needs no rights.
func TestDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"ConfigMap": "peers:\n- {my-asn: 65000, peer-asn: 65530, peer-address: 192.0.2.1, peer-port: 0, source-address: \"\", hold-time: \"\", keepalive-time: \"\", router-id: \"\", password: \"\", bfd-profile: \"\"}\n",
		"old form":  "metallb_peers:\n- {my_asn: 65000, peer_asn: 65530, peer_address: 192.0.2.1, peer_port: 0, source_address: \"\", hold_time: \"\", router_id: \"\", password: \"\"}\n",
		"new form":  "metallb_config:\n  layer3:\n    defaults: {hold_time: \"\", peer_port: 0}\n    metallb_peers:\n      peer1: {my_asn: 65000, peer_asn: 65530, peer_address: 192.0.2.1, peer_port: \"\", source_address: \"\", hold_time: \"\", password: \"\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Convert([]Input{{Text: []byte(text)}}, Options{Backend: "calico"})
			require.NoError(t, err)
			assert.Empty(t, r.Problems)
			assert.Empty(t, r.Notes)
			assert.Equal(t, "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata:\n  name: peer1\n  namespace: metallb-system\nspec:\n  myASN: 65000\n  peerASN: 65530\n  peerAddress: 192.0.2.1\n--- # values.yaml\nbackend: calico\nspeaker:\n  enabled: false\n", render(t, r))
		})
	}
	_, written := converted(t, "metallb_config:\n  layer3:\n    defaults: {hold_time: 90s, peer_port: 1179}\n    metallb_peers:\n      p: {my_asn: 1, peer_asn: 2, peer_address: 192.0.2.1, peer_port: 0, hold_time: \"\"}\n")
	assert.Contains(t, written, "peerPort: 1179\n")
	assert.Contains(t, written, "holdTime: 1m30s\n")
	problems, _ := told(t, nil, Input{Name: "in", Text: []byte("peers:\n- {my-asn: 1, peer-asn: 2, peer-address: 192.0.2.1, hold-time: 90}\n")})
	assert.Equal(t, []string{`in:2: peers[0].hold-time: "90" is not a duration such as 90s`}, problems)
}
