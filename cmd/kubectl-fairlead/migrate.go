package main

import (
	"errors"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/handover"
	"github.com/fairlead/fairlead/internal/tool/migrate"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "Change a cluster over to Fairlead",
		Example: `  kubectl fairlead migrate from-metallb --namespace metallb-system
  kubectl fairlead migrate from-servicelb --dry-run
  kubectl fairlead migrate from-kube-vip --dry-run`,
	}
	var o migrate.Options
	var c connection
	from := &cobra.Command{
		Use:   "from-metallb",
		Short: "Change a live cluster over from MetalLB, keeping every address",
		Long: `migrate from-metallb looks at the MetalLB in a namespace, shows what it would do, and asks before each step:
it stops MetalLB's controller, hands the CRDs over, tells how to install Fairlead with Helm, sees that Fairlead has
taken every address over and announces it, and stops MetalLB's speakers. After each step it compares the addresses of all
Services with those from before. MetalLB's speakers are not stopped while a Service that they announce is not announced by
Fairlead, unless --force is given; if anything that Fairlead announced is lost with them, they are started again.

It can be interrupted at any time and run again: what was done is kept in the ConfigMap fairlead-migration. --back undoes it.

Exit codes: 0 the change-over, or the way back, is done, 1 the command failed or you did not agree, 2 Fairlead is for you to install
now; run the command again then.`,
		Example: `  kubectl fairlead migrate from-metallb --namespace metallb-system

  # And back again:
  kubectl fairlead migrate from-metallb --namespace metallb-system --back`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctrl.SetLogger(logr.Discard())
			rc, err := c.reach()
			if err != nil {
				return err
			}
			writer, err := client.New(rc, client.Options{Scheme: survey.NewScheme()})
			if err != nil {
				return err
			}
			o.In, o.Out, o.Cluster = cmd.InOrStdin(), cmd.OutOrStdout(), rc.Host
			if err := migrate.New(writer, o).Run(cmd.Context()); !errors.Is(err, migrate.ErrNotInstalled) {
				return err
			}
			return exitCode(exitFound) // what is to be done has been said
		},
	}
	f := from.Flags()
	c.addClusterFlags(from)
	f.StringVarP(&o.Namespace, "namespace", "n", "metallb-system", "namespace of MetalLB, where Fairlead will be, too")
	f.StringVar(&o.Release, "release-name", "fairlead", "name that Fairlead's Helm release will have")
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.Back, "back", false, "go back to MetalLB")
	f.BoolVar(&o.Force, "force", false, "stop MetalLB's speakers although Fairlead does not announce all that they do")
	f.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait for pods, and for Fairlead to take addresses over and announce them")
	cmd.AddCommand(from, handoverCommand(handover.ServiceLB, handoverFromServiceLB), handoverCommand(handover.KubeVIP, handoverFromKubeVIP))
	return cmd
}
