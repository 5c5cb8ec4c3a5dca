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

// walkers say which walk a backend goes.
var walkers = map[string]walker{
	"calico": {routes: (*state).ofPools, cannot: widensWithOthers}, "cilium": {routes: (*state).ofServices}, "speaker": {routes: (*state).ofServices},
}

type walker struct {
	// routes are those that are meant.
	routes func(*state) Routes
	// cannot reports whether a backend cannot make a change without a moment in between that is not meant; nil: it can make all.
	cannot func(before, after *state) bool
}

// state is what a user has made in a walk.
type state struct {
	adverts map[string]walkAdvert
	zones   map[string]string // of nodes; those without the label are not in it
	web     bool              // there is a Service with webAddr from pool a; one with otherAddr from pool b is always there,
	local   map[string]bool   // advertised by nodes with an endpoint only, which are these
}

const (
	webAddr   = "198.51.100.1"
	otherAddr = "203.0.113.1"
)

// walkAdvert is a BGPAdvertisement. What is empty is not said.
type walkAdvert struct {
	pool, zone, router, community string
}

func (s *state) clone() *state {
	return &state{adverts: maps.Clone(s.adverts), zones: maps.Clone(s.zones), web: s.web, local: maps.Clone(s.local)}
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

func (a walkAdvert) selects(pool string) bool { return a.pool == "" || a.pool == pool }

// heard is what advertisements select to be told.
type heard struct {
	pool, node, router string
	with               string // the communities of those that do
}

// heard returns it for every pool, node and router.
func (s *state) heard() []heard {
	var out []heard
	for _, pool := range []string{"a", "b"} {
		for _, node := range nodeNames {
			for _, router := range []string{"r1", "r2"} {
				if by := s.with(func(a walkAdvert) bool {
					return a.selects(pool) && (a.zone == "" || a.zone == s.zones[node]) && (a.router == "" || a.router == router)
				}); by != nil {
					out = append(out, heard{pool, node, router, *by})
				}
			}
		}
	}
	return out
}

// with returns the communities of those advertisements that are chosen; nil if none is.
func (s *state) with(chosen func(walkAdvert) bool) *string {
	any, communities := false, map[string]bool{}
	for _, a := range s.adverts {
		if chosen(a) {
			any = true
			communities[a.community] = true
		}
	}
	if !any {
		return nil
	}
	delete(communities, "")
	return new(attributes(slices.Collect(maps.Keys(communities))))
}

// widensWithOthers reports whether a change has more nodes tell of a pool, or more routers hear of it, and has its routes come with other
// communities, too. Calico changes over which sessions hide a pool before it changes communities (see docs/delegation.md), so that the
// routes are heard with the old ones for a moment.
func widensWithOthers(before, after *state) bool {
	old := map[heard]bool{}
	for _, h := range before.heard() {
		h.with = ""
		old[h] = true
	}
	for _, h := range after.heard() {
		of := func(a walkAdvert) bool { return a.selects(h.pool) }
		was, is := before.with(of), after.with(of)
		if h.with = ""; !old[h] && was != nil && *was != *is {
			return true
		}
	}
	return false
}

// ofServices returns what MetalLB's documentation says that routers hear: a Service's address by every advertisement that selects its pool, the
// node and the peer, with the communities of all of them.
func (s *state) ofServices() Routes {
	out := Routes{}
	for _, h := range s.heard() {
		switch {
		case h.pool == "a" && s.web:
			out[Route{Router: h.router, To: webAddr, Node: h.node, With: h.with}] = true
		case h.pool == "b" && s.local[h.node]:
			out[Route{Router: h.router, To: otherAddr, Node: h.node, With: h.with}] = true
		}
	}
	return out
}

// ofPools returns what routers hear of a CNI whose routes are those of pools: the same nodes tell the same routers of a pool's prefix,
// whether or not there is a Service, and those with a local endpoint of its address, too. All routes of a pool have the communities of all
// advertisements of it.
func (s *state) ofPools() Routes {
	out := Routes{}
	for _, h := range s.heard() {
		with := *s.with(func(a walkAdvert) bool { return a.selects(h.pool) })
		prefix := map[string]string{"a": rangeA, "b": rangeB}[h.pool]
		out[Route{Router: h.router, To: prefix, Node: h.node, With: with}] = true
		if h.pool == "b" && s.local[h.node] {
			out[Route{Router: h.router, To: otherAddr + "/32", Node: h.node, With: with}] = true
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
			return Step{Change: "web comes", Apply: serviceAt("web", webAddr, "")}
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
	w := walkers[l.cni.Name()]
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
		Apply: docs(pooled("a", rangeA), pooled("b", rangeB), serviceAt("other", otherAddr, "externalTrafficPolicy: Local")),
	}
	everything := &state{adverts: map[string]walkAdvert{"all": {}}, web: true, local: map[string]bool{"n1": true}}
	targets := targetsOf(w.routes(everything))
	before := w.routes(now)
	s.step(&begin, before, before, targets, "", false)
	for range walkSteps {
		old := now.clone()
		step := now.change(r)
		for w.cannot != nil && w.cannot(old, now) {
			now = old.clone()
			step = now.change(r)
		}
		after := w.routes(now)
		s.step(&step, before, after, targets, "", false)
		before = after
	}
}
