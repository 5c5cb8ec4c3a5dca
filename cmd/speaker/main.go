// Command speaker announces addresses from the node it runs on, where the CNI does not.
package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/process/cli"
)

func main() { cli.Main(command()) }

func command() *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "speaker",
		Short: "Announce the addresses of Services from this node",
		Long: `The speaker answers ARP requests and neighbour solicitations for the addresses of Services, for those that no
other node answers for. The speakers of a cluster find each other and agree on who announces which address.

It needs the capability NET_RAW and the network namespace of the node. It runs in a pod of a DaemonSet, or anywhere
else with a kubeconfig, a node name and the addresses of the other speakers.

Every flag can also be given by an environment variable: --node-name is FAIRLEAD_NODE_NAME.`,
		Example: `  # In a pod, serving what the controller hands to the speakers:
  speaker --node-name="$NODE_NAME" --memberlist-secret-path=/etc/fairlead/memberlist/secretkey

  # Outside a pod, with two other speakers:
  speaker --kubeconfig ~/.kube/config --namespace metallb-system --node-name n1 --l2-backend=speaker \
    --memberlist-bind-address=192.0.2.1 --memberlist-peers=192.0.2.2,192.0.2.3:7946`,
	}
	o.addFlags(cmd.Flags())
	return cli.Daemon(cmd, &o.Logging, func(ctx context.Context, log *slog.Logger) error { return run(ctx, o, log) }, o.validate, o.complete)
}
