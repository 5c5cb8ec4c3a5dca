package announce

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEverywhere: for each node of a cluster that changes at random, Everywhere says what Routes says, and Unsaid who hears it.
func TestEverywhere(t *testing.T) {
	shared := 0
	for seed := range uint64(10) {
		b := newBothRoutes(seed, seed%2 == 0, seed%3 == 0)
		for step := range 40 {
			after := fmt.Sprintf("seed %d, step %d", seed, step)
			if step%8 == 0 {
				b.configure()
			}
			for range 4 {
				b.service()
			}
			nodes := map[string]*Node{}
			for i := range 6 {
				b.node()
				nodes[fmt.Sprint("n", i)] = b.in.Node
			}
			b.compare(t, after) // puts the Services in order
			in := b.in
			got, unsaid := Everywhere(in, nodes), Unsaid(in, nodes)
			require.Len(t, got, len(nodes))
			heard := 0
			for _, name := range slices.Sorted(maps.Keys(nodes)) {
				in.Self, in.Node = name, nodes[name]
				want := Routes(in)
				require.Equal(t, want.Routes, got[name].Routes, "%s: %s", after, name)
				require.Equal(t, want.Peers, got[name].Peers, "%s: %s", after, name)
				for id, peers := range want.Peers {
					for _, p := range peers {
						require.Contains(t, unsaid[id], NodePeer{Node: name, Peer: p}, after)
						heard++
					}
				}
			}
			for _, over := range unsaid {
				heard -= len(over)
			}
			require.Zero(t, heard, "%s: nobody else hears it", after)
			shared += len(nodes) - len(alike(got))
		}
	}
	require.Positive(t, shared, "nodes share what is decided")
}

// alike returns the decisions, each once.
func alike(of map[string]*RoutesDecision) map[*RoutesDecision]bool {
	out := map[*RoutesDecision]bool{}
	for _, d := range of {
		out[d] = true
	}
	return out
}
