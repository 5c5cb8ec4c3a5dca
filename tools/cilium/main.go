// Command cilium-lab runs Cilium's own control plane on a real API server, for tests: what decides which routes a node tells its
// peers, and what it announces on layer 2, without the datapath.
//
//	cilium-lab operator [flags]                   the operator's BGP and LB-IPAM
//	cilium-lab agent --node-name NAME [flags]     an agent's BGP control plane and L2 announcer; one for each node, in its network namespace
//
// Cilium's packages are taken as they are; flags have the names and the defaults that they have in Cilium, or that are usual where BGP is
// on. What stands in for the rest of Cilium is in this folder:
//
//   - node.go, for what keeps the local node and its CiliumNode up to date (pkg/node/sync, pkg/nodediscovery);
//   - devices.go, for the list of network devices that the datapath fills;
//   - operator.go, for the operator's handles of objects (operator/k8s), limited to those that are read;
//   - dump.go writes what the node would announce on layer 2 into a file, for a test to read.
//
// Beside these, the routers of an agent end with it: their peers are told, as when a node is drained, not left to the hold time.
//
// CiliumNodes have to be there. A garbage collector of Kubernetes has to remove the CiliumBGPNodeConfigs of a CiliumBGPClusterConfig that
// is deleted. There is no discovery of default gateways, no NodePort, no BPF.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/cilium/pkg/hive"
	ipamOption "github.com/cilium/cilium/pkg/ipam/option"
	"github.com/cilium/cilium/pkg/logging"
	nodeTypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/option"
	"github.com/spf13/pflag"
)

// settings are the flags.
type settings struct {
	daemon               *option.DaemonConfig
	kubeProxyReplacement bool
	node, level, dump    string
}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "operator" && os.Args[1] != "agent" {
		fmt.Fprintf(os.Stderr, "usage: %s operator|agent [flags]\n", filepath.Base(os.Args[0]))
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "cilium-lab:", err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	var s settings
	flags := s.flags(what)
	option.Config = s.daemon // parts of Cilium read it there
	cells := operatorCells
	if what == "agent" {
		cells = agentCells
	}
	h := hive.New(cells(&s)...)
	h.RegisterFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if what == "agent" {
		if s.node == "" {
			return fmt.Errorf("--node-name is required")
		}
		nodeTypes.SetName(s.node)
	}
	if err := h.Viper().BindPFlags(flags); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.level)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	logging.SetLogLevel(level)
	return h.Run(logging.DefaultSlogLogger)
}

func (s *settings) flags(what string) *pflag.FlagSet {
	s.daemon = &option.DaemonConfig{IPAM: ipamOption.IPAMKubernetes, BGPRouterIDAllocationMode: option.BGPRouterIDAllocationModeDefault}
	flags := pflag.NewFlagSet(what, pflag.ContinueOnError)
	flags.BoolVar(&s.daemon.EnableBGPControlPlane, "enable-bgp-control-plane", true, "speak BGP")
	flags.BoolVar(&s.daemon.EnableBGPControlPlaneStatusReport, "enable-bgp-control-plane-status-report", true,
		"write conditions and the state of sessions")
	flags.BoolVar(&s.daemon.EnableL2Announcements, "enable-l2-announcements", true, "announce on layer 2")
	flags.BoolVar(&s.daemon.EnableIPv4, "enable-ipv4", true, "")
	flags.BoolVar(&s.daemon.EnableIPv6, "enable-ipv6", true, "")
	flags.StringVar(&s.daemon.BGPSecretsNamespace, "bgp-secrets-namespace", "kube-system", "where passwords are")
	flags.StringVar(&s.daemon.K8sNamespace, "k8s-namespace", "kube-system", "where Leases are")
	flags.DurationVar(&s.daemon.L2AnnouncerLeaseDuration, "l2-announcements-lease-duration", 15*time.Second, "")
	flags.DurationVar(&s.daemon.L2AnnouncerRenewDeadline, "l2-announcements-renew-deadline", 5*time.Second, "")
	flags.DurationVar(&s.daemon.L2AnnouncerRetryPeriod, "l2-announcements-retry-period", 2*time.Second, "")
	flags.BoolVar(&s.kubeProxyReplacement, "kube-proxy-replacement", true, "")
	flags.StringVar(&s.node, "node-name", "", "the node of an agent")
	flags.StringVar(&s.level, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&s.dump, "lab-dump", "", "a file to write frontends and layer 2 announcements of an agent into")
	return flags
}
