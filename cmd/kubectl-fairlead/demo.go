package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fairlead/fairlead/internal/demo"
	"github.com/fairlead/fairlead/internal/localcluster"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show Services getting addresses and Calico being told to advertise them, on a cluster of its own",
		Long: `demo starts etcd and kube-apiserver on loopback in a temporary folder, installs the CRDs of this product
and of Calico, starts the controller, applies a scenario with three pools, creates Services, and shows their addresses and
the BGPConfiguration that Calico acts on. It touches no other cluster. Ctrl-C stops and removes everything.

It needs the binaries kube-apiserver, etcd and controller, and Calico's CRDs in the folder calico-crds; 'make demo' builds
them all. They are looked for in $KUBEBUILDER_ASSETS, beside this binary and in ./bin.`,
		Example: `  # Look around until Ctrl-C:
  kubectl fairlead demo

  # Run through and tell by the exit code whether every step worked:
  kubectl fairlead demo --once`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctrl.SetLogger(logr.Discard())
			self, err := os.Executable()
			if err != nil {
				return err
			}
			bin, err := filepath.Abs("bin")
			if err != nil {
				return err
			}
			o.Folders = []string{filepath.Dir(self), bin}
			if o.Assets, err = localcluster.Assets(o.Folders...); err != nil {
				return err
			}
			if o.Controller == "" {
				o.Controller = filepath.Join(filepath.Dir(self), "controller")
			}
			o.Out = cmd.OutOrStdout()
			if err := demo.Run(cmd.Context(), o); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.Once, "once", false, "end after the last step; the exit code tells whether all went well")
	cmd.Flags().StringVar(&o.Controller, "controller", "", "path of the controller binary; default: beside this binary")
	return cmd
}
