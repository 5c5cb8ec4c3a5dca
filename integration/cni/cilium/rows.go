package cilium

import "github.com/fairlead/fairlead/integration/cni"

// Rows are scenarios that need what only this package knows of Cilium.
func (c *CNI) Rows() []cni.Row {
	return []cni.Row{{
		Name: "an agent is killed, and its routes stay", OwnPeers: true, Shows: []string{"BGPPeer enableGracefulRestart"},
		Steps: []cni.Step{
			{
				Change: "r1 is told that we may restart, r2 is not",
				Apply: `
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [198.51.100.0/28]}
---
kind: BGPAdvertisement
metadata: {name: a}
spec: {ipAddressPools: [a]}
---
kind: Service
metadata: {name: web}
`,
				Do: func(s *cni.Scene) {
					s.Apply(s.PeerYAML("r1", false, "enableGracefulRestart: true"))
					s.Apply(s.PeerYAML("r2", false, ""))
				},
				Routes: "r1 r2: 198.51.100.0 from all",
			},
			{
				Change: "the agent of n1 is killed", Do: func(*cni.Scene) { c.Agents["n1"].Kill() },
				Routes: "r1: 198.51.100.0 from all\nr2: 198.51.100.0 from n2 n3", Resets: true, HoldSeconds: 2,
			},
			{
				Change: "it starts again", Do: func(s *cni.Scene) { c.StartAgent(s.Lab, s.Lab.Host("n1")) },
				Routes: "r1 r2: 198.51.100.0 from all", Resets: true, HoldSeconds: 2,
			},
		},
	}}
}
