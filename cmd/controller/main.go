// Command controller gives addresses to Services of type LoadBalancer and has the CNI advertise them.
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
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

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
	cmd.AddCommand(cleanupCommand(), checkCommand())
	return cmd
}
