package assign

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/service"
)

// watchNodes has the Assigner follow the addresses of nodes.
func (t *Task) watchNodes() error {
	return follow.Watch(t.manager.GetCache(), func(was, is client.Object) {
		node, addrs := was, []netip.Addr(nil) // it is gone
		if n, ok := is.(*corev1.Node); ok {
			node, addrs = n, service.NodeAddressesOf(n)
		}
		if t.assigner.SetNode(node.GetName(), addrs) && t.nodesChanged != nil {
			t.nodesChanged()
		}
	}, &corev1.Node{})
}

// adoptNodes takes in the nodes there are, before anything is given out.
func (t *Task) adoptNodes(ctx context.Context) error {
	var list corev1.NodeList
	if err := t.manager.GetCache().List(ctx, &list); err != nil {
		return fmt.Errorf("list nodes, whose addresses are not to be assigned: %w", err)
	}
	nodes := map[string][]netip.Addr{}
	for i := range list.Items {
		nodes[list.Items[i].Name] = service.NodeAddressesOf(&list.Items[i])
	}
	t.assigner.SetNodes(nodes)
	return nil
}

// NodesChanged sets who is told when other addresses of pools are those of nodes. It must be called before Run.
func (t *Task) NodesChanged(f func()) { t.nodesChanged = f }

// Remarks says which pools in force contain addresses of nodes.
func (t *Task) Remarks(s *config.Snapshot) []config.Remark { return t.assigner.remarks(s) }

func (a *Assigner) remarks(s *config.Snapshot) []config.Remark {
	by := map[string][]service.NodeAddress{}
	for _, x := range a.NodeAddresses() {
		by[x.Pool] = append(by[x.Pool], x)
	}
	var out []config.Remark
	for _, name := range slices.Sorted(maps.Keys(by)) {
		p := s.Pool(name)
		if p == nil {
			continue
		}
		out = append(out, config.Remark{Object: p.Ref, Reason: service.EventNodeAddressInPool, Message: service.NodeAddressesText(by[name])})
	}
	return out
}
