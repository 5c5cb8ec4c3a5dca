package cni

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Route is one way to an address or a prefix, as one router hears it from one node.
type Route struct {
	Router string
	To     string // an address, or a prefix
	Node   string
	// With are the communities, sorted and separated by spaces; with "pref N" before them for a local preference other than 100.
	With string
}

// String returns the Route as Rows write it.
func (r Route) String() string {
	out := fmt.Sprintf("%s: %s from %s", r.Router, r.To, r.Node)
	if r.With != "" {
		out += " with " + r.With
	}
	return out
}

func (r Route) compare(o Route) int {
	return cmp.Or(strings.Compare(r.Router, o.Router), strings.Compare(r.To, o.To), strings.Compare(r.Node, o.Node), strings.Compare(r.With, o.With))
}

// Routes is a set of them.
type Routes map[Route]bool

// String returns the routes, one a line, in a fixed order.
func (r Routes) String() string {
	if len(r) == 0 {
		return "  none"
	}
	var lines []string
	for _, x := range slices.SortedFunc(maps.Keys(r), Route.compare) {
		lines = append(lines, "  "+x.String())
	}
	return strings.Join(lines, "\n")
}

// without returns those of r that are not in o.
func (r Routes) without(o Routes) Routes {
	out := maps.Clone(r)
	maps.DeleteFunc(out, func(x Route, _ bool) bool { return o[x] })
	return out
}

func (r Routes) and(o Routes) Routes {
	out := maps.Clone(r)
	maps.Copy(out, o)
	return out
}

func (r Routes) inBoth(o Routes) Routes {
	out := maps.Clone(r)
	maps.DeleteFunc(out, func(x Route, _ bool) bool { return !o[x] })
	return out
}

// bare returns the routes without what comes with them: whether there is one.
func (r Routes) bare() Routes {
	out := Routes{}
	for x := range r {
		x.With = ""
		out[x] = true
	}
	return out
}

// Parse reads routes as Rows write them, one a line:
//
//	r1 r2: 198.51.100.1 from n1 n2 with 64512:8 no-export
//	r2: 198.51.100.0/28 from all with pref 200
//
// An address stands for the longest prefix that a router has for it; a prefix is that prefix. "all" are all nodes.
func Parse(text string, nodes []string) (Routes, error) {
	out := Routes{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		routers, rest, ok1 := strings.Cut(line, ": ")
		to, rest, ok2 := strings.Cut(rest, " from ")
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%q is not of the form \"routers: address from nodes [with communities]\"", line)
		}
		from, with, _ := strings.Cut(rest, " with ")
		sources := strings.Fields(from)
		if from == "all" {
			sources = nodes
		}
		for _, router := range strings.Fields(routers) {
			for _, node := range sources {
				out[Route{Router: router, To: to, Node: node, With: attributes(strings.Fields(with))}] = true
			}
		}
	}
	return out, nil
}

// attributes puts what comes with a route into the order of Route.With.
func attributes(words []string) string {
	pref := ""
	if len(words) > 1 && words[0] == "pref" {
		pref, words = "pref "+words[1]+" ", words[2:]
	}
	slices.Sort(words)
	return strings.TrimSpace(pref + strings.Join(words, " "))
}

// usualPref is the local preference that says nothing (RFC 4271 leaves it to the router; it is 100 in FRR and in BIRD).
const usualPref = 100

// sight is what a router heard: by whom, and by what way.
type sight struct {
	router, node string
	prefix       netip.Prefix
	pref         uint32
	communities  []string
}

// route says it of what it leads to.
func (s *sight) route(to string) Route {
	words := slices.Clone(s.communities)
	if s.pref != 0 && s.pref != usualPref {
		words = append([]string{"pref", strconv.Itoa(int(s.pref))}, words...)
	}
	return Route{Router: s.router, To: to, Node: s.node, With: attributes(words)}
}

// reduce tells what was seen in the words of a Row. Of targets, those that are addresses are reached by the longest prefix that a router
// has, and those that are prefixes by just that. What leads to no target is told as it is.
func reduce(seen []sight, targets map[string]bool) Routes { return ways(seen, targets, true) }

// reachable tells what was seen as reduce does, but that an address is reached by any prefix: while each node changes a prefix for a longer or
// shorter one in its own time, a router has routes of all of them, and sends to those with the longest.
func reachable(seen []sight, targets map[string]bool) Routes { return ways(seen, targets, false) }

func ways(seen []sight, targets map[string]bool, onlyLongest bool) Routes {
	out := Routes{}
	used := make([]bool, len(seen))
	for to := range targets {
		if p, err := netip.ParsePrefix(to); err == nil {
			for i := range seen {
				if seen[i].prefix == p {
					out[seen[i].route(to)], used[i] = true, true
				}
			}
			continue
		}
		addr, err := netip.ParseAddr(to)
		if err != nil {
			continue
		}
		longest := map[string]int{}
		for i := range seen {
			if seen[i].prefix.Contains(addr) {
				used[i] = true
				longest[seen[i].router] = max(longest[seen[i].router], seen[i].prefix.Bits())
			}
		}
		for i := range seen {
			if s := &seen[i]; s.prefix.Contains(addr) && (!onlyLongest || s.prefix.Bits() == longest[s.router]) {
				out[s.route(to)] = true
			}
		}
	}
	for i := range seen {
		if !used[i] {
			out[seen[i].route(seen[i].prefix.String())] = true
		}
	}
	return out
}

func targetsOf(all ...Routes) map[string]bool {
	out := map[string]bool{}
	for _, r := range all {
		for x := range r {
			out[x.To] = true
		}
	}
	return out
}
