package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/process/cli"
)

// checkEvery is how often it is looked again.
const checkEvery = time.Second

// checkCommand is "controller check".
func checkCommand() *cobra.Command {
	var o Options
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Wait until a controller is at work with a valid configuration",
		Long: `Wait until a controller holds the Lease and says that the configuration is valid. If that is not so before --timeout is over, the
command fails and says what is missing. "helm test" runs it.`,
		Example: `  controller check --namespace metallb-system --timeout 10s`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := o.connect(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctrl.SetupSignalHandler(), timeout)
			defer cancel()
			leader, err := awaitWork(ctx, c, o.Namespace)
			if err != nil {
				return fmt.Errorf("not at work within %v: %w", timeout, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is at work, and the configuration is valid\n", leader)
			return nil
		},
	}
	f := cmd.Flags()
	cli.AddConnectionFlags(f, &o.Kubeconfig, &o.Namespace)
	f.DurationVar(&timeout, "timeout", time.Minute, "how long to wait")
	return cmd
}

// awaitWork waits until atWork has nothing to say, or until ctx ends, and returns who leads.
func awaitWork(ctx context.Context, c client.Reader, namespace string) (leader string, err error) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		found, reason := atWork(ctx, c, namespace, time.Now())
		if reason == nil {
			return found, nil
		}
		if err == nil || ctx.Err() == nil { // not what the end of ctx made of it
			err = reason
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", err
		}
	}
}

// atWork returns who leads, or what keeps the installation from working.
func atWork(ctx context.Context, c client.Reader, namespace string, now time.Time) (leader string, err error) {
	var lease coordinationv1.Lease
	err = c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: leaseName}, &lease)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("read the Lease %s: %w", leaseName, err)
	}
	s := lease.Spec
	if s.HolderIdentity == nil || *s.HolderIdentity == "" || s.RenewTime == nil || s.RenewTime.Add(leaseDuration).Before(now) {
		return "", fmt.Errorf("no controller holds the Lease %s in namespace %q", leaseName, namespace)
	}
	var states v1beta1.ConfigurationStateList
	if err := c.List(ctx, &states, client.InNamespace(namespace)); err != nil {
		return "", fmt.Errorf("list ConfigurationStates: %w", err)
	}
	for _, state := range states.Items {
		if state.Name != "controller" {
			continue
		}
		switch state.Status.Result {
		case v1beta1.ConfigurationValid:
			return *s.HolderIdentity, nil
		case v1beta1.ConfigurationInvalid:
			return "", fmt.Errorf("the configuration is faulty: %s", state.Status.ErrorSummary)
		}
	}
	return "", fmt.Errorf("%s has not read the configuration yet", *s.HolderIdentity)
}
