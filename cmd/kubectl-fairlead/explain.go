package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
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

// one has a command refuse any number of arguments but one.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s takes one argument, %s; there are %d", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

func explainServiceCommand() *cobra.Command {
	c := connection{about: oneService, spare: told}
	var o output
	cmd := &cobra.Command{
		Use:     "service [NAMESPACE/]NAME",
		Aliases: []string{"svc"},
		Short:   "Tell why a Service has its address, or none, and who advertises it",
		Long: `service tells what a Service asks for, what each pool makes of it, in the order in which pools are considered, which address it has,
which advertisements select it, what the backend has written or which nodes announce it, and what its endpoints do. It ends with the
first thing to fix.

A NAME alone is looked up in --namespace, or in the namespace of the kubeconfig's context. The namespace of the installation is found, or
named by --system-namespace.

Exit codes: 0 there is nothing to fix, 1 the command failed, 2 there is something to fix.`,
		Example: `  kubectl fairlead explain service shop/web
  kubectl fairlead explain service web -n shop
  kubectl fairlead explain service shop/web -o json | jq -r .fix.reason`,
		Args:              one("a Service: [NAMESPACE/]NAME"),
		ValidArgsFunction: c.offer(c.services),
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, args []string) error {
			report, err := c.explainService(ctx, args[0])
			if err != nil {
				return err
			}
			if err := o.print(cmd, document.ServiceExplanation, report, func(s *screen.Screen, wide bool) { showService(s, report, wide) }); err != nil {
				return err
			}
			if report.Fix != nil {
				return exitCode(exitFound)
			}
			return nil
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, allFormats...)
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
	case !found && !ok && c.namespace == "":
		return nil, fmt.Errorf("there is no Service %q in namespace %q, which is that of the context; name another one by -n, or as NAMESPACE/NAME", name, namespace)
	case !found:
		return nil, fmt.Errorf("there is no Service %q in namespace %q", name, namespace)
	}
	m, err := s.Model()
	if err != nil {
		return nil, err
	}
	if err := m.ReadTold(ctx, c.client, types.NamespacedName{Namespace: namespace, Name: name}); err != nil {
		return nil, err
	}
	return explain.OfService(m, namespace, name), nil
}

func explainAddressCommand() *cobra.Command {
	c := connection{spare: told}
	cmd := &cobra.Command{
		Use:     "address IP",
		Aliases: []string{"ip"},
		Short:   "Tell which pool an address is in, who has it and who advertises it",
		Long: `address tells which pool has an address, or which ranges are nearest, who holds it, who asks for it, what keeps it, and who
advertises it.

Exit codes: 0 done, 1 the command failed.`,
		Example: `  kubectl fairlead explain address 192.0.2.10
  kubectl fairlead explain address 2001:db8::10 -o yaml`,
		Args:              one("an IP address"),
		ValidArgsFunction: c.offer(c.addresses),
	}
	return c.reports(cmd, document.AddressExplanation, []string{"IPAddressPools", "Services"}, func(m *survey.Model, args []string) (any, show, error) {
		addr, err := netip.ParseAddr(args[0])
		if err != nil || addr.Zone() != "" {
			return nil, nil, fmt.Errorf("%q is not an IP address; write one like 192.0.2.10 or 2001:db8::10", args[0])
		}
		var holders []types.NamespacedName
		for _, o := range m.Assigner.Holders(addr.Unmap()) {
			holders = append(holders, types.NamespacedName(o))
		}
		if err := m.ReadTold(cmd.Context(), c.client, holders...); err != nil {
			return nil, nil, err
		}
		report := explain.OfAddress(m, addr)
		return report, func(s *screen.Screen, wide bool) { showAddress(s, report, wide) }, nil
	})
}
