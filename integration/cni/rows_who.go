package cni

import "fmt"

// onZone is what an advertisement's spec says of nodes.
func onZone(zone string) string {
	return "nodeSelectors: [{matchLabels: {zone: " + zone + "}}]"
}

// whoRows are about who advertises to whom, and change it in every way.
var whoRows = []Row{
	{
		Name: "an advertisement that is live is narrowed to a node and widened",
		Steps: []Step{
			liveA,
			{
				Change: "n1 only",
				Apply:  adv("a", "ipAddressPools: [a], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]"),
				Routes: `r1 r2: 198.51.100.0 from n1`,
			},
			{
				Change: "n1 and n2",
				Apply:  adv("a", "ipAddressPools: [a], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}, {matchLabels: {kubernetes.io/hostname: n2}}]"),
				Routes: `r1 r2: 198.51.100.0 from n1 n2`,
			},
			{
				Change: "n3 only",
				Apply:  adv("a", "ipAddressPools: [a], nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [n1, n2]}]}]"),
				Routes: `r1 r2: 198.51.100.0 from n3`,
			},
			{
				Change: "all",
				Apply:  adv("a", "ipAddressPools: [a]"),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "labels that nobody selects by",
		Steps: []Step{
			{
				Change: "a pool from a zone",
				Label:  []string{"n1 zone=a", "n2 zone=a"},
				Apply:  all(poolA, webA, adv("a", "ipAddressPools: [a], "+onZone("a"))),
				Routes: `r1 r2: 198.51.100.0 from n1 n2`,
			},
			{Change: "others come", Label: []string{"n1 rack=7", "n2 rack=8", "n3 rack=9"}, Same: true},
			{Change: "others go", Label: []string{"n1 rack-", "n2 rack-", "n3 rack-"}, Same: true},
		},
	},
	{
		Name: "one pool by an advertisement for each zone",
		Steps: []Step{
			{
				Change: "both zones",
				Label:  []string{"n1 zone=a", "n2 zone=b", "n3 zone=c"},
				Apply:  all(poolA, webA, adv("a", "ipAddressPools: [a], "+onZone("a")), adv("b", "ipAddressPools: [a], "+onZone("b"))),
				Routes: `r1 r2: 198.51.100.0 from n1 n2`,
			},
			{
				Change: "one goes",
				Delete: []string{"BGPAdvertisement/a"},
				Routes: `r1 r2: 198.51.100.0 from n2`,
			},
			{
				Change: "one for the third comes",
				Apply:  adv("c", "ipAddressPools: [a], "+onZone("c")),
				Routes: `r1 r2: 198.51.100.0 from n2 n3`,
			},
			{
				Change: "one to all comes",
				Apply:  adv("all", "ipAddressPools: [a]"),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "it goes",
				Delete: []string{"BGPAdvertisement/all"},
				Routes: `r1 r2: 198.51.100.0 from n2 n3`,
			},
		},
	},
	{
		Name: "two pools change zones",
		Steps: []Step{
			{
				Change: "a pool for each zone",
				Label:  []string{"n1 zone=a", "n2 zone=a", "n3 zone=b"},
				Apply:  all(poolA, webA, poolB, webB, adv("a", "ipAddressPools: [a], "+onZone("a")), adv("b", "ipAddressPools: [b], "+onZone("b"))),
				Routes: `
					r1 r2: 198.51.100.0 from n1 n2
					r1 r2: 203.0.113.0 from n3`,
			},
			{
				Change: "they change places",
				Apply:  all(adv("a", "ipAddressPools: [a], "+onZone("b")), adv("b", "ipAddressPools: [b], "+onZone("a"))),
				Routes: `
					r1 r2: 198.51.100.0 from n3
					r1 r2: 203.0.113.0 from n1 n2`,
			},
			{
				Change: "all labels go",
				Label:  []string{"n1 zone-", "n2 zone-", "n3 zone-"},
			},
			{
				Change: "all nodes get one",
				Label:  []string{"n1 zone=a", "n2 zone=a", "n3 zone=a"},
				Routes: `r1 r2: 203.0.113.0 from all`,
			},
		},
	},
	{
		Name: "three zones, three pools",
		Steps: []Step{
			{
				Change: "a pool for each node",
				Label:  []string{"n1 zone=a", "n2 zone=b", "n3 zone=c"},
				Apply: all(pool("a", "198.51.100.0/28"), pool("b", "203.0.113.0/28"), pool("c", "203.0.113.128/28"), svc("web", "a", "", ""), svc("other", "b", "", ""), svc("third", "c", "", ""),
					adv("a", "ipAddressPools: [a], "+onZone("a")), adv("b", "ipAddressPools: [b], "+onZone("b")), adv("c", "ipAddressPools: [c], "+onZone("c"))),
				Routes: `
					r1 r2: 198.51.100.0 from n1
					r1 r2: 203.0.113.0 from n2
					r1 r2: 203.0.113.128 from n3`,
			},
			{
				Change: "a node changes over",
				Label:  []string{"n1 zone=c"},
				Routes: `
					r1 r2: 203.0.113.0 from n2
					r1 r2: 203.0.113.128 from n1 n3`,
			},
			{
				Change: "round",
				Label:  []string{"n1 zone=b", "n2 zone=c", "n3 zone=a"},
				Routes: `
					r1 r2: 198.51.100.0 from n3
					r1 r2: 203.0.113.0 from n1
					r1 r2: 203.0.113.128 from n2`,
			},
		},
	},
	{
		Name: "no node is selected",
		Steps: []Step{
			liveA,
			{
				Change: "another pool from a zone without nodes",
				Apply:  all(poolB, webB, adv("b", "ipAddressPools: [b], "+onZone("none"))),
				Same:   true,
			},
			{
				Change: "a node comes into it",
				Label:  []string{"n2 zone=none"},
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from n2`,
			},
		},
	},
	{
		Name: "a node joins where nodes are selected",
		Steps: []Step{
			{
				Change: "a pool from a zone, and one from all",
				Label:  []string{"n1 zone=a"},
				Apply:  all(poolA, webA, poolB, webB, adv("a", "ipAddressPools: [a], "+onZone("a")), adv("b", "ipAddressPools: [b]")),
				Routes: `
					r1 r2: 198.51.100.0 from n1
					r1 r2: 203.0.113.0 from all`,
			},
			{
				Change: "a node comes",
				Do:     (*Scene).Join,
				Routes: `
					r1 r2: 198.51.100.0 from n1
					r1 r2: 203.0.113.0 from n1 n2 n3 n4`,
			},
			{
				Change: "it gets the label",
				Label:  []string{"n4 zone=a"},
				Routes: `
					r1 r2: 198.51.100.0 from n1 n4
					r1 r2: 203.0.113.0 from n1 n2 n3 n4`,
			},
			{
				Change: "it goes",
				Do:     (*Scene).Leave,
				Routes: `
					r1 r2: 198.51.100.0 from n1
					r1 r2: 203.0.113.0 from all`,
			},
		},
	},
	{
		Name: "a node is excluded",
		Steps: []Step{
			liveA,
			{
				Change: "the label comes",
				Label:  []string{"n2 node.kubernetes.io/exclude-from-external-load-balancers=true"},
				Routes: `r1 r2: 198.51.100.0 from n1 n3`, Ends: map[string]string{"cilium": "n2"},
			},
			{
				Change: "it goes",
				Label:  []string{"n2 node.kubernetes.io/exclude-from-external-load-balancers-"},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a node is excluded by a label without a value",
		Steps: []Step{
			liveA,
			{
				Change: "the label comes",
				Label:  []string{"n2 node.kubernetes.io/exclude-from-external-load-balancers="},
				Routes: `r1 r2: 198.51.100.0 from n1 n3`, Ends: map[string]string{"cilium": "n2"},
				Instead: map[string]Instead{"calico": {
					Routes: `r1 r2: 198.51.100.0 from all`,
					Told:   `the value is "", and Calico keeps a node from advertising only if it is "true"`,
				}},
			},
		},
	},
	{
		Name: "a pool for one router is for all and back",
		Steps: []Step{
			{
				Change: "r1 only",
				Apply:  all(poolA, webA, adv("a", "ipAddressPools: [a], peers: [r1]")),
				Routes: `r1: 198.51.100.0 from all`,
			},
			{Change: "all", Apply: adv("a", "ipAddressPools: [a]"), Routes: `r1 r2: 198.51.100.0 from all`},
			{Change: "r2 only", Apply: adv("a", "ipAddressPools: [a], peers: [r2]"), Routes: `r2: 198.51.100.0 from all`},
			{Change: "both, by name", Apply: adv("a", "ipAddressPools: [a], peers: [r1, r2]"), Routes: `r1 r2: 198.51.100.0 from all`},
			{Change: "nobody that there is", Apply: adv("a", "ipAddressPools: [a], peers: [r9]")},
		},
	},
	{
		Name: "an advertisement for one router is for all, and a narrower one comes beside it",
		Steps: []Step{
			{
				Change: "a pool for r1",
				Apply:  all(poolA, webA, adv("a", "ipAddressPools: [a], peers: [r1]")),
				Routes: `r1: 198.51.100.0 from all`,
			},
			{
				Change: "it is for all, another pool for r1",
				Apply:  all(poolB, webB, adv("b", "ipAddressPools: [b], peers: [r1]"), adv("a", "ipAddressPools: [a]")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1: 203.0.113.0 from all`,
			},
			{
				Change: "the one is for r2, the other one for all",
				Apply:  all(adv("a", "ipAddressPools: [a], peers: [r2]"), adv("b", "ipAddressPools: [b]")),
				Routes: `
					r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all`,
			},
		},
	},
	{
		Name: "to one router from one node, to the other one from another",
		Steps: []Step{
			liveA,
			{
				Change: "another pool",
				Apply: all(poolB, webB, adv("b1", "ipAddressPools: [b], peers: [r1], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]"),
					adv("b2", "ipAddressPools: [b], peers: [r2], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n3}}]")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1: 203.0.113.0 from n1
					r2: 203.0.113.0 from n3`,
			},
			{
				Change: "they change places",
				Apply: all(adv("b1", "ipAddressPools: [b], peers: [r1], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n3}}]"),
					adv("b2", "ipAddressPools: [b], peers: [r2], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1: 203.0.113.0 from n3
					r2: 203.0.113.0 from n1`,
			},
			{
				Change: "one goes",
				Delete: []string{"BGPAdvertisement/b1"},
				Routes: `
					r1 r2: 198.51.100.0 from all
					r2: 203.0.113.0 from n1`,
			},
		},
	},
	{
		Name:  "a pool for one router comes and goes ten times",
		Steps: comesAndGoes("peers: [r1]", `r1: 203.0.113.0 from all`),
	},
	{
		Name:  "a pool from one node comes and goes ten times",
		Steps: comesAndGoes("nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]", `r1 r2: 203.0.113.0 from n2`),
	},
	{
		Name: "the pool itself comes and goes",
		Steps: []Step{
			liveA,
			{
				Change: "an advertisement of a pool that is not there",
				Apply:  adv("b", "ipAddressPools: [b], peers: [r2], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]"),
				Same:   true,
			},
			{
				Change: "the pool comes",
				Apply:  all(poolB, webB),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r2: 203.0.113.0 from n2`,
			},
			{
				Change: "it gets a range more",
				Apply:  all(pool("b", "203.0.113.0/28", "203.0.113.128/28"), svc("third", "b", "203.0.113.130", "")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r2: 203.0.113.0 from n2
					r2: 203.0.113.130 from n2`,
			},
			{
				Change: "it goes",
				Delete: []string{"Service/other", "Service/third", "IPAddressPool/b"},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
}

// comesAndGoes has an advertisement that says more of itself come and go beside one to all.
func comesAndGoes(spec, routes string) []Step {
	out := []Step{liveA}
	for i := range 10 {
		come := Step{
			Change: fmt.Sprint("it comes, ", i+1),
			Apply:  adv("b", "ipAddressPools: [b], "+spec),
			Routes: "r1 r2: 198.51.100.0 from all\n" + routes,
		}
		if i == 0 {
			come.Apply = all(poolB, webB, come.Apply)
		}
		out = append(out, come, Step{Change: fmt.Sprint("it goes, ", i+1), Delete: []string{"BGPAdvertisement/b"}, Routes: `r1 r2: 198.51.100.0 from all`})
	}
	return out
}
