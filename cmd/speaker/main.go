// Command speaker announces addresses from the node it runs on, where the CNI does not.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fairlead/fairlead/internal/process/cli"
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "speaker:", err)
		os.Exit(1)
	}
}

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
		Args:          cobra.NoArgs,
		Version:       cli.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cli.FlagsFromEnv(cmd.Flags()); err != nil {
				return err
			}
			if err := errors.Join(o.validate(), o.complete()); err != nil {
				return err
			}
			log, err := cli.NewLogger(os.Stderr, o.LogLevel, o.LogFormat)
			if err != nil {
				return err
			}
			return run(ctrl.SetupSignalHandler(), o, log)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}
