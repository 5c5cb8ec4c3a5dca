package delegate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/internal/announce"
)

// The values of --backend, --bgp-backend and --l2-backend.
const (
	Auto    = "auto"
	Calico  = "calico"
	Cilium  = "cilium"
	Speaker = announce.SpeakerBackend
	None    = "none"
)

// Names are all of them, the default first.
var Names = []string{Auto, Calico, Cilium, Speaker, None}

// Asked is what the user asks for: who serves the advertisements that do not name a backend.
type Asked struct{ BGP, Layer2 string }

// active tells which of a CNI's ways to advertise are switched on.
type active struct{ bgp, layer2 bool }

// choose resolves what is asked for, given what was detected. seen says in words why auto came to nobody; empty if it came to
// somebody. It never guesses: two that could serve are none.
func choose(asked Asked, calico, cilium active) (c announce.Choice, seen string) {
	c.BGP, seen = asked.BGP, ""
	switch {
	case asked.BGP == None:
		c.BGP = ""
	case asked.BGP != Auto:
	case calico.bgp && cilium.bgp:
		c.BGP, seen = "", "both Calico's BGP and Cilium's BGP control plane are on; choose one by --bgp-backend"
	case calico.bgp:
		c.BGP = Calico
	case cilium.bgp:
		c.BGP = Cilium
	default:
		c.BGP, seen = "", "neither a Calico whose nodes run BIRD nor a Cilium with its BGP control plane on was found"
	}
	switch {
	case asked.Layer2 == Cilium, asked.Layer2 == Auto && cilium.layer2:
		c.Layer2 = Cilium
	case asked.Layer2 == Speaker:
		c.Layer2 = Speaker
	}
	return c, seen
}

// Look resolves what is asked for on a cluster; it looks at the CNIs only if that is needed. seen says in words why auto came to
// nobody, empty if it came to somebody; facts are what was found.
func Look(ctx context.Context, d discovery.DiscoveryInterface, c dynamic.Interface, ciliumConfig string,
	asked Asked) (choice announce.Choice, seen string, facts []backends.Fact, err error) {
	var hasCalico, hasCilium active
	if asked.BGP == Auto || asked.Layer2 == Auto {
		found, err := calico.Detect(ctx, d, c)
		if err != nil {
			return choice, "", nil, fmt.Errorf("detect Calico: %w", err)
		}
		l, err := cilium.Detect(ctx, d, c, ciliumConfig)
		if err != nil {
			return choice, "", nil, fmt.Errorf("detect Cilium: %w", err)
		}
		hasCalico, hasCilium = active{bgp: found.BGP}, active{bgp: l.BGP, layer2: l.L2}
		for name, list := range map[string][]backends.Fact{Calico: found.Facts, Cilium: l.Facts} {
			for _, f := range list {
				f.Name = name + ": " + f.Name
				facts = append(facts, f)
			}
		}
		slices.SortFunc(facts, func(a, b backends.Fact) int { return strings.Compare(a.Name, b.Name) })
	}
	choice, seen = choose(asked, hasCalico, hasCilium)
	return choice, seen, facts, nil
}

// unserved says why nobody serves L2Advertisements, for the user who asked.
func unserved(asked Asked) string {
	switch asked.Layer2 {
	case Calico:
		return "Calico has no layer 2; nobody announces the addresses on the local network"
	case Auto:
		return "no Cilium with L2 announcements on was found; nobody announces the addresses on the local network"
	}
	return fmt.Sprintf("nobody serves layer 2 (--l2-backend is %s)", asked.Layer2)
}
