package assign

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// watchNodes has the Assigner follow the addresses of nodes.
func (t *Task) watchNodes() error {
	informer, err := t.manager.GetCache().GetInformer(context.Background(), &corev1.Node{})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	set := func(o any, gone bool) {
		if last, is := o.(toolscache.DeletedFinalStateUnknown); is {
			o = last.Obj
		}
		n, is := o.(*corev1.Node)
		if !is {
			return
		}
		var addrs []netip.Addr
		if !gone {
			addrs = service.NodeAddressesOf(n)
		}
		if t.assigner.SetNode(n.Name, addrs) && t.nodesChanged != nil {
			t.nodesChanged()
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { set(o, false) },
		UpdateFunc: func(_, o any) { set(o, false) },
		DeleteFunc: func(o any) { set(o, true) },
	})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	return nil
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
