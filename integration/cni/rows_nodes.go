package cni

// poolA and webA are the usual pool with an advertisement of its own to everybody, and a Service with its first address.
const (
	poolA = `
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [198.51.100.0/28]}
`
	toAllA = `
kind: BGPAdvertisement
metadata: {name: a}
spec: {ipAddressPools: [a]}
`
	webA = `
kind: Service
metadata: {name: web, annotations: {metallb.io/address-pool: a}}
`
	poolB = `
kind: IPAddressPool
metadata: {name: b}
spec: {addresses: [203.0.113.0/28]}
`
	webB = `
kind: Service
metadata: {name: other, annotations: {metallb.io/address-pool: b}}
`
)

// liveA is the first step of Rows that see to it that pool a is not touched.
var liveA = Step{
	Change: "a pool to all",
	Apply:  poolA + "---" + toAllA + "---" + webA,
	Routes: `r1 r2: 198.51.100.0 from all`,
}

// nodeRows are about which nodes advertise.
var nodeRows = []Row{
	{
		Name: "an advertisement with nodeSelectors beside one to all", Short: true, Long: simpleOn,
		Steps: []Step{
			liveA,
			{
				Change: "another pool is advertised from n1 only",
				Label:  []string{"n1 zone=a"},
				Apply: poolB + "---" + webB + `---
kind: BGPAdvertisement
metadata: {name: b}
spec: {ipAddressPools: [b], nodeSelectors: [{matchLabels: {zone: a}}]}
`,
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from n1`,
			},
			{
				Change: "n2 gets the label, too",
				Label:  []string{"n2 zone=a"},
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from n1 n2`,
			},
			{
				Change: "n1 loses the label",
				Label:  []string{"n1 zone-"},
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from n2`,
			},
			{
				Change: "the advertisement goes",
				Delete: []string{"BGPAdvertisement/b"},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "nodes join and leave",
		Steps: []Step{
			liveA,
			{
				Change: "a node comes",
				Do:     (*Scene).Join,
				Routes: `r1 r2: 198.51.100.0 from n1 n2 n3 n4`,
			},
			{
				Change: "it goes",
				Do:     (*Scene).Leave,
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "two zones, a node changes over", Short: true,
		Steps: []Step{
			{
				Change: "a pool for each zone",
				Label:  []string{"n1 zone=a", "n2 zone=a", "n3 zone=b"},
				Apply: poolA + "---" + webA + "---" + poolB + "---" + webB + `---
kind: BGPAdvertisement
metadata: {name: a}
spec: {ipAddressPools: [a], nodeSelectors: [{matchLabels: {zone: a}}]}
---
kind: BGPAdvertisement
metadata: {name: b}
spec: {ipAddressPools: [b], nodeSelectors: [{matchLabels: {zone: b}}]}
`,
				Routes: `
					r1 r2: 198.51.100.0 from n1 n2
					r1 r2: 203.0.113.0 from n3`,
			},
			{
				Change: "n1 goes to the other zone",
				Label:  []string{"n1 zone=b"},
				Routes: `
					r1 r2: 198.51.100.0 from n2
					r1 r2: 203.0.113.0 from n1 n3`,
			},
		},
	},
}

// peerRows are about who hears.
var peerRows = []Row{
	{
		Name: "a pool for one router beside one to all", Short: true,
		Steps: []Step{
			liveA,
			{
				Change: "another pool is for r1 only",
				Apply: poolB + "---" + webB + `---
kind: BGPAdvertisement
metadata: {name: b}
spec: {ipAddressPools: [b], peers: [r1]}
`,
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1: 203.0.113.0 from all`,
			},
			{
				Change: "it is for r2 only",
				Apply: `
kind: BGPAdvertisement
metadata: {name: b}
spec: {ipAddressPools: [b], peers: [r2]}
`,
				Routes: `
					r1 r2: 198.51.100.0 from all
					r2: 203.0.113.0 from all`,
			},
			{
				Change: "the advertisement goes",
				Delete: []string{"BGPAdvertisement/b"},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a local preference", Short: true,
		Steps: []Step{
			{
				Change: "a pool with a local preference",
				Apply: poolA + "---" + webA + `---
kind: BGPAdvertisement
metadata: {name: a}
spec: {ipAddressPools: [a], localPref: 200, communities: ["64512:8"]}
`,
				Routes: `
					r1: 198.51.100.0 from all with 64512:8
					r2: 198.51.100.0 from all with pref 200 64512:8`,
				Instead: map[string]Instead{"calico": {
					Routes: `r1 r2: 198.51.100.0 from all with 64512:8`,
					Told:   "localPref",
				}},
			},
		},
	},
}
