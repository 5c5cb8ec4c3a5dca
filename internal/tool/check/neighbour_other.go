//go:build !linux

package check

import "net/netip"

type neighbours struct{}

// Neighbour implements Prober: the neighbour table is read on Linux only.
func (*Here) Neighbour(netip.Addr) (detail string, found, onLink bool) {
	return "the neighbour table is read on Linux only", false, false
}
