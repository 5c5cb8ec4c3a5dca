package main

import (
	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"

	daemonk8s "github.com/cilium/cilium/daemon/k8s"
	"github.com/cilium/cilium/pkg/bgp"
	"github.com/cilium/cilium/pkg/bgp/agent"
	"github.com/cilium/cilium/pkg/bgp/manager"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/datapath/tables"
	envoyCfg "github.com/cilium/cilium/pkg/envoy/config"
	k8sClient "github.com/cilium/cilium/pkg/k8s/client"
	k8sTables "github.com/cilium/cilium/pkg/k8s/tables"
	"github.com/cilium/cilium/pkg/kpr"
	"github.com/cilium/cilium/pkg/l2announcer"
	"github.com/cilium/cilium/pkg/lbipamconfig"
	"github.com/cilium/cilium/pkg/loadbalancer"
	"github.com/cilium/cilium/pkg/loadbalancer/reflectors"
	"github.com/cilium/cilium/pkg/loadbalancer/writer"
	"github.com/cilium/cilium/pkg/metrics"
	"github.com/cilium/cilium/pkg/node"
	"github.com/cilium/cilium/pkg/nodeipamconfig"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/source"
	"github.com/cilium/cilium/pkg/svcrouteconfig"
)

func agentCells(s *settings) []cell.Cell {
	return []cell.Cell{
		metrics.Cell, k8sClient.Cell, daemonk8s.ResourcesCell, k8sTables.TablesCell,
		node.LocalNodeStoreCell, cell.Provide(newNodeSync), cell.Config(cmtypes.DefaultClusterInfo), cell.Config(envoyCfg.SecretSyncConfig{}),
		bgp.Cell, svcrouteconfig.Cell, l2announcer.Cell,
		cell.Provide(
			tables.NewRouteTable, tables.NewDeviceTable, tables.NewNodeAddressTable, tables.NewL2AnnounceTable,
			statedb.RWTable[*tables.Route].ToTable, statedb.RWTable[*tables.Device].ToTable,
			statedb.RWTable[tables.NodeAddress].ToTable, statedb.RWTable[*tables.L2AnnounceEntry].ToTable,
			func() source.Sources { return source.Sources{} },
			func() *option.DaemonConfig { return s.daemon },
			func() kpr.KPRConfig { return kpr.KPRConfig{KubeProxyReplacement: s.kubeProxyReplacement} },
		),
		loadbalancer.ConfigCell, writer.Cell, reflectors.Cell, lbipamconfig.Cell, nodeipamconfig.Cell,
		cell.Invoke(fillDevices, func(*node.LocalNodeStore) {}, func(d dumper) { d.register(s.dump) }, func(m agent.BGPRouterManager) {
			if m, ok := m.(*manager.BGPRouterManager); ok {
				m.DestroyRouterOnStop(true)
			}
		}),
	}
}
