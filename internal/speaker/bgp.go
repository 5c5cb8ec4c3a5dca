package speaker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/config/password"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/process/yield"
)

// protocolBGP is the value of the label protocol, and what events say.
const protocolBGP = "bgp"

const (
	// coalesceBGP is how long a change waits for others to come along.
	coalesceBGP = 5 * time.Millisecond
	// easeBGP bounds what deciding costs while something changes all the time: 3 % of a processor, as long as a step takes 5 ms or less. Nothing
	// waits longer than easeMostBGP.
	easeBGP, easeMostBGP = 30, 150 * time.Millisecond
	// retryBGP is when it is tried again what did not work.
	retryBGP = 10 * retryAfter
)

// Router is the backend that holds BGP sessions.
type Router = backends.RoutingBackend[bgp.Session]

// BGPOptions are what a BGP task needs.
type BGPOptions struct {
	Node, Namespace string
	// Asked is who serves BGPAdvertisements that name nobody: a backend's name, or Auto.
	Asked         string
	IgnoreExclude bool
	// DrainCordoned has routers prefer other nodes while this one is cordoned.
	DrainCordoned bool
	// ShutdownWait is how long routers get to prefer other nodes before routes are withdrawn.
	ShutdownWait time.Duration
	// NoServiceBGPStatus has no ServiceBGPStatus objects written, of which there is one for each Service and node.
	NoServiceBGPStatus bool
	Owner              *Owner

	Feed   *Feed
	Cache  cache.Cache
	Client client.Client
	Router Router
	BFD    *BFD
	// Sessions rings when the state of sessions has changed, with routers or of BFD.
	Sessions *wake.Bell
	// Pace is what Options have.
	Pace     *yield.Pacer
	Recorder events.EventRecorder
	Metrics  *Metrics
	// Waits is called with why peers of this node cannot be served yet; it must not block.
	Waits func([]config.Fault)
	Log   *slog.Logger
}

// BGP advertises by BGP what this node is to advertise, and tells of it.
type BGP struct {
	BGPOptions
	status     *bgpStatus
	changed    wake.Signal
	complained map[string]bool // failures that have been logged; touched by step alone, as is all until mu
	unnamed    unnamed

	table    *announce.RouteTable
	changes  *observe.Changes                    // of the cluster; nil: nothing has been taken yet
	snapshot *config.Snapshot                    // that the table goes by, as it does by serves
	handed   []string                            // what the controller has handed to the speakers, as serves knows it
	serves   func(*config.BGPAdvertisement) bool // whether the speakers serve it
	node     *announce.Node                      // this one; nil if there is no such Node

	mu    sync.Mutex // protects peers
	peers []nodePeer
}

// nodePeer is a peer of this node, and how it is watched.
type nodePeer struct {
	backends.Peer
	bfd *config.BFDProfile // nil: not at all
	ref config.Ref         // of the BGPPeer
}

// NewBGP returns a BGP task; it starts nothing.
func NewBGP(o BGPOptions) *BGP {
	t := &BGP{
		BGPOptions: o, status: newBGPStatus(o), changed: wake.New(), complained: map[string]bool{},
		table: announce.NewRouteTable(o.Node, o.IgnoreExclude, o.DrainCordoned),
	}
	o.Feed.Listen(t.wake)
	o.Sessions.Listen(t.sessionsChanged)
	return t
}

func (t *BGP) wake() { t.changed.Set() }

// sessionsChanged tells of sessions whose state has changed. It does not block.
func (t *BGP) sessionsChanged() {
	t.status.sessionsChanged(false)
	t.unnumbered()
}

// unnumbered has the routers watched by BFD that sessions have found by now.
func (t *BGP) unnumbered() {
	t.mu.Lock()
	peers := t.peers
	t.mu.Unlock()
	for _, p := range peers {
		if p.bfd != nil && p.Interface != "" {
			t.wake()
			return
		}
	}
}

// Run serves until ctx ends, and then goes away without losing a packet. The cache and the Router must go on meanwhile; inner ends
// when they do, and ctx with it.
func (t *BGP) Run(ctx, inner context.Context) error {
	if err := t.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	writing, stop := context.WithCancel(inner)
	var g errgroup.Group
	g.Go(func() error { return t.status.run(writing) })
	t.follow(ctx, inner)
	if inner.Err() == nil {
		// A node that is not on its way out gets a new speaker soon, and forwards until then.
		t.Router.Shutdown(inner, backends.Leave{Wait: t.ShutdownWait, Back: !t.leaving()})
		t.BFD.stop() // after the sessions, lest a router take it for a failure
		t.status.retract()
	}
	stop()
	return g.Wait()
}

