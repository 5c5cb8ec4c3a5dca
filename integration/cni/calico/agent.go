package calico

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed"
)

// answer does with CalicoNodeStatus objects what calico-node does (node/pkg/status): it fills those of its node with what BIRD says. One
// process answers for all nodes, unless c is mute.
func (c *CNI) answer(t testing.TB, l *cni.Lab) {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(Group.WithKind("CalicoNodeStatusList"))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w, err := l.Client.Watch(ctx, list)
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		w.Stop()
		<-done
	})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			o, ok := e.Object.(*unstructured.Unstructured)
			if !ok || e.Type != watch.Added || c.mute.Load() {
				continue
			}
			name, _, _ := unstructured.NestedString(o.Object, "spec", "node")
			n := c.node(name)
			if n == nil {
				continue
			}
			bgp := map[string]any{}
			for version, bird := range map[string]string{"V4": "bird", "V6": "bird6"} {
				peers, up, err := n.peers(ctx, bird)
				if err != nil {
					t.Logf("%s on %s does not say how its sessions are: %v", bird, name, err)
				}
				bgp["peers"+version], bgp["numberEstablished"+version], bgp["numberNotEstablished"+version] = peers, up, int64(len(peers))-up
			}
			o.Object["status"] = map[string]any{"lastUpdated": time.Now().UTC().Format(time.RFC3339), "bgp": bgp}
			if err := l.Client.Update(ctx, o); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
				t.Errorf("answer for %s: %v", name, err)
			}
		}
	}()
}

// kinds are what protocols of Calico's templates are named for.
var kinds = map[string]string{"Mesh": "NodeMesh", "Node": "NodePeer", "Global": "GlobalPeer"}

// peers returns the sessions of a BIRD as a CalicoNodeStatus has them, and how many of them are established.
func (n *node) peers(ctx context.Context, bird string) (peers []any, up int64, err error) {
	peers = []any{}
	birdc := testbed.Folder("bin", "bird1", strings.Replace(bird, "bird", "birdc", 1))
	out, err := exec.CommandContext(ctx, birdc, "-s", n.path(bird+".ctl"), "show", "protocols", "all").Output()
	if err != nil {
		return peers, 0, err
	}
	var peer map[string]any
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for lines.Scan() {
		line := lines.Text()
		if f := strings.Fields(line); len(f) >= 5 && !strings.HasPrefix(line, " ") {
			peer = nil
			stem, _, _ := strings.Cut(f[0], "_")
			if kinds[stem] != "" && f[1] == "BGP" {
				peer = map[string]any{"type": kinds[stem], "since": f[4], "state": "Idle"}
			}
			continue
		}
		what, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch value = strings.TrimSpace(value); {
		case peer == nil:
		case what == "BGP state" && value == "Down": // as calico-node says of a protocol that is not up
			peer["state"] = "Idle"
		case what == "BGP state":
			peer["state"] = value
		case what == "Neighbor address":
			peer["peerIP"] = value
			if peers = append(peers, peer); peer["state"] == "Established" {
				up++
			}
		}
	}
	return peers, up, lines.Err()
}
