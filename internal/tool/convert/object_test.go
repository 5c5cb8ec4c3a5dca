package convert

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAddressPool: an AddressPool of any version becomes what MetalLB's own converter makes of the same pool in the ConfigMap.
func TestAddressPool(t *testing.T) {
	_, want := converted(t, `bgp-communities: {vpn-only: "1234:1"}
address-pools:
- {name: l2, protocol: layer2, addresses: [192.0.2.0-192.0.2.15, "2001:db8::/124"], auto-assign: false}
- name: routed
  protocol: bgp
  addresses: [198.51.100.0/24]
  bgp-advertisements:
  - {aggregation-length: 26, aggregation-length-v6: 64, localpref: 100, communities: [vpn-only, "65535:65281"]}
  - {}
- {name: plain, protocol: bgp, addresses: [203.0.113.0/24]}
`)
	want = withoutKind(want, "Community")
	const pools = `apiVersion: metallb.io/v1beta1
kind: AddressPool
metadata: {name: l2, namespace: metallb-system, resourceVersion: "7"}
spec: {protocol: layer2, addresses: [192.0.2.0-192.0.2.15, "2001:db8::/124"], autoAssign: false}
status: {}
---
apiVersion: metallb.io/v1alpha1
kind: AddressPool
metadata: {name: routed, namespace: metallb-system}
spec:
  protocol: bgp
  addresses: [198.51.100.0/24]
  bgpAdvertisements:
  - {aggregationLength: 26, aggregationLengthV6: 64, localPref: 100, communities: [vpn-only, "65535:65281"]}
  - {}
---
apiVersion: metallb.io/v1beta1
kind: AddressPool
metadata: {name: plain, namespace: metallb-system}
spec: {protocol: bgp, addresses: [203.0.113.0/24]}
`
	notes, got := converted(t, pools)
	assert.Equal(t, want, got)
	assert.Equal(t, []string{`in:14: spec.bgpAdvertisements[0].communities[0]: the community "vpn-only" has to be defined by a Community: none of the inputs does`}, notes)

	// As kubectl get -o yaml has it, with the Community among what is unchanged.
	list := "apiVersion: v1\nkind: List\nitems:\n"
	for _, o := range append(strings.Split(pools, "---\n"), "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata: {name: c}\nspec: {communities: [{name: vpn-only, value: \"1234:1\"}]}\n") {
		list += "- " + strings.ReplaceAll(strings.TrimSuffix(o, "\n"), "\n", "\n  ") + "\n"
	}
	notes, got = converted(t, list)
	assert.Equal(t, want, got)
	require.Len(t, notes, 1)
	assert.Contains(t, notes[0], "kind: Community c works as it is: apply it unchanged")

	for _, c := range []struct{ name, text, want string }{
		{"protocol", "apiVersion: metallb.io/v1beta1\nkind: AddressPool\nmetadata: {name: a}\nspec: {protocol: ospf, addresses: [192.0.2.0/28]}\n", `in:4: spec: protocol "ospf" of pool "a" is neither layer2 nor bgp`},
		{"range", "apiVersion: metallb.io/v1beta1\nkind: AddressPool\nmetadata: {name: a}\nspec:\n  protocol: bgp\n  addresses: [192.0.2.0/33]\n", `in:6: spec.addresses[0]:`},
		{"unknown key", "apiVersion: metallb.io/v1beta1\nkind: AddressPool\nmetadata: {name: a}\nspec: {protocol: bgp, addresses: [192.0.2.0/28], colour: red}\n", "in:4: spec.colour: unknown key"},
		{"two of a name", "apiVersion: metallb.io/v1beta1\nkind: AddressPool\nmetadata: {name: a}\nspec: {protocol: bgp, addresses: [192.0.2.0/28]}\n---\napiVersion: metallb.io/v1beta1\nkind: AddressPool\nmetadata: {name: a}\nspec: {protocol: bgp, addresses: [192.0.2.16/28]}\n", `in:9: spec: there would be two objects IPAddressPool "a"`},
		{"too old", "apiVersion: metallb.io/v1alpha1\nkind: BGPPeer\nmetadata: {name: a}\n", "in:2: kind: BGPPeer of metallb.io/v1alpha1 is not converted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems, _ := told(t, nil, Input{Name: "in", Text: []byte(c.text)})
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0], c.want)
		})
	}
}

