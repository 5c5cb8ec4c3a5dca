package cilium

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestLayer2: what Cilium's agents announce on the local network is what the L2Advertisements say.
func TestLayer2(t *testing.T) {
	c := New()
	c.TwoInterfaces = true
	l := cni.NewLab(t, c)
	p := l.Bed.Start(t, l.Namespace, "--backend=cilium")
	for _, row := range Layer2Rows() {
		t.Run(row.Name, func(t *testing.T) {
			s := cni.NewScene(t, l)
			c.announces(t, l, "before the row", "")
			for _, step := range row.Steps {
				for _, change := range step.Label {
					s.Label(change)
				}
				s.Apply(step.Apply)
				for _, name := range step.Delete {
					s.Remove(name)
				}
				c.announces(t, l, step.Change, step.Announced)
			}
		})
	}
	if t.Failed() {
		t.Logf("controller:\n%s", p.Log())
	}
}

// stays is for how long announcements have to be as they are meant.
const stays = time.Second

// announces waits until the agents announce what is meant, and nothing else, all the time; see cni.Step.Announced.
func (c *CNI) announces(t *testing.T, l *cni.Lab, change, want string) {
	t.Helper()
	var since time.Time
	start := time.Now()
	testbed.Eventually(t, change+": announcements to be\n"+want, func(context.Context) error {
		got, err := c.announced(l)
		if err == nil {
			err = compare(got, want)
		}
		switch {
		case err != nil:
			since = time.Time{}
			return err
		case since.IsZero():
			since = time.Now()
		}
		if time.Since(since) < stays {
			return fmt.Errorf("not for %s yet", stays)
		}
		return nil
	})
	t.Logf("%s: after %.1f s", change, since.Sub(start).Seconds())
}

// announced returns who announces, by address and interface.
func (c *CNI) announced(l *cni.Lab) (map[string][]string, error) {
	out := map[string][]string{}
	for _, node := range slices.Sorted(maps.Keys(c.Agents)) {
		text, err := os.ReadFile(dump(l, node))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if what, ok := strings.CutPrefix(strings.TrimSpace(line), "l2 "); ok {
				out[what] = append(out[what], node)
			}
		}
	}
	return out, nil
}

// compare says in what announcements are not as meant.
func compare(got map[string][]string, want string) error {
	rest := maps.Clone(got)
	for line := range strings.Lines(want) {
		what, by, exact := strings.Cut(strings.TrimSpace(line), " by ")
		if nodes := rest[what]; len(nodes) != 1 || exact && nodes[0] != by {
			return fmt.Errorf("%s is announced by %q; all: %v", what, nodes, got)
		}
		delete(rest, what)
	}
	if len(rest) > 0 {
		return fmt.Errorf("announced and not meant: %v", rest)
	}
	return nil
}

// TestCompare: the test's own judge sees what is too much, too little, and by another node.
func TestCompare(t *testing.T) {
	got := map[string][]string{"198.51.100.0 on eth0": {"n1"}}
	require.NoError(t, compare(got, "198.51.100.0 on eth0"))
	require.NoError(t, compare(got, "198.51.100.0 on eth0 by n1"))
	require.Error(t, compare(got, "198.51.100.0 on eth0 by n2"))
	require.Error(t, compare(got, "198.51.100.0 on eth1"))
	require.Error(t, compare(got, ""))
	require.Error(t, compare(map[string][]string{"198.51.100.0 on eth0": {"n1", "n2"}}, "198.51.100.0 on eth0"))
}
