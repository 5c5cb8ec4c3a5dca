package service

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// NodeAddressesOf returns the addresses at which a node is reached, of status.addresses: InternalIP and ExternalIP.
func NodeAddressesOf(n *corev1.Node) []netip.Addr {
	var out []netip.Addr
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(a.Address); err == nil && !slices.Contains(out, addr.Unmap()) {
			out = append(out, addr.Unmap())
		}
	}
	return out
}

// NodeAddress is an address that a node has itself and that lies in a pool.
type NodeAddress struct {
	Addr       netip.Addr
	Node, Pool string
}

// manyNodes is how many addresses of one pool a Remark names.
const manyNodes = 5

// NodeAddressesText says what becomes of addresses of nodes that lie in one pool.
func NodeAddressesText(all []NodeAddress) string {
	text := "spec.addresses contains "
	for i, x := range all[:min(len(all), manyNodes)] {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s, an address of node %q", x.Addr, x.Node)
	}
	if more := len(all) - manyNodes; more > 0 {
		text += fmt.Sprintf(", and %d more of nodes", more)
	}
	return text + "; no Service is given an address of a node; take them out of the pool"
}
