package cni

import "slices"

// rows returns the table.
func rows() []Row {
	return slices.Concat(plainRows, nodeRows, peerRows, poolRows, communityRows, whoRows, serviceRows, disturbedRows, peerChangeRows, calicoRows,
		moveRows, audienceRows, trafficRows, takeoverRows, ciliumRows, sessionRows)
}

var plainRows = []Row{
	{
		Name: "a pool to all", Short: true,
		Steps: []Step{
			{
				Change: "a pool, an advertisement and a Service come",
				Apply: `
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [198.51.100.0/28, "2001:db8:a::/124"]}
---
kind: BGPAdvertisement
metadata: {name: a}
---
kind: Service
metadata: {name: web}
spec: {ipFamilies: [IPv4, IPv6]}
`,
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 2001:db8:a:: from all`,
			},
			{
				Change: "the advertisement gets communities and a local preference",
				Apply: `
kind: BGPAdvertisement
metadata: {name: a}
spec: {communities: ["64512:8"]}
`,
				Routes: `
					r1 r2: 198.51.100.0 from all with 64512:8
					r1 r2: 2001:db8:a:: from all with 64512:8`,
			},
			{
				Change: "the advertisement goes",
				Delete: []string{"BGPAdvertisement/a"},
			},
		},
	},
}
