package assign

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// parting are addresses that were taken from a Service whose status still shows them. Nobody else gets one before the status is
// without it: else two Services would show it for a moment. In the engine they are held by stand-ins.
type parting map[allocator.Owner][]netip.Addr

// partingMark ends the name of a stand-in. No Service has such a name; a message that names one is true.
const partingMark = " (letting go)"

func standIn(owner allocator.Owner, addr netip.Addr) allocator.Owner {
	return allocator.Owner{Namespace: owner.Namespace, Name: owner.Name + " " + addr.String() + partingMark}
}

func isParting(owner allocator.Owner) bool { return strings.HasSuffix(owner.Name, partingMark) }

// part has stand-ins hold what svc has just lost and still shows, as it held it.
func (a *Assigner) part(svc *corev1.Service, lost []allocator.Grant, sharing allocator.Sharing, ports allocator.PortSet) {
	owner := ownerOf(svc)
	held := a.engine.Held(owner).Addrs()
	for _, g := range lost {
		if slices.Contains(held, g.Addr) || slices.Contains(a.parting[owner], g.Addr) || !slices.Contains(service.ShownAddresses(svc), g.Addr) {
			continue
		}
		// It cannot fail but where a sharer has come to use the same ports already, who then has it.
		if a.engine.Restore(allocator.Request{Owner: standIn(owner, g.Addr), Sharing: sharing, Ports: ports}, g.Addr) == nil {
			a.parting[owner] = append(a.parting[owner], g.Addr)
		}
	}
}

// partFrom ends the parting from addresses that owner shows no longer.
func (a *Assigner) partFrom(owner allocator.Owner, shown []netip.Addr) {
	var left []netip.Addr
	for _, addr := range a.parting[owner] {
		if slices.Contains(shown, addr) {
			left = append(left, addr)
			continue
		}
		a.free(a.engine.Release(standIn(owner, addr)).Grants())
	}
	if len(left) > 0 {
		a.parting[owner] = left
	} else {
		delete(a.parting, owner)
	}
}
