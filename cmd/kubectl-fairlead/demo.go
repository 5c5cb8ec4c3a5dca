package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/tool/demo"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show Services getting addresses, and who advertises them, on a cluster of its own",
		Long: `demo starts etcd and kube-apiserver on loopback in a temporary folder, installs the CRDs of this product,
starts the controller, applies pools and advertisements, creates Services, asks explain, plan and doctor about them, and shows

  --backend=calico   the BGPConfiguration that Calico acts on; as root also three nodes with speakers, of which one is killed
  --backend=cilium   the objects that Cilium acts on
  --backend=speaker  three nodes with the real speaker, a client and a router with FRR, in network namespaces: which node
                     answers ARP and NDP, who takes over when its speaker is killed and how soon, and the router's routes

With --allocator=cluster-api the addresses come from Cluster API's in-cluster IPAM provider, which then runs, too.

As root, with FRR and what 'make tools' builds, Calico's BIRD or Cilium's agent runs on a node, and a router shows its routes. No
pod and no kube-proxy runs. The demo touches no other cluster, and nothing of this machine's own network. Ctrl-C stops and removes
everything.

It needs the binaries kube-apiserver, etcd and controller, and the CRDs of the CNI in the folder calico-crds or cilium-crds;
'make demo' builds them all. They are looked for in $KUBEBUILDER_ASSETS, beside this binary and in ./bin. With
--backend=speaker it needs Linux, root, the binary speaker, and Debian's packages iproute2 and frr.`,
		Example: `  # Look around until Ctrl-C:
  kubectl fairlead demo

  # Run through and tell by the exit code whether every step worked:
  kubectl fairlead demo --backend=cilium --once

  # Addresses from another IPAM:
  kubectl fairlead demo --allocator=cluster-api --once

  # Speakers on a network of namespaces:
  sudo kubectl-fairlead demo --backend=speaker

  # From the source, with all that is needed built first:
  make demo DEMO_ARGS='--backend=cilium --once'`,
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
			if o.Speaker == "" {
				o.Speaker = filepath.Join(filepath.Dir(self), "speaker")
			}
			o.Out = cmd.OutOrStdout()
			// Caught until the end: neither a second Ctrl-C nor a reader who is gone is to keep it from removing what it has started.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			if err := demo.Run(ctx, o); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Backend, "backend", demo.Backends[0], "who advertises: "+strings.Join(demo.Backends, ", "))
	complete(cmd, "backend", cobra.FixedCompletions(demo.Backends, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&o.Allocator, "allocator", config.AllocatorBuiltin, "who gives out the addresses: "+strings.Join(config.Allocators, ", "))
	complete(cmd, "allocator", cobra.FixedCompletions(config.Allocators, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolVar(&o.Once, "once", false, "end after the last step; the exit code tells whether all went well")
	cmd.Flags().StringVar(&o.Controller, "controller", "", "path of the controller binary; default: beside this binary")
	cmd.Flags().StringVar(&o.Speaker, "speaker", "", "path of the speaker binary; default: beside this binary")
	return cmd
}
