package main

import (
	"errors"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/handover"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// What the two commands say of themselves.
const (
	handoverFromServiceLB = `migrate from-servicelb hands over the Services whose status k3s' servicelb (klipper-lb) has written: the addresses of
nodes, by a DaemonSet svclb-... for each Service. Fairlead gives no Service the address of a node, so most of them get another address.`
	handoverFromKubeVIP = `migrate from-kube-vip hands over the Services whose status kube-vip has written, or whose address its cloud provider has
chosen: those with an annotation of kube-vip.io. Where a pool has the address, the Service keeps it.`
	handoverHow = `

It shows each Service and what would become of it, checks that the other load balancer is stopped and says how to stop it, and
asks. Then it makes the Services ask for the addresses that they keep (metallb.io/loadBalancerIPs), empties the status where Fairlead has
to give another one, removes the finalizer that nobody else would remove any more, and waits until Fairlead has given every Service its
address. A Service of a class that Fairlead does not serve, or for which no pool has an address, is left as it is.

-o json and yaml print the list, and change something only with --yes. The command can be run again at any time.

Exit codes: 0 there is nothing left to do, or --dry-run has found nothing in the way; 1 the command failed or you did not agree; 2 it is
for you to do something now, which is said: stop the other load balancer, install Fairlead, or add a pool.`
)

func handoverCommand(source *handover.Source, long string) *cobra.Command {
	c, o, out := connection{}, handover.Options{Source: source}, output{}
	name := "from-" + source.Name
	cmd := &cobra.Command{
		Use:   name,
		Short: "Hand over the Services whose addresses " + source.Name + " has written",
		Long:  long + handoverHow,
		Example: `  kubectl fairlead migrate ` + name + ` --dry-run
  kubectl fairlead migrate ` + name + `
  kubectl fairlead migrate ` + name + ` -o json | jq -r '.services[] | select(.outcome == "changes") | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctrl.SetLogger(logr.Discard())
			if err := out.check(); err != nil {
				return err
			}
			if err := c.find(cmd.Context()); err != nil {
				return err
			}
			rc, err := c.reach()
			if err != nil {
				return err
			}
			writer, err := client.New(rc, client.Options{Scheme: survey.NewScheme()})
			if err != nil {
				return err
			}
			o.Namespace, o.In, o.Out = c.installation, cmd.InOrStdin(), cmd.OutOrStdout()
			return handOver(cmd, writer, o, &out)
		},
	}
	c.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.DryRun, "dry-run", false, "show what would be done, and do nothing")
	f.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait for Fairlead to give the addresses")
	out.addFlag(cmd, formatTable, formatJSON, formatYAML)
	return cmd
}

func handOver(cmd *cobra.Command, writer client.Client, o handover.Options, out *output) error {
	ctx := cmd.Context()
	r, err := handover.Look(ctx, writer, o)
	if err != nil {
		return err
	}
	show := func() error {
		return out.print(cmd, document.Handover, r, func(s *screen.Screen, _ bool) { r.Show(s, o) })
	}
	ready, table := r.Ready(), out.format == formatTable
	if ready != nil || o.DryRun || !table && !o.Yes {
		return errors.Join(show(), exitOf(ready))
	}
	if !table { // one document, of what has become of them
		err := handover.Run(ctx, writer, o, r)
		if err != nil && !errors.Is(err, handover.ErrYourTurn) {
			return err
		}
		return errors.Join(show(), exitOf(err))
	}
	if err := show(); err != nil {
		return err
	}
	err = handover.Run(ctx, writer, o, r)
	if err == nil || errors.Is(err, handover.ErrYourTurn) {
		r.Done(screen.New(cmd.OutOrStdout(), os.Getenv))
	}
	return exitOf(err)
}

// exitOf is the exit code of what has been said already.
func exitOf(err error) error {
	if errors.Is(err, handover.ErrYourTurn) {
		return exitCode(exitFound)
	}
	return err
}
