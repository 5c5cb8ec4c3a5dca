package cni

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// walkSteps is how many changes a walk makes.
	walkSteps = 40
	// seedEnv repeats the walk that has printed this seed.
	seedEnv = "FAIRLEAD_TEST_SEED"
)

// walkers are the backends that can do all that a walk asks for.
var walkers = []string{"cilium", "speaker"}

// state is what a user has made in a walk.
type state struct {
	adverts map[string]walkAdvert
	zones   map[string]string // of nodes; those without the label are not in it
	web     bool              // there is a Service with 198.51.100.1 from pool a; one with 203.0.113.1 from pool b is always there,
	local   map[string]bool   // advertised by nodes with an endpoint only, which are these
}

// walkAdvert is a BGPAdvertisement. What is empty is not said.
type walkAdvert struct {
	pool, zone, router, community string
}

func (a walkAdvert) yaml(name string) string {
	var spec []string
	add := func(format, value string) {
		if value != "" {
			spec = append(spec, fmt.Sprintf(format, value))
		}
	}
	add("ipAddressPools: [%s]", a.pool)
	add("nodeSelectors: [{matchLabels: {zone: %s}}]", a.zone)
	add("peers: [%s]", a.router)
	add("communities: [%q]", a.community)
	return advert(name, strings.Join(spec, ", "))
}

// routes returns what MetalLB's documentation says that routers hear: a Service's address by every advertisement that selects its pool, the
// node and the peer, with the communities of all of them.
func (s *state) routes() Routes {
	out := Routes{}
	for _, svc := range []struct {
		addr, pool string
		from       func(node string) bool
	}{
		{"198.51.100.1", "a", func(string) bool { return s.web }},
		{"203.0.113.1", "b", func(node string) bool { return s.local[node] }},
	} {
		for _, node := range nodeNames {
			for _, router := range []string{"r1", "r2"} {
				heard, communities := false, map[string]bool{}
				for _, a := range s.adverts {
					if a.pool != "" && a.pool != svc.pool || a.zone != "" && a.zone != s.zones[node] || a.router != "" && a.router != router {
						continue
					}
					heard = true
					communities[a.community] = true
				}
				delete(communities, "")
				if heard && svc.from(node) {
					out[Route{Router: router, To: svc.addr, Node: node, With: attributes(slices.Collect(maps.Keys(communities)))}] = true
				}
			}
		}
	}
	return out
}

// change makes one change of the state, and returns it as a Step.
func (s *state) change(r *rand.Rand) Step {
	one := func(all ...string) string { return all[r.IntN(len(all))] }
	switch r.IntN(10) {
	case 0, 1:
		node, zone := one(nodeNames...), one("", "a", "b")
		if s.zones[node] = zone; zone == "" {
			delete(s.zones, node)
			return Step{Change: node + " is in no zone", Label: []string{node + " zone-"}}
		}
		return Step{Change: node + " is in zone " + zone, Label: []string{node + " zone=" + zone}}
	case 2:
		if s.web = !s.web; s.web {
			return Step{Change: "web comes", Apply: serviceAt("web", "198.51.100.1", "")}
		}
		return Step{Change: "web goes", Delete: []string{"Service/web"}}
	case 3:
		s.local = map[string]bool{}
		for _, n := range nodeNames {
			if r.IntN(2) == 0 {
				s.local[n] = true
			}
		}
		on := strings.Join(slices.Sorted(maps.Keys(s.local)), " ")
		return Step{Change: "endpoints on " + on, Endpoints: map[string]string{"other": on}}
	}
	name := one("one", "two", "three")
	if _, is := s.adverts[name]; is && r.IntN(3) == 0 {
		delete(s.adverts, name)
		return Step{Change: name + " goes", Delete: []string{"BGPAdvertisement/" + name}}
	}
	a := walkAdvert{one("", "a", "b"), one("", "a", "b"), one("", "", "r1", "r2"), one("", "64512:1", "64512:2")}
	s.adverts[name] = a
	return Step{Change: fmt.Sprintf("%s is %+v", name, a), Apply: a.yaml(name)}
}

// walk makes random changes, one after the other, and judges each as a Row's.
func (l *Lab) walk(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("%s=%d", seedEnv, seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it is to be repeated
	s := newScene(t, l)
	l.start(t)
	s.withPeers()
	s.await("no routes before the walk", Routes{}, nil)
	if c, ok := l.cni.(Settler); ok {
		c.Settle(t, l)
	}
	defer s.end()
	now := &state{adverts: map[string]walkAdvert{}, zones: map[string]string{}, local: map[string]bool{"n1": true, "n2": true}}
	begin := Step{
		Change: "two pools and a Service", Endpoints: map[string]string{"other": "n1 n2"},
		Apply: docs(pooled("a", rangeA), pooled("b", rangeB), serviceAt("other", "203.0.113.1", "externalTrafficPolicy: Local")),
	}
	targets := map[string]bool{"198.51.100.1": true, "203.0.113.1": true}
	before := now.routes()
	s.step(&begin, before, before, targets, "", false)
	for range walkSteps {
		step := now.change(r)
		after := now.routes()
		s.step(&step, before, after, targets, "", false)
		before = after
	}
}
