package cilium

import "github.com/fairlead/fairlead/integration/cni"

// twoPools are pools a and b with a Service in each, web and other.
const twoPools = `
kind: IPAddressPool
metadata: {name: a, labels: {net: public}}
spec: {addresses: [198.51.100.0/28]}
---
kind: IPAddressPool
metadata: {name: b}
spec: {addresses: [203.0.113.0/28]}
---
kind: Service
metadata: {name: web, labels: {tier: front}, annotations: {metallb.io/address-pool: a}}
---
kind: Service
metadata: {name: other, annotations: {metallb.io/address-pool: b}}
`

// on0 is an L2Advertisement for eth0, of which nodes have one more; spec is what else it says.
func on0(spec string) string { return lan("a", "interfaces: [eth0], "+spec) }

func lan(name, spec string) string {
	return "\n---\nkind: L2Advertisement\nmetadata: {name: " + name + "}\nspec: {" + spec + "}"
}

const (
	webOn0   = "198.51.100.0 on eth0"
	otherOn0 = "203.0.113.0 on eth0"
)

// Layer2Rows are about what nodes announce on the local network.
func Layer2Rows() []cni.Row {
	return []cni.Row{
		{
			Name: "pools are announced by name",
			Steps: []cni.Step{
				{Change: "one of two", Apply: twoPools + on0("ipAddressPools: [a]"), Announced: webOn0},
				{Change: "the other one", Apply: on0("ipAddressPools: [b]"), Announced: otherOn0},
				{Change: "both", Apply: on0("ipAddressPools: [a, b]"), Announced: webOn0 + "\n" + otherOn0},
			},
		},
		{
			Name: "pools are announced by label",
			Steps: []cni.Step{
				{Change: "one of two has it", Apply: twoPools + on0("ipAddressPoolSelectors: [{matchLabels: {net: public}}]"), Announced: webOn0},
				{
					Change: "so has the other one", Announced: webOn0 + "\n" + otherOn0,
					Apply: "kind: IPAddressPool\nmetadata: {name: b, labels: {net: public}}\nspec: {addresses: [203.0.113.0/28]}",
				},
				{
					Change: "the first one loses it", Announced: otherOn0,
					Apply: "kind: IPAddressPool\nmetadata: {name: a, labels: {net: private}}\nspec: {addresses: [198.51.100.0/28]}",
				},
			},
		},
		{
			Name: "Services are announced by label",
			Steps: []cni.Step{
				{Change: "one of two has it", Apply: twoPools + on0("serviceSelectors: [{matchLabels: {tier: front}}]"), Announced: webOn0},
				{
					Change: "so has the other one", Announced: webOn0 + "\n" + otherOn0,
					Apply: "kind: Service\nmetadata: {name: other, labels: {tier: front}, annotations: {metallb.io/address-pool: b}}",
				},
				{Change: "those without it", Apply: on0("serviceSelectors: [{matchExpressions: [{key: tier, operator: DoesNotExist}]}]")},
			},
		},
		{
			Name: "addresses are announced by nodes with a label",
			Steps: []cni.Step{
				{Change: "n2 has it", Label: []string{"n2 zone=a"}, Apply: twoPools + on0("nodeSelectors: [{matchLabels: {zone: a}}]"), Announced: webOn0 + " by n2\n" + otherOn0 + " by n2"},
				{Change: "n3 has it in its place", Label: []string{"n2 zone-", "n3 zone=a"}, Announced: webOn0 + " by n3\n" + otherOn0 + " by n3"},
				{Change: "another one, which n1 has", Label: []string{"n1 zone=b"}, Apply: on0("nodeSelectors: [{matchLabels: {zone: b}}]"), Announced: webOn0 + " by n1\n" + otherOn0 + " by n1"},
				{Change: "nobody has it", Label: []string{"n1 zone-"}},
			},
		},
		{
			Name: "what is announced is what those advertisements say together that still apply",
			Steps: []cni.Step{
				{Change: "on one interface", Apply: twoPools + lan("first", "ipAddressPools: [a], interfaces: [eth0]"), Announced: webOn0},
				{Change: "on the other one, too", Apply: lan("second", "ipAddressPools: [a], interfaces: [eth1]"), Announced: webOn0 + "\n198.51.100.0 on eth1"},
				{Change: "that goes", Delete: []string{"L2Advertisement/second"}, Announced: webOn0},
				{
					Change: "one by the label of a Service comes", Announced: webOn0 + "\n198.51.100.0 on eth1",
					Apply: lan("third", "interfaces: [eth1], serviceSelectors: [{matchLabels: {tier: front}}]"),
				},
				{
					Change: "the label changes", Announced: webOn0,
					Apply: "kind: Service\nmetadata: {name: web, labels: {tier: back}, annotations: {metallb.io/address-pool: a}}",
				},
			},
		},
	}
}
