package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

func poolsCommand() *cobra.Command {
	c := connection{spare: details}
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
	}
	return c.reports(cmd, document.PoolList, []string{"IPAddressPools", "Services"}, func(m *survey.Model, args []string) (any, show, error) {
		report := explain.OfPools(m, args...)
		if len(args) == 1 && len(report.Pools) == 0 && !m.Lacks("IPAddressPools") {
			return nil, nil, fmt.Errorf("there is no IPAddressPool %q in namespace %q; there are %s", args[0], m.Namespace,
				listed(m.Assigner.PoolOrder()))
		}
		return report, func(s *screen.Screen, wide bool) { showPools(s, report, wide || len(args) == 1, wide) }, nil
	})
}

func peersCommand() *cobra.Command {
	c := connection{spare: details}
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Show the BGP sessions with each peer",
		Long: `peers shows each BGPPeer, who holds the sessions with it, and how they are doing on each node: state, prefixes, BFD and last error of the
speakers' sessions; of a CNI's, what the CNI has said of them (Calico's nodes are asked in turn), and which of its objects hold them.

Exit codes: 0 done, 1 the command failed.`,
		Example: `  kubectl fairlead peers
  kubectl fairlead peers -o json | jq -r '.peers[].sessions[] | select(.state != "Established") | .node'`,
		Args: cobra.NoArgs,
	}
	return c.reports(cmd, document.PeerList, []string{"BGPPeers"}, func(m *survey.Model, _ []string) (any, show, error) {
		report := explain.OfPeers(m)
		return report, func(s *screen.Screen, wide bool) { showPeers(s, report, m.At, wide) }, nil
	})
}

func backendsCommand() *cobra.Command {
	c := connection{spare: details}
	cmd := &cobra.Command{
		Use:   "backends",
		Short: "Show who makes the addresses reachable, and how they are doing",
		Long: `backends shows the Backend objects: which advertisements each serves, whether it works, and with -o wide what was detected of the
CNI and what was written into its configuration.

Exit codes: 0 done, 1 the command failed.`,
		Example: `  kubectl fairlead backends
  kubectl fairlead backends -o wide`,
		Args: cobra.NoArgs,
	}
	return c.reports(cmd, document.BackendList, []string{"Backends"}, func(m *survey.Model, _ []string) (any, show, error) {
		report := explain.OfBackends(m)
		return report, func(s *screen.Screen, wide bool) { showBackends(s, report, wide) }, nil
	})
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
