package main

import (
	"github.com/cilium/hive/cell"
	"k8s.io/client-go/util/workqueue"

	operatorbgp "github.com/cilium/cilium/operator/pkg/bgp"
	"github.com/cilium/cilium/operator/pkg/lbipam"
	"github.com/cilium/cilium/pkg/k8s"
	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	k8sClient "github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/k8s/resource"
	"github.com/cilium/cilium/pkg/k8s/utils"
	"github.com/cilium/cilium/pkg/metrics"
	"github.com/cilium/cilium/pkg/option"
)

func operatorCells(s *settings) []cell.Cell {
	return []cell.Cell{
		metrics.Cell, k8sClient.Cell, operatorResources,
		cell.Provide(k8s.ServiceResource, func() *option.DaemonConfig { return s.daemon }),
		operatorbgp.Cell, lbipam.Cell,
	}
}

// operatorResources are the handles of operator/k8s.ResourcesCell that the two controllers read; that package itself needs half of
// Cilium.
var operatorResources = cell.Module("k8s-resources", "Operator Kubernetes resources",
	cell.Config(k8s.DefaultConfig),
	cell.Provide(k8s.DefaultServiceWatchConfig),
	cell.Provide(
		k8s.CiliumBGPAdvertisementResource, k8s.CiliumBGPPeerConfigResource, k8s.CiliumBGPNodeConfigResource, k8s.CiliumNodeResource,
		func(lc cell.Lifecycle, cs k8sClient.Clientset, mp workqueue.MetricsProvider) resource.Resource[*v2.CiliumBGPClusterConfig] {
			return resource.New[*v2.CiliumBGPClusterConfig](lc, utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumBGPClusterConfigs()), mp,
				resource.WithMetric("CiliumBGPClusterConfig"))
		},
		func(lc cell.Lifecycle, cs k8sClient.Clientset, mp workqueue.MetricsProvider) resource.Resource[*v2.CiliumBGPNodeConfigOverride] {
			return resource.New[*v2.CiliumBGPNodeConfigOverride](lc, utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumBGPNodeConfigOverrides()), mp,
				resource.WithMetric("CiliumBGPNodeConfigOverride"))
		},
		func(lc cell.Lifecycle, cs k8sClient.Clientset, mp workqueue.MetricsProvider) resource.Resource[*v2.CiliumLoadBalancerIPPool] {
			return resource.New[*v2.CiliumLoadBalancerIPPool](lc, utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumLoadBalancerIPPools()), mp,
				resource.WithMetric("CiliumLoadBalancerIPPool"))
		},
	),
)
