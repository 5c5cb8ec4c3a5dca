package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/controller/cleanup"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/service"
)

// inFlight is how long a request may take that was sent in time.
const inFlight = 2 * time.Second

// cleanupCommand is "controller cleanup".
func cleanupCommand() *cobra.Command {
	var o Options
	var releaseIPs bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Take back what was written to the CNI and to Services, before an installation is removed",
		Long: `Take back everything that this installation has written outside its own namespace: entries and objects of the CNI,
the Backend objects, and the label and conditions on Services. Services keep their addresses unless --release-ips is given.

A controller that still runs is stopped from writing first: its Lease is taken, and stays taken for a minute afterwards. Where
none runs, the Lease is free again at the end.
The command can be repeated. A CNI whose API is gone is passed over.`,
		Example: `  # Before "helm uninstall", which runs this by itself:
  controller cleanup --namespace metallb-system

  # And give all addresses back:
  controller cleanup --namespace metallb-system --release-ips`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rc, c, err := o.connect(cmd)
			if err != nil {
				return err
			}
			return cleanup.Run(ctrl.SetupSignalHandler(), cleanup.Options{
				Config: rc, Client: c, Namespace: o.Namespace, CiliumNamespace: o.CiliumNamespace, FieldManager: service.FieldManager,
				Classes: o.LoadBalancerClasses, ReleaseIPs: releaseIPs,
				Lease:    cleanup.Lease{Name: leaseName, Stops: renewDeadline + inFlight},
				Progress: func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) },
			})
		},
	}
	f := cmd.Flags()
	cli.AddConnectionFlags(f, &o.Kubeconfig, &o.Namespace)
	o.addServiceFlags(f)
	f.StringVar(&o.CiliumNamespace, "cilium-namespace", ciliumNamespace, "namespace of Cilium's ConfigMap cilium-config")
	f.BoolVar(&releaseIPs, "release-ips", false, "take the addresses from the Services, too")
	return cmd
}

// connect takes the flags and the environment in, and returns how to reach the API server, for commands that end.
func (o *Options) connect(cmd *cobra.Command) (*rest.Config, client.Client, error) {
	if err := cli.FlagsFromEnv(cmd.Flags()); err != nil {
		return nil, nil, err
	}
	if err := o.complete(); err != nil {
		return nil, nil, err
	}
	rc, err := cli.RESTConfig(o.Kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.New(rc, client.Options{Scheme: cli.NewScheme()})
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return rc, c, nil
}
