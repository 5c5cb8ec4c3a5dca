package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/keep/keeptest"
)

const testNamespace = "metallb-system"

func newDesk(t *testing.T) *keeptest.Desk {
	return keeptest.New(t, cli.NewScheme(), &v1beta1.ServiceL2Status{}, &v1beta1.ServiceBGPStatus{}, &v1alpha1.BGPSession{})
}

// at runs a writer of status objects until the test ends, or stop is called; it returns when that has ended.
func at(t *testing.T, prepare, run func(context.Context) error) (stop func()) {
	t.Helper()
	require.NoError(t, prepare(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		assert.NoError(t, run(ctx))
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// settle lets time pass in which everything is written.
func settle() {
	time.Sleep(2 * sessionPeriod)
	synctest.Wait()
}

type nobody struct{}

func (nobody) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}

var (
	status4 = netip.MustParseAddr("192.0.2.1")
	status6 = netip.MustParseAddr("2001:db8::1")
)

func l2Writer(d *keeptest.Desk, node string) *statusWriter {
	return newStatusWriter(Options{Node: node, Namespace: testNamespace, Cache: d.Cache(), Client: d, Recorder: nobody{}, Log: slog.New(slog.DiscardHandler)})
}

// plan is what has been decided.
type plan struct {
	placements map[netip.Addr]*announce.Placement
	services   map[types.NamespacedName]*announce.Service
	claims     func(node string, addr netip.Addr) bool
}

func (p plan) Placement(addr netip.Addr) *announce.Placement     { return p.placements[addr] }
func (p plan) Service(id types.NamespacedName) *announce.Service { return p.services[id] }
func (p plan) Claims(node string, addr netip.Addr) bool          { return p.claims(node, addr) }

// twoServices has a node announce one Service of each family.
func twoServices(w *statusWriter, node string) {
	p := plan{placements: map[netip.Addr]*announce.Placement{}, services: map[types.NamespacedName]*announce.Service{}}
	for i, addr := range []netip.Addr{status4, status6} {
		s := &announce.Service{Namespace: "default", Name: fmt.Sprint("web", i), Addrs: []netip.Addr{addr}}
		p.services[s.ID()] = s
		p.placements[addr] = &announce.Placement{Node: node, Services: []types.NamespacedName{s.ID()}, Interfaces: []string{"eth0"}}
	}
	w.set(slices.Collect(maps.Keys(p.services)), map[netip.Addr]bool{status4: true, status6: true}, p)
}

// TestStatusOf: the node of the first address that is announced at all tells of a Service, while it does announce it; what has not been
// decided anew, and is announced as before, stays as it is said.
func TestStatusOf(t *testing.T) {
	w := l2Writer(newDesk(t), "a")
	id := types.NamespacedName{Namespace: "default", Name: "web"}
	p := plan{placements: map[netip.Addr]*announce.Placement{}, services: map[types.NamespacedName]*announce.Service{
		id: {Namespace: id.Namespace, Name: id.Name, Addrs: []netip.Addr{status4, status6}},
	}}
	at := func(addr netip.Addr, node string) {
		p.placements[addr] = &announce.Placement{Node: node, Services: []types.NamespacedName{id}}
	}
	both := map[netip.Addr]bool{status4: true, status6: true}
	says := func(anew bool, announced map[netip.Addr]bool) bool {
		var services []types.NamespacedName
		if anew {
			services = append(services, id)
		}
		w.set(services, announced, p)
		_, says := w.want[id]
		return says
	}
	at(status4, "a")
	at(status6, "b")
	assert.True(t, says(true, both))
	assert.False(t, says(false, map[netip.Addr]bool{status6: true}), "it is not announced any more, though nothing has been decided")
	assert.True(t, says(false, both), "it is again")
	at(status4, "b")
	assert.False(t, says(true, both), "b tells of it")
	at(status4, "")
	at(status6, "a")
	assert.True(t, says(true, both), "the first address is not announced at all")
	delete(p.services, id)
	delete(p.placements, status6)
	assert.False(t, says(true, both), "it is gone")
}

func l2Statuses(t *testing.T, d *keeptest.Desk) []v1beta1.ServiceL2Status {
	var list v1beta1.ServiceL2StatusList
	require.NoError(t, d.List(t.Context(), &list))
	return list.Items
}

// TestGossipCut has two speakers that both announce, because they do not hear each other; each keeps to its own objects.
func TestGossipCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		long := strings.Repeat("n", 63) + ".example.org" // the label is not the name
		a, b := l2Writer(d, "a"), l2Writer(d, long)
		stop := at(t, a.keep.Follow, a.run)
		at(t, b.keep.Follow, b.run)
		for range 20 {
			twoServices(a, "a")
			twoServices(b, long)
			settle()
		}
		assert.Equal(t, 4, d.Writes("create"), "one for each Service and node")
		assert.Equal(t, 4, d.Writes("patch"))
		assert.Zero(t, d.Writes("delete"))

		stop()
		left := l2Statuses(t, d)
		require.Len(t, left, 2)
		for _, x := range left {
			assert.Equal(t, long, x.Status.Node, "each removes its own")
			assert.Equal(t, []v1beta1.InterfaceInfo{{Name: "eth0"}}, x.Status.Interfaces)
		}
	})
}

