package main

import (
	"context"
	"maps"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	k8sClient "github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/node"
	nodeTypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/source"
)

// nodeSync gives the local node the labels of its Node and the addresses of its CiliumNode, and the CiliumNode the labels of the Node,
// whenever those change.
type nodeSync struct{ cs k8sClient.Clientset }

var _ node.LocalNodeSynchronizer = nodeSync{}

func newNodeSync(cs k8sClient.Clientset) node.LocalNodeSynchronizer { return nodeSync{cs} }

// InitLocalNode is called once, before anything else.
func (s nodeSync) InitLocalNode(ctx context.Context, n *node.LocalNode) error { return s.read(ctx, n) }

// SyncLocalNode runs until ctx ends.
func (s nodeSync) SyncLocalNode(ctx context.Context, store *node.LocalNodeStore) {
	for ctx.Err() == nil {
		s.follow(ctx, store)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second): // the API server has closed the watch, or cannot be reached
		}
	}
}

// WaitForNodeInformation returns at once: InitLocalNode has read everything.
func (nodeSync) WaitForNodeInformation(context.Context, *node.LocalNodeStore) error { return nil }

// follow watches the Node until the watch ends.
func (s nodeSync) follow(ctx context.Context, store *node.LocalNodeStore) {
	w, err := s.cs.Slim().CoreV1().Nodes().Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, nodeTypes.GetName()).String(),
	})
	if err != nil {
		return
	}
	defer w.Stop()
	for range w.ResultChan() {
		var n node.LocalNode
		if err := s.read(ctx, &n); err != nil {
			return
		}
		store.Update(func(l *node.LocalNode) { l.Labels, l.Annotations = n.Labels, n.Annotations })
	}
}

func (s nodeSync) read(ctx context.Context, n *node.LocalNode) error {
	own, err := s.cs.Slim().CoreV1().Nodes().Get(ctx, nodeTypes.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	ciliums, err := s.cs.CiliumV2().CiliumNodes().Get(ctx, nodeTypes.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !maps.Equal(own.Labels, ciliums.Labels) {
		ciliums.Labels = maps.Clone(own.Labels)
		if ciliums, err = s.cs.CiliumV2().CiliumNodes().Update(ctx, ciliums, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	n.Name, n.Labels, n.Annotations, n.Source = own.Name, own.Labels, own.Annotations, source.Local
	n.IPAddresses = nil
	for _, a := range ciliums.Spec.Addresses {
		n.IPAddresses = append(n.IPAddresses, nodeTypes.Address{Type: a.Type, IP: net.ParseIP(a.IP)})
	}
	return nil
}
