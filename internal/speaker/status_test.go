package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/cli"
)

const testNamespace = "metallb-system"

// desk is an API server whose caches are never behind, or stand still while frozen is set. It counts what is written.
type desk struct {
	client.Client
	cache.Cache // nil: nothing is watched
	frozen      client.Client
	serial      int
	creates     int
	deletes     int
	patches     int
}

func newDesk() *desk {
	d := &desk{}
	d.Client = fake.NewClientBuilder().WithScheme(cli.NewScheme()).WithStatusSubresource(&v1beta1.ServiceL2Status{}, &v1beta1.ServiceBGPStatus{}, &v1alpha1.BGPSession{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				d.serial++
				d.creates++
				o.SetUID(types.UID(fmt.Sprint("uid-", d.serial)))
				return c.Create(ctx, o, opts...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, o client.Object, _ ...client.DeleteOption) error {
				d.deletes++
				return c.Delete(ctx, o) // it knows no preconditions
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				d.patches++
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	return d
}

func (d *desk) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return d.Client.Get(ctx, k, o, opts...)
}

func (d *desk) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	if d.frozen != nil {
		return d.frozen.List(ctx, l, opts...)
	}
	return d.Client.List(ctx, l, slices.DeleteFunc(slices.Clone(opts), func(o client.ListOption) bool { return o == client.UnsafeDisableDeepCopy })...)
}

func (d *desk) writes() int { return d.creates + d.deletes + d.patches }

type nobody struct{}

func (nobody) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}

var (
	status4 = netip.MustParseAddr("192.0.2.1")
	status6 = netip.MustParseAddr("2001:db8::1")
)

func l2Writer(d *desk, node string) *statusWriter {
	w := newStatusWriter(Options{Node: node, Namespace: testNamespace, Cache: d, Client: d.Client, Recorder: nobody{}, Log: slog.New(slog.DiscardHandler)})
	v := view{announced: map[netip.Addr]bool{status4: true, status6: true}, decision: announce.Decision{Placements: map[netip.Addr]*announce.Placement{}}}
	for i, addr := range []netip.Addr{status4, status6} {
		v.services = append(v.services, announce.Service{Namespace: "default", Name: fmt.Sprint("web", i), Addrs: []netip.Addr{addr}})
		v.decision.Placements[addr] = &announce.Placement{Node: node, Services: []int{i}, Interfaces: []string{"eth0"}}
	}
	w.set(v)
	return w
}

func l2Statuses(t *testing.T, d *desk) []v1beta1.ServiceL2Status {
	var list v1beta1.ServiceL2StatusList
	require.NoError(t, d.Client.List(t.Context(), &list))
	return list.Items
}

// TestGossipCut has two speakers that both announce, because they do not hear each other; each keeps to its own objects.
func TestGossipCut(t *testing.T) {
	d := newDesk()
	long := strings.Repeat("n", 63) + ".example.org" // the label is not the name
	a, b := l2Writer(d, "a"), l2Writer(d, long)
	for range 20 {
		require.NoError(t, a.write(t.Context()))
		require.NoError(t, b.write(t.Context()))
	}
	assert.Equal(t, 4, d.creates, "one for each Service and node")
	assert.Equal(t, 4, d.patches)
	assert.Zero(t, d.deletes)

	require.NoError(t, a.retract(t.Context()))
	left := l2Statuses(t, d)
	require.Len(t, left, 2)
	for _, x := range left {
		assert.Equal(t, long, x.Status.Node, "each removes its own")
	}
}

// TestL2StatusPutRight has somebody remove one object and edit another.
func TestL2StatusPutRight(t *testing.T) {
	d := newDesk()
	w := l2Writer(d, "a")
	require.NoError(t, w.write(t.Context()))
	was := l2Statuses(t, d)
	require.Len(t, was, 2)
	require.NoError(t, d.Client.Delete(t.Context(), &was[0]))
	was[1].Status.Node, was[1].Status.Interfaces = "b", nil
	require.NoError(t, d.Client.Status().Update(t.Context(), &was[1]))
	require.NoError(t, w.write(t.Context()))
	now := l2Statuses(t, d)
	require.Len(t, now, 2)
	for _, x := range now {
		assert.Equal(t, "a", x.Status.Node)
		assert.Equal(t, []v1beta1.InterfaceInfo{{Name: "eth0"}}, x.Status.Interfaces)
	}
	before := d.writes()
	require.NoError(t, w.write(t.Context()))
	assert.Equal(t, before, d.writes(), "nothing is written again")
}

// TestSlowCache has a cache that does not show what was created: it is not created twice, and is removed all the same.
func TestSlowCache(t *testing.T) {
	d := newDesk()
	d.frozen = newDesk().Client
	w := l2Writer(d, "a")
	for range 3 {
		require.NoError(t, w.write(t.Context()))
	}
	require.Len(t, l2Statuses(t, d), 2)
	w.set(view{})
	require.NoError(t, w.write(t.Context()))
	assert.Empty(t, l2Statuses(t, d))
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
	d := newDesk()
	log := slog.New(slog.DiscardHandler)
	w := newBGPStatus(BGPOptions{Node: "n1", Namespace: testNamespace, Cache: d, Client: d.Client, Recorder: nobody{}, Router: router{}, BFD: NewBFD(nil, nil, log), Log: log})
	old := &v1alpha1.BGPSession{}
	old.Namespace, old.Name, old.Labels = testNamespace, "n1-tor-4", map[string]string{labelNode: "n1"} // as it was called before
	foreign := old.DeepCopy()
	foreign.Name, foreign.Labels = "n1-tor-x", map[string]string{labelNode: "n1-tor"}
	require.NoError(t, d.Client.Create(t.Context(), old))
	require.NoError(t, d.Client.Create(t.Context(), foreign))
	var own v1alpha1.BGPSessionList
	require.NoError(t, d.List(t.Context(), &own, mine(testNamespace, "n1")...))
	for i := range own.Items {
		w.sessions[own.Items[i].Name] = &own.Items[i] // as prepare does
	}
	w.set(bgpView{
		services: []announce.Service{{Namespace: "default", Name: "web4"}, {Namespace: "default", Name: "web6"}}, peers: map[int][]string{0: {"tor-4"}, 1: {"tor6"}},
	})
	require.NoError(t, w.write(t.Context()))
	sessions := func() map[string]*v1alpha1.BGPSession {
		var list v1alpha1.BGPSessionList
		require.NoError(t, d.Client.List(t.Context(), &list))
		out := map[string]*v1alpha1.BGPSession{}
		for i := range list.Items {
			out[list.Items[i].Name] = &list.Items[i]
		}
		return out
	}
	services := func() (out []v1beta1.ServiceBGPStatus) {
		var list v1beta1.ServiceBGPStatusList
		require.NoError(t, d.Client.List(t.Context(), &list))
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
		}
		assert.Equal(t, "tor6", all["n1-tor6"].Status.Peer)
		before := d.writes()
		require.NoError(t, w.write(t.Context()))
		require.Equal(t, before, d.writes(), "nothing is written again")

		require.NoError(t, d.Client.Delete(t.Context(), all[names[1]]))
		all["n1-tor6"].Status.State, all["n1-tor6"].Status.Peer = "Idle", "other"
		require.NoError(t, d.Client.Status().Update(t.Context(), all["n1-tor6"]))
		list := services()
		require.NoError(t, d.Client.Delete(t.Context(), &list[0]))
		list[1].Status.Peers = []string{"nobody"}
		require.NoError(t, d.Client.Status().Update(t.Context(), &list[1]))
		require.NoError(t, w.write(t.Context()))
	}
}
