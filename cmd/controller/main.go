// Command controller gives addresses to Services of type LoadBalancer and has the CNI advertise them.
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
		Use:   "controller",
		Short: "Give addresses to Services of type LoadBalancer and have the CNI advertise them",
		Long: `The controller gives addresses from IPAddressPools (metallb.io) to Services of type LoadBalancer,
and writes the configuration of the CNI that advertises them.

Every flag can also be given by an environment variable: --lb-class is FAIRLEAD_LB_CLASS.`,
		Example: `  # In a pod, beside Calico:
  controller --backend=calico

  # From a workstation, giving out addresses without advertising them:
  controller --kubeconfig ~/.kube/config --namespace metallb-system --backend=none --leader-elect=false`,
	}
	o.addFlags(cmd.Flags())
	cmd.AddCommand(cleanupCommand(), checkCommand())
	return cli.Daemon(cmd, &o.Logging, func(ctx context.Context, log *slog.Logger) error { return run(ctx, o, log) }, o.validate, o.complete)
}
