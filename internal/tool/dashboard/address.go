package dashboard

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/fairlead/fairlead/internal/tool/explain"
)

func (s *Server) address(v *view, r *http.Request) (string, any, error) {
	addr, err := netip.ParseAddr(r.PathValue("ip"))
	if err != nil || addr.Zone() != "" {
		return "", nil, fmt.Errorf("%w: %q is not an IP address; write one like 192.0.2.10 or 2001:db8::10", errNotFound, r.PathValue("ip"))
	}
	return "Address " + addr.String(), explain.OfAddress(v.model, addr), nil
}
