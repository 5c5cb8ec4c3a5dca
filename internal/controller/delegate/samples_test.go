package delegate

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
)

var questions = schema.GroupVersionResource{Group: "crd.projectcalico.org", Version: "v1", Resource: calico.SessionsResource}

// calicoNodes are nodes that are asked for their sessions, in virtual time.
type calicoNodes struct {
	*sessions
	api *fake.FakeDynamicClient

	mu      sync.Mutex
	up      map[string]bool // by node: whether its session is established; a node that is not here does not answer
	writes  int
	changes int
	// keeps has the API server refuse to delete questions.
	keeps bool
}

func newCalicoNodes(samples int, nodes ...string) *calicoNodes {
	c := &calicoNodes{up: map[string]bool{}, api: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{questions: "CalicoNodeStatusList"})}
	c.sessions = &sessions{
		client: c.api, installation: "metallb-system", samples: samples, nodes: func() []string { return append([]string(nil), nodes...) }, log: slog.New(slog.DiscardHandler),
		changed: func(string) { c.count(&c.changes) },
		reports: map[string]map[string]backends.SessionReport{Calico: {}}, mute: map[string]string{},
		asked: map[string]map[string]bool{Calico: {}},
	}
	c.api.PrependReactor("*", questions.Resource, func(a clienttesting.Action) (bool, runtime.Object, error) {
		switch a := a.(type) {
		case clienttesting.CreateAction:
			c.count(&c.writes)
			go c.answer(a.GetObject().(*unstructured.Unstructured).DeepCopy())
		case clienttesting.DeleteAction:
			c.count(&c.writes)
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.keeps {
				return true, nil, apierrors.NewInternalError(errors.New("no luck"))
			}
		}
		return false, nil, nil
	})
	return c
}

func (c *calicoNodes) count(n *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
}

// taken returns a number since the last call.
func (c *calicoNodes) taken(n *int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := *n
	*n = 0
	return out
}

// answer does what calico-node does with a question, a second later.
func (c *calicoNodes) answer(q *unstructured.Unstructured) {
	time.Sleep(time.Second)
	node, _, _ := unstructured.NestedString(q.Object, "spec", "node")
	c.mu.Lock()
	up, answers := c.up[node]
	c.mu.Unlock()
	if !answers {
		return
	}
	q.Object["status"] = map[string]any{"lastUpdated": time.Now().UTC().Format(time.RFC3339), "bgp": map[string]any{"peersV4": []any{
		map[string]any{"peerIP": "192.0.2.1", "type": "GlobalPeer", "state": map[bool]string{true: "Established", false: "Active"}[up]},
	}}}
	_ = c.api.Tracker().Update(questions, q, "") // it may be gone
}

func (c *calicoNodes) set(node string, up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up[node] = up
}

// said returns what is known of the nodes' sessions, as "node:state".
func (c *calicoNodes) said() string {
	reports, _ := c.read(Calico)
	var out []string
	for _, node := range c.nodes() {
		if r, told := reports[node]; told {
			out = append(out, fmt.Sprint(node, ":", r.Sessions[0].State))
		}
	}
	return strings.Join(out, " ")
}

func (c *calicoNodes) left(t *testing.T) int {
	list, err := c.api.Tracker().List(questions, questions.GroupVersion().WithKind("CalicoNodeStatus"), "")
	require.NoError(t, err)
	return len(list.(*unstructured.UnstructuredList).Items)
}

// TestQuestions asks nodes in turn: one that is paused says nothing any more, and one whose question could not be removed is asked anew.
func TestQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalicoNodes(2, "n1", "n2", "n3")
		c.set("n1", true)
		c.set("n2", false)
		c.set("n3", true)
		go c.followCalico(t.Context(), questions)
		time.Sleep(askPatience + 5*time.Second)
		assert.Equal(t, "n1:Established n2:Active", c.said())
		assert.Zero(t, c.left(t), "each question is removed when it is answered")
		time.Sleep(askEvery)
		assert.Equal(t, "n1:Established n2:Active n3:Established", c.said())

		c.mu.Lock()
		delete(c.up, "n2") // its agent is paused
		c.mu.Unlock()
		time.Sleep(3 * askEvery)
		assert.Equal(t, "n1:Established n3:Established", c.said())
		assert.Zero(t, c.left(t))

		c.mu.Lock()
		c.keeps = true
		c.mu.Unlock()
		time.Sleep(3 * askEvery)
		assert.Positive(t, c.left(t))
		c.set("n1", false)
		c.mu.Lock()
		c.keeps = false
		c.mu.Unlock()
		time.Sleep(3 * askEvery)
		assert.Equal(t, "n1:Active n3:Established", c.said(), "it is asked again")
		assert.Zero(t, c.left(t))
	})
}

// TestManyNodes: of 500 nodes one answers; the others cost two writes each minute for each of the few that are asked. That a node does not
// answer is news once: what was said of it before is not so any more.
func TestManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nodes []string
		for i := range 500 {
			nodes = append(nodes, fmt.Sprintf("n%03d", i))
		}
		const samples = 5
		c := newCalicoNodes(samples, nodes...)
		c.set("n000", true)
		go c.followCalico(t.Context(), questions)
		time.Sleep(30 * time.Second)
		assert.Equal(t, "n000:Established", c.said())
		assert.Equal(t, 2*samples, c.taken(&c.writes))
		assert.Equal(t, samples, c.taken(&c.changes))
		assert.False(t, c.unknown(Calico, "n000"))
		assert.False(t, c.unknown(Calico, "n001"), "it has been asked and does not answer")
		assert.True(t, c.unknown(Calico, "n499"))
		time.Sleep(99 * askEvery) // the last of all nodes is asked
		assert.False(t, c.unknown(Calico, "n499"))
		assert.Equal(t, len(nodes)-samples, c.taken(&c.changes))
		c.taken(&c.writes)
		time.Sleep(99 * askEvery)
		assert.Equal(t, 2*samples*99, c.taken(&c.writes))
		assert.Equal(t, "n000:Established", c.said())
		assert.Zero(t, c.taken(&c.changes))
	})
}
