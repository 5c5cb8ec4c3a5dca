package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/fairlead/fairlead/internal/explain"
	"github.com/fairlead/fairlead/internal/screen"
)

func explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Tell the whole story of a Service or an address",
		Example: `  kubectl fairlead explain service shop/web
  kubectl fairlead explain address 192.0.2.10`,
	}
	cmd.AddCommand(explainServiceCommand(), explainAddressCommand())
	return cmd
}

func explainServiceCommand() *cobra.Command {
	var c connection
	var o output
	cmd := &cobra.Command{
		Use:     "service [NAMESPACE/]NAME",
		Aliases: []string{"svc"},
		Short:   "Tell why a Service has its address, or none, and who advertises it",
		Long: `service tells what a Service asks for, what each pool makes of it, in the order in which pools are considered, which address it has,
which advertisements select it, what the backend has written or which nodes announce it, and what its endpoints do. It ends with the
first thing to fix.

A NAME alone is looked up in the namespace of the kubeconfig's context; --namespace is that of the installation.

Exit codes: 0 there is nothing to fix, 1 the command failed, 2 there is something to fix.`,
		Example: `  kubectl fairlead explain service shop/web
  kubectl fairlead explain service web --context prod
  kubectl fairlead explain service shop/web -o json | jq -r .fix.reason`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.offer(c.services),
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, args []string) error {
			report, err := c.explainService(ctx, args[0])
			if err != nil {
				return err
			}
			if err := o.print(cmd, report, func(s *screen.Screen, wide bool) { showService(s, report, wide) }); err != nil {
				return err
			}
			if report.Fix != nil {
				return exitCode(exitFound)
			}
			return nil
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, formatTable, formatWide, formatJSON, formatYAML)
	return cmd
}

func (c *connection) explainService(ctx context.Context, name string) (*explain.Service, error) {
	s, err := c.survey(ctx)
	if err != nil {
		return nil, err
	}
	namespace, name, ok := strings.Cut(strings.TrimPrefix(name, "service/"), "/")
	if !ok {
		namespace, name = c.current, namespace
	}
	if namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q does not name a Service; write NAMESPACE/NAME", namespace+"/"+name)
	}
	found, err := s.ReadService(ctx, c.client, namespace, name)
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you may not read Service %s/%s; ask for permission to get services in namespace %q", namespace, name, namespace)
	case err != nil:
		return nil, err
	case !found && !ok:
		return nil, fmt.Errorf("there is no Service %q in namespace %q, which is that of the context; write NAMESPACE/NAME for another one", name, namespace)
	case !found:
		return nil, fmt.Errorf("there is no Service %q in namespace %q", name, namespace)
	}
	m, err := s.Model()
	if err != nil {
		return nil, err
	}
	return explain.OfService(m, namespace, name), nil
}

func explainAddressCommand() *cobra.Command {
	var c connection
	var o output
	cmd := &cobra.Command{
		Use:     "address IP",
		Aliases: []string{"ip"},
		Short:   "Tell which pool an address is in, who has it and who advertises it",
		Long: `address tells which pool has an address, or which ranges are nearest, who holds it, who asks for it, what keeps it, and who
advertises it.

Exit codes: 0 done, 1 the command failed.`,
		Example: `  kubectl fairlead explain address 192.0.2.10
  kubectl fairlead explain address 2001:db8::10 -o yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.offer(c.addresses),
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, args []string) error {
			addr, err := netip.ParseAddr(args[0])
			if err != nil || addr.Zone() != "" {
				return fmt.Errorf("%q is not an IP address; write one like 192.0.2.10 or 2001:db8::10", args[0])
			}
			m, err := c.model(ctx)
			if err != nil {
				return err
			}
			report := explain.OfAddress(m, addr)
			return o.print(cmd, report, func(s *screen.Screen, _ bool) { showAddress(s, report) })
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, formatTable, formatJSON, formatYAML)
	return cmd
}

func poolsCommand() *cobra.Command {
	var c connection
	var o output
	cmd := &cobra.Command{
		Use:   "pools [NAME]",
		Short: "Show how full the pools are, and who holds what",
		Long: `pools shows the pools in the order in which they are tried, with their capacity, what is in use, reserved and free, for each family.
With a NAME, or with -o wide, it also shows who holds which address.

Exit codes: 0 done, 1 the command failed.`,
		Example: `  kubectl fairlead pools
  kubectl fairlead pools public
  kubectl fairlead pools -o json | jq '.pools[] | {name, families}'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.offer(c.pools),
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, args []string) error {
			m, err := c.model(ctx)
			if err != nil {
				return err
			}
			report := explain.OfPools(m, args...)
			if len(args) == 1 && len(report.Pools) == 0 && !m.Lacks("IPAddressPools") {
				return fmt.Errorf("there is no IPAddressPool %q in namespace %q; there are %s", args[0], c.namespace, listed(m.Assigner.PoolOrder()))
			}
			return o.print(cmd, report, func(s *screen.Screen, wide bool) { showPools(s, report, wide || len(args) == 1) })
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, formatTable, formatWide, formatJSON, formatYAML)
	return cmd
}

func peersCommand() *cobra.Command {
	var c connection
	var o output
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Show the BGP sessions with each peer",
		Long: `peers shows each BGPPeer, who holds the sessions with it, and how they are doing: of the speakers' sessions state, BFD, prefixes and
last error for each node; of a CNI's, which of its objects hold them. How a CNI's sessions are doing, only the CNI knows.

Exit codes: 0 done, 1 the command failed.`,
		Example: `  kubectl fairlead peers
  kubectl fairlead peers -o json | jq -r '.peers[].sessions[] | select(.state != "Established") | .node'`,
		Args: cobra.NoArgs,
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			m, err := c.model(ctx)
			if err != nil {
				return err
			}
			report := explain.OfPeers(m)
			return o.print(cmd, report, func(s *screen.Screen, wide bool) { showPeers(s, report, m.At, wide) })
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, formatTable, formatWide, formatJSON, formatYAML)
	return cmd
}

func backendsCommand() *cobra.Command {
	var c connection
	var o output
	cmd := &cobra.Command{
		Use:   "backends",
		Short: "Show who makes the addresses reachable, and how they are doing",
		Long: `backends shows the Backend objects: which advertisements each serves, whether it works, and with -o wide what was detected of the
CNI and what was written into its configuration.

Exit codes: 0 done, 1 the command failed.`,
		Example: `  kubectl fairlead backends
  kubectl fairlead backends -o wide`,
		Args: cobra.NoArgs,
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			m, err := c.model(ctx)
			if err != nil {
				return err
			}
			report := explain.OfBackends(m)
			return o.print(cmd, report, func(s *screen.Screen, wide bool) { showBackends(s, report, wide) })
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, formatTable, formatWide, formatJSON, formatYAML)
	return cmd
}

// listed is a list in words.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(names, ", ")
}