// router is a Router with one session for each family.
type router struct{ Router }

func (router) Sessions() []bgp.Session {
	return []bgp.Session{
		{Peer: "tor-4", Address: netip.MustParseAddr("192.0.2.254"), State: bgp.Established, Since: time.Unix(1_700_000_000, 0)},
		{Peer: "tor6", Address: netip.MustParseAddr("2001:db8::fe"), State: bgp.Established, Since: time.Unix(1_700_000_000, 0)},
	}
}

// TestBGPStatusPutRight has somebody remove and edit objects of a speaker.
func TestBGPStatusPutRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		log := slog.New(slog.DiscardHandler)
		w := newBGPStatus(BGPOptions{Node: "n1", Namespace: testNamespace, Cache: d.Cache(), Client: d, Recorder: nobody{}, Router: router{}, BFD: NewBFD(nil, nil, log), Log: log})
		old := &v1alpha1.BGPSession{}
		old.Namespace, old.Name, old.Labels = testNamespace, "n1-tor-4", map[string]string{labelNode: "n1"} // as it was called before
		foreign := old.DeepCopy()
		foreign.Name, foreign.Labels = "n1-tor-x", map[string]string{labelNode: "n1-tor"}
		require.NoError(t, d.Create(t.Context(), old))
		require.NoError(t, d.Create(t.Context(), foreign))
		stop := at(t, w.prepare, w.run)
		peers := map[types.NamespacedName][]string{{Namespace: "default", Name: "web4"}: {"tor-4"}, {Namespace: "default", Name: "web6"}: {"tor6"}}
		w.set(nil, slices.Collect(maps.Keys(peers)), func(id types.NamespacedName) []string { return peers[id] })
		settle()
		sessions := func() map[string]*v1alpha1.BGPSession {
			var list v1alpha1.BGPSessionList
			require.NoError(t, d.List(t.Context(), &list))
			out := map[string]*v1alpha1.BGPSession{}
			for i := range list.Items {
				out[list.Items[i].Name] = &list.Items[i]
			}
			return out
		}
		services := func() (out []v1beta1.ServiceBGPStatus) {
			var list v1beta1.ServiceBGPStatusList
			require.NoError(t, d.List(t.Context(), &list))
			return list.Items
		}
		names := []string{"n1-tor-x", sessionName("n1", "tor-4"), "n1-tor6"}
		for range 2 {
			all := sessions()
			require.Len(t, all, 3)
			for _, name := range names {
				require.Contains(t, all, name)
			}
			require.Len(t, services(), 2)
			for _, x := range services() {
				assert.Equal(t, "n1", x.Status.Node)
				assert.Len(t, x.Status.Peers, 1)
				assert.NotEqual(t, "nobody", x.Status.Peers[0])
			}
			assert.Equal(t, "tor6", all["n1-tor6"].Status.Peer)
			before := d.Writes("")
			w.sessionsChanged(false)
			settle()
			require.Equal(t, before, d.Writes(""), "nothing is written again")

			require.NoError(t, d.Delete(t.Context(), all[names[1]]))
			all["n1-tor6"].Status.State, all["n1-tor6"].Status.Peer = "Idle", "other"
			require.NoError(t, d.Status().Update(t.Context(), all["n1-tor6"]))
			list := services()
			require.NoError(t, d.Delete(t.Context(), &list[0]))
			list[1].Status.Peers = []string{"nobody"}
			require.NoError(t, d.Status().Update(t.Context(), &list[1]))
			settle()
		}
		stop()
		assert.Empty(t, services())
		assert.Len(t, sessions(), 3, "they stay, and say how the sessions are")
	})
}

// counting is a Router with one session whose counter rises.
type counting struct {
	Router
	prefixes int
}

func (c *counting) Sessions() []bgp.Session {
	c.prefixes++
	return []bgp.Session{{Peer: "tor", Address: netip.MustParseAddr("192.0.2.254"), State: bgp.Established, Since: time.Unix(1_700_000_000, 0), Prefixes: c.prefixes}}
}

// TestCounters: a session whose counters change, and nothing else, is written once a minute.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		log := slog.New(slog.DiscardHandler)
		w := newBGPStatus(BGPOptions{Node: "n1", Namespace: testNamespace, Cache: d.Cache(), Client: d, Recorder: nobody{}, Router: &counting{}, BFD: NewBFD(nil, nil, log), Log: log})
		at(t, w.prepare, w.run)
		w.set(nil, nil, nil)
		for range 300 {
			w.sessionsChanged(false)
			time.Sleep(time.Second)
		}
		assert.Equal(t, 1, d.Writes("create"))
		assert.InDelta(t, 6, d.Writes("patch"), 1)
	})
}
