package dashboard

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/fairlead/fairlead/internal/tool/explain"
)

// Pool is a pool, address by address.
type Pool struct {
	Use explain.PoolUse `json:"use"`
	// Map is absent if the pool is set aside.
	Map *explain.Map `json:"map,omitempty"`
	// Up is the part of the pool that what is shown is a part of; absent: there is none.
	Up string `json:"up,omitempty"`
	// Queue are the Services that wait for an address of the pool; those first that have waited longest. QueueLength is how many there are.
	Queue       []explain.Waiting `json:"queue"`
	QueueLength int               `json:"queueLength"`
}

func (s *Server) pool(v *view, r *http.Request) (string, any, error) {
	name := r.PathValue("name")
	uses := explain.OfPools(v.model, name).Pools
	if len(uses) == 0 {
		if err := v.model.Need("IPAddressPools"); err != nil {
			return "", nil, err
		}
		return "", nil, fmt.Errorf("%w as a pool %q in namespace %q", errNotFound, name, v.model.Namespace)
	}
	out := &Pool{Use: uses[0], Queue: explain.Queue(v.model, name)}
	out.Use.Holders = []explain.Holder{} // the map has them
	out.QueueLength = len(out.Queue)
	out.Queue = out.Queue[:min(len(out.Queue), listAtMost)]
	var within netip.Prefix
	if text := r.URL.Query().Get("within"); text != "" {
		var err error
		if within, err = netip.ParsePrefix(text); err != nil {
			return "", nil, fmt.Errorf("%w: %q is no prefix; write one like 192.0.2.0/24", errNotFound, text)
		}
	}
	if out.Use.Problem == "" {
		m, ok := explain.MapOf(v.model, name, within)
		if !ok && within.IsValid() {
			return "", nil, fmt.Errorf("%w: pool %q has no address in %s", errNotFound, name, within)
		}
		out.Map = m
	}
	return "Pool " + name, out, nil
}