// event tells of an error on the user's object that it is about, if there is one.
func (t *BGP) event(err error, peers []nodePeer) {
	switch e := err.(type) {
	case *unsupportedError:
		t.Recorder.Eventf(e.profile.Reference(), nil, corev1.EventTypeWarning, string(backends.UnsupportedField), "Announce",
			"node %q: spec.%s: %s",
			t.Node, e.field.Field, e.field.Reason)
	case *bgp.PeerError:
		for _, p := range peers {
			if p.Source == e.Peer {
				t.Recorder.Eventf(p.ref.Reference(), nil, corev1.EventTypeWarning, eventPeerNotReady, "Announce", "node %q: %s", t.Node, e.Message())
			}
		}
	}
}

// leaving reports whether the node is about to go: it is cordoned, or there is no such Node any more.
func (t *BGP) leaving() bool {
	_, _, cluster := t.Feed.current()
	n, known := cluster.Nodes()[t.Node]
	return !known || n.Cordoned
}

func (t *BGP) prepare(ctx context.Context) error {
	if err := t.Feed.wait(ctx); err != nil { // from then on the cache can be read
		return err
	}
	if err := follow.Handle(ctx, t.Cache, func(_, _ client.Object) { t.wake() }, &corev1.Secret{}); err != nil {
		return err
	}
	return t.status.prepare(ctx)
}

// follow decides anew after each change until ctx ends.
func (t *BGP) follow(ctx, inner context.Context) {
	t.wake()
	wake.Loop{
		News: t.changed, Gather: coalesceBGP, Ease: easeBGP, EaseMost: easeMostBGP, First: retryBGP, Last: retryBGP,
	}.Run(ctx, func(context.Context) (time.Duration, error) { return 0, t.step(inner) })
}

// step decides and acts; it returns what did not work, of which it has told.
func (t *BGP) step(ctx context.Context) error {
	t.learn()
	services := t.table.Decide()
	want := backends.NodeDesired{Routes: t.table.Routes()}
	var watched []nodePeer
	// A session is held only while the speakers serve BGP at all: another daemon of the node may hold it otherwise.
	if t.node != nil && slices.ContainsFunc(t.snapshot.BGPAdvertisements(), t.serves) {
		asked := t.snapshot.BGPPeers()
		for i, p := range announce.Peers(t.snapshot, password.Of(ctx, t.Cache, t.Namespace)) { // in the same order
			if !p.SelectsNode(t.node.Labels) {
				continue
			}
			p = announce.OnNode(p, asked[i].FromNode, t.Node, t.node.Annotations)
			want.Peers = append(want.Peers, p)
			watched = append(watched, nodePeer{Peer: p, bfd: asked[i].BFD, ref: asked[i].Ref})
		}
	}
	t.mu.Lock()
	t.peers = watched
	t.mu.Unlock()
	err := t.Router.Apply(ctx, want)
	err = errors.Join(err, t.BFD.set(watched, t.Router.Sessions()))
	now := map[string]bool{}
	faults := map[string]string{}
	for _, e := range flatten(errors.Join(err, t.BFD.unsupported())) {
		now[e.Error()] = true
		if p, ok := e.(*bgp.PeerError); ok {
			faults[p.Peer.Name] = e.Error()
		}
		if !t.complained[e.Error()] {
			t.Log.Warn("backend could not apply everything", "backend", protocolBGP, "err", e)
			t.event(e, watched)
		}
	}
	var waits []config.Fault
	for _, p := range watched {
		if p.Unready != "" {
			faults[p.Source.Name] = p.Unready
			waits = append(waits, config.Fault{Object: p.ref, Field: "spec.passwordSecret", Problem: p.Unready, Waits: true})
		}
	}
	t.Waits(waits)
	t.complained = now
	t.Metrics.showRoutes(services, t.table)
	t.status.set(faults, services, t.table.Peers)
	return err
}

// learn hands the table what has changed since the last step.
func (t *BGP) learn() {
	snapshot, published, cluster := t.Feed.current()
	var handed []string
	if published != nil {
		handed = published.Status.Owned.Objects
	}
	if snapshot != t.snapshot || !slices.Equal(handed, t.handed) {
		t.snapshot, t.handed = snapshot, handed
		t.unnamed = t.unnamed.next(snapshot, published)
		t.serves = servesBGP(t.Asked, published, t.unnamed)
		t.table.Configure(snapshot, t.serves)
	}
	if t.changes == nil {
		t.changes = cluster.Watch()
	}
	t.changes.Take(t.table.SetService, func(name string, n *announce.Node) {
		if name == t.Node {
			t.node = n
			t.table.SetNode(n)
		}
	})
}
