package localcluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// AnswerCalico does with CalicoNodeStatus objects what calico-node does (node/pkg/status of projectcalico/calico): it fills those of nodes with
// what their BIRDs say of their sessions. folder returns where LayCalico has laid out a node, empty: it does not answer; tools is the folder of
// birdc and birdc6. complain is called with what fails, also if no more is answered because the API server has ended the watch. It watches when it returns, until ctx ends; then done is closed.
func AnswerCalico(ctx context.Context, c client.WithWatch, tools string, folder func(node string) string, complain func(error)) (done chan struct{}, err error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "CalicoNodeStatusList"})
	w, err := c.Watch(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("watch CalicoNodeStatus objects: %w", err)
	}
	done = make(chan struct{})
	go func() {
		defer close(done)
		defer w.Stop()
		for e := range w.ResultChan() {
			o, ok := e.Object.(*unstructured.Unstructured)
			if !ok || e.Type != watch.Added {
				continue
			}
			name, _, _ := unstructured.NestedString(o.Object, "spec", "node")
			dir := folder(name)
			if dir == "" {
				continue
			}
			status, err := calicoStatus(ctx, tools, dir)
			if err != nil && ctx.Err() == nil {
				complain(fmt.Errorf("the sessions of node %q: %w", name, err))
			}
			o.Object["status"] = status
			if err := c.Update(ctx, o); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
				complain(fmt.Errorf("answer for node %q: %w", name, err))
			}
		}
		if ctx.Err() == nil {
			complain(errors.New("the API server has ended the watch of CalicoNodeStatus objects: no more is answered"))
		}
	}()
	return done, nil
}

// calicoStatus is what the BIRDs of a node say. One that does not run has no sessions.
func calicoStatus(ctx context.Context, tools, dir string) (map[string]any, error) {
	bgp := map[string]any{}
	var failed error
	for version, suffix := range map[string]string{"V4": "", "V6": "6"} {
		socket := filepath.Join(dir, "bird"+suffix+".ctl")
		peers, up := []any{}, int64(0)
		if _, err := os.Stat(socket); err == nil {
			if peers, up, err = birdSessions(ctx, filepath.Join(tools, "birdc"+suffix), socket); err != nil {
				failed = errors.Join(failed, fmt.Errorf("bird%s: %w", suffix, err))
			}
		}
		bgp["peers"+version], bgp["numberEstablished"+version], bgp["numberNotEstablished"+version] = peers, up, int64(len(peers))-up
	}
	return map[string]any{"lastUpdated": time.Now().UTC().Format(time.RFC3339), "bgp": bgp}, failed
}

// sessionKinds are what protocols of Calico's templates are named for.
var sessionKinds = map[string]string{"Mesh": "NodeMesh", "Node": "NodePeer", "Global": "GlobalPeer"}

// birdSessions returns the sessions of a BIRD as a CalicoNodeStatus has them, and how many of them are established.
func birdSessions(ctx context.Context, birdc, socket string) (peers []any, up int64, err error) {
	peers = []any{}
	out, err := exec.CommandContext(ctx, birdc, "-s", socket, "show", "protocols", "all").Output()
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
			if sessionKinds[stem] != "" && f[1] == "BGP" {
				peer = map[string]any{"type": sessionKinds[stem], "since": f[4], "state": "Idle"}
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
