package assign

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// takenOver remembers, for statuses whose addresses another manager wrote and which were taken over all the same (a MetalLB that
// was here before), which addresses those were: any others that turn up are a second writer's.
type takenOver map[allocator.Owner][]netip.Addr

// foreign returns the addresses in the status of svc if somebody put them there who is neither us nor whom they were taken over
// from.
func (t takenOver) foreign(svc *corev1.Service, held []netip.Addr) []netip.Addr {
	owner := ownerOf(svc)
	if service.WriterOf(svc) == "" {
		delete(t, owner)
		return nil
	}
	shown := service.ShownAddresses(svc)
	if service.SameAddresses(shown, held) || !slices.ContainsFunc(shown, func(x netip.Addr) bool { return !slices.Contains(t[owner], x) }) {
		return nil
	}
	return shown
}