// TestFromObjects: what is no object is no panic.
func TestFromObjects(t *testing.T) {
	r, err := Convert([]Input{{Name: "in", Text: []byte("metallb_enabled: true\n")}}, Options{From: Objects})
	require.NoError(t, err)
	require.Len(t, r.Problems, 1)
	assert.Equal(t, "in:1: is no object: it needs apiVersion and kind", r.Problems[0].String())
}

// withoutKind drops the objects of a kind.
func withoutKind(written, kind string) string {
	all := strings.Split(written, "\n---\n")
	out := all[:0]
	for _, o := range all {
		if !strings.Contains(o, "kind: "+kind+"\n") {
			out = append(out, o)
		}
	}
	return strings.Join(out, "\n---\n")
}

// TestMetalLB: every field of a MetalLB, which MetalLB's operator reads, becomes a value or a note.
func TestMetalLB(t *testing.T) {
	text, err := os.ReadFile("testdata/operator.yaml")
	require.NoError(t, err)
	notes, written := converted(t, string(text))
	assert.Equal(t, `--- # values.yaml
backend: speaker
controller:
  affinity:
    nodeAffinity: {}
  logLevel: debug
  nodeSelector:
    node-role.kubernetes.io/infra: ""
  podAnnotations:
    a: "1"
  priorityClassName: high
  resources:
    limits:
      cpu: 200m
  runtimeClassName: kata
  tolerations:
  - effect: NoSchedule
    key: infra
    operator: Exists
loadBalancerClass: example.com/lb
speaker:
  enabled: true
  gratuitousInterval: 1m0s
  logLevel: debug
  nodeSelector:
    rack: front
  podAnnotations:
    b: "2"
  priorityClassName: system-node-critical
  resources:
    requests:
      memory: 64Mi
  tolerations:
  - key: front
`, written)
	var fields []string
	for _, n := range notes {
		_, rest, _ := strings.Cut(n, ": ")
		field, _, _ := strings.Cut(rest, ": ")
		fields = append(fields, field)
	}
	assert.ElementsMatch(t, []string{"spec.image", "spec.bgpBackend", "spec.frrk8sConfig"}, fields, "%v", notes)

	notes, written = converted(t, "apiVersion: metallb.io/v1beta1\nkind: MetalLB\nmetadata: {name: metallb, namespace: lb}\n---\napiVersion: metallb.io/v1beta1\nkind: AddressPool\nmetadata: {name: a, namespace: lb}\nspec: {protocol: layer2, addresses: [192.0.2.0/28]}\n---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: b, namespace: lb}\n")
	assert.Contains(t, written, "  namespace: lb\n")
	assert.Contains(t, written, "--- # values.yaml\nbackend: speaker\nspeaker:\n  enabled: true\n")
	assert.Equal(t, []string{"in:11: kind: IPAddressPool lb/b works as it is: apply it unchanged"}, notes)

	for _, c := range []struct{ text, want string }{
		{"spec: {bgpBackend: bird}", `in:3: spec.bgpBackend: "bird" is none of native, frr, frr-k8s and frr-k8s-external`},
		{"spec: {logLevel: loud}", `in:3: spec.logLevel: "loud" is not a level`},
		{"spec: {nodeSelector: [a]}", "in:3: spec.nodeSelector: is not a mapping"},
		{"spec: {speakerTolerations: {a: b}}", "in:3: spec.speakerTolerations: is not a list"},
		{"spec: {speakerConfig: {resources: {limit: {}}}}", "in:3: spec.speakerConfig.resources.limit: unknown key"},
		{"spec: {speakers: 3}", "in:3: spec.speakers: unknown key"},
		{"spec: {speakerGratuitousARPInterval: often}", `in:3: spec.speakerGratuitousARPInterval: "often" is not a duration such as 90s`},
	} {
		problems, _ := told(t, nil, Input{Name: "in", Text: []byte("apiVersion: metallb.io/v1beta1\nkind: MetalLB\n" + c.text + "\n")})
		require.Len(t, problems, 1, "%v", problems)
		assert.Contains(t, problems[0], c.want)
	}
}
