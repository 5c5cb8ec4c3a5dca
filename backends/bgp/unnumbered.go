package bgp

import (
	"context"
	"errors"
	"net/netip"
)

// router returns the address of the router.
func (s *session) router(context.Context) (netip.Addr, error) {
	if s.address.IsValid() {
		return s.address, nil
	}
	return netip.Addr{}, errors.New("unnumbered: not yet")
}
