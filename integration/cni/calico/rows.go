package calico

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed"
)

// members are the nodes that are always in the cluster.
var members = []string{"n1", "n2", "n3"}

const web = `
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
`

// Rows are scenarios that need what only this package knows of Calico.
func (c *CNI) Rows() []cni.Row {
	return []cni.Row{
		{
			// The controller asks when it starts, and then once a minute.
			Name: "Advertised is what BIRD says",
			Steps: []cni.Step{
				{
					Change: "a Service that routers hear of",
					Apply:  web,
					Do: func(s *cni.Scene) {
						s.Restart()
						s.Advertised("web", "True Advertised")
						sessions(s, "Established")
					},
					Routes: "r1 r2: 198.51.100.0 from all",
				},
				{
					Change: "the routers refuse all nodes",
					Do: func(s *cni.Scene) {
						s.Neighbours("r1", true)
						s.Neighbours("r2", true)
						s.Restart()
						got := s.Advertised("web", "False NoSession: ")
						assert.Contains(s, got, "n1 to r1 (192.0.0.250) is ")
						sessions(s, "")
					},
					Resets: true, Interrupts: true,
				},
				{
					Change: "they do not any more, but nobody asks BIRD",
					Do: func(s *cni.Scene) {
						c.mute.Store(true)
						s.Neighbours("r1", false)
						s.Neighbours("r2", false)
						for _, n := range members {
							c.Birdc(n, "bird", "restart", `"Node_*"`)
							c.Birdc(n, "bird6", "restart", `"Node_*"`)
						}
						s.AwaitSessions(4 * len(members))
						s.Restart()
						s.Advertised("web", "Unknown SessionsUnknown: ")
						c.mute.Store(false)
					},
					Resets: true, Interrupts: true,
					Routes: "r1 r2: 198.51.100.0 from all",
				},
			},
		},
		{
			Name: "whatever users write, BIRD reads it", Short: true,
			Steps: []cni.Step{{
				Change: "hostile names, passwords, AS numbers, addresses and communities",
				Apply:  web + "---\n" + hostile(),
				Do: func(s *cni.Scene) {
					testbed.Eventually(s, "the peers to be in BIRD's configuration", func(context.Context) error {
						for _, n := range members {
							if text := c.Config(s, n, "bird"); !strings.Contains(text, "203.0.113.1 as 2147483647") || !strings.Contains(text, "$name ${x}") ||
								!strings.Contains(text, "bgp_large_community.add((4294967295, 4294967295, 4294967295))") {
								return errors.New("not all are there")
							}
						}
						return nil
					})
					for _, n := range members {
						for _, bird := range []string{"bird", "bird6"} {
							parse := exec.CommandContext(s.Context(), testbed.Folder("bin", "bird1", bird), "-p", "-c", c.node(n).path("config", bird+".cfg"))
							parse.Dir = c.node(n).path("config") // where what it includes is
							out, err := parse.CombinedOutput()
							require.NoError(s, err, "%s on %s: %s", bird, n, out)
						}
					}
				},
				Routes: "r1 r2: 198.51.100.0 from all with 65535:65281:1 4294967295:4294967295:4294967295",
			}},
		},
	}
}

// hostile are objects that are valid, as far as the API server knows.
func hostile() string {
	var docs []string
	peer := func(name, address string, asn int64, password string) {
		docs = append(docs, fmt.Sprintf("kind: BGPPeer\nmetadata: {name: %s}\nspec: {myASN: 64512, peerASN: %d, peerAddress: %q, password: %q}", name, asn, address, password))
	}
	for i, password := range []string{"'; }", "# no comment", "/* nor this", "$name ${x} `y`", "{{.}}", `back\slash\`, "%s%n", strings.Repeat("x", 80)} {
		peer(fmt.Sprint("password-", i), fmt.Sprintf("203.0.113.%d", 100+i), 64999, password)
	}
	peer("as", "203.0.113.1", 1<<31-1, "") // the most that the schema of BGPPeers of Calico takes
	peer("mapped", "2001:DB8:0::7:0", 23456, "")
	peer(strings.Repeat("a.", 119)+"no", "203.0.113.2", 1, "")
	docs = append(docs, `kind: BGPAdvertisement
metadata: {name: a}
spec: {ipAddressPools: [a], communities: ["large:65535:65281:1", "large:4294967295:4294967295:4294967295"]}`)
	return strings.Join(docs, "\n---\n")
}

// sessions waits until there is a BGPSession object for each session of the members with the routers, in a state; empty: in any but
// Established.
func sessions(s *cni.Scene, state string) {
	s.Helper()
	testbed.Eventually(s, "BGPSession objects", func(ctx context.Context) error {
		var list v1alpha1.BGPSessionList
		if err := s.Lab.Client.List(ctx, &list, client.InNamespace(s.Lab.Namespace)); err != nil {
			return err
		}
		var got []string
		for _, o := range list.Items {
			if o.Status.State != state && (state != "" || o.Status.State == "Established") {
				return fmt.Errorf("%s to %s is %s", o.Status.Node, o.Status.Address, o.Status.State)
			}
			if slices.Contains(members, o.Status.Node) {
				got = append(got, o.Status.Node+" "+o.Status.Address)
			}
		}
		if len(got) != 4*len(members) {
			return fmt.Errorf("there are %d: %q", len(got), got)
		}
		return nil
	})
}
