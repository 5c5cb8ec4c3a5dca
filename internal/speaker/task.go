// Package speaker is what a speaker does: it decides with all others, each for itself and all the same, who announces an address
// (internal/announce), has its backend announce what is its own, hands over what is not any more, and tells what it does: to the
// other speakers, by ServiceL2Status objects, events and metrics.
package speaker

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/process/yield"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/speaker/membership"
)

const (
	// retryAfter is how soon it is tried again to announce what could not be announced.
	retryAfter = time.Second
	// leaveWait is how long a speaker that ends goes on answering until others have taken over.
	leaveWait = handoverWait
)

// Announcer is the backend that answers on the local network.
type Announcer = backends.LinkBackend

// Options are what a Task needs.
type Options struct {
	Node, Namespace string
	// Asked is who serves L2Advertisements that name nobody: a backend's name, or Auto.
	Asked string
	// Sticky, IgnoreExclude and SameSubnet are the flags of these names.
	Sticky, IgnoreExclude, SameSubnet bool
	// NoServiceBGPStatus is what BGPOptions have.
	NoServiceBGPStatus bool
	// Owner is set as the owner of the objects that tell of what this speaker does; nil if it runs outside a pod.
	Owner *Owner

	Feed      *Feed
	Life      *Life
	Cache     cache.Cache
	Client    client.Client
	Group     *membership.Group
	Announcer Announcer
	// Links rings when the interfaces that can announce have changed, Members when anything about the other speakers has, and Joined when one
	// has appeared, or appeared again.
	Links, Members, Joined *wake.Bell

	// Pace is what writes of statuses give way by to requests of others; nil: to none.
	Pace     *yield.Pacer
	Recorder events.EventRecorder
	Metrics  *Metrics
	Log      *slog.Logger
}

// Task is the running whole of this package.
type Task struct {
	Options
	handover *handover
	probes   *probes
	aside    *aside
	status   *statusWriter
	changed  wake.Signal

	table     *announce.Table         // touched by step alone, as is all until linking
	changes   *observe.Changes        // of the cluster; nil: nothing has been taken yet
	snapshot  *config.Snapshot        // that the table goes by
	handed    []string                // what the controller has handed to the speakers, as the table knows it
	announced map[netip.Addr]bool     // what the backend answers for
	owners    map[netip.Addr]string   // who announced an address before
	rivals    map[netip.Addr][]string // who else said that they announce what is ours
	told      map[netip.Addr]string   // the last failure told of; touched by step alone

	linking  sync.Mutex // held while links are read and told
	mu       sync.Mutex // protects all the following
	unlinked bool       // there was no link the last time
	since    time.Time  // of the first change that has not been looked at yet
}

// NewTask returns a Task; it starts nothing.
func NewTask(o Options) *Task {
	t := &Task{
		Options: o, handover: newHandover(o.Node), changed: wake.New(), announced: map[netip.Addr]bool{}, owners: map[netip.Addr]string{},
		table: announce.NewTable(o.IgnoreExclude, o.Sticky), rivals: map[netip.Addr][]string{}, told: map[netip.Addr]string{}, status: newStatusWriter(o),
	}
	t.probes, t.aside = newProbes(), newAside(o)
	t.probes.wake, t.probes.aside = t.Wake, t.aside.add
	t.probes.ask = func(ctx context.Context, addrs map[netip.Addr][]string) map[netip.Addr]backends.Taken {
		return t.Announcer.Probe(ctx, addrs, t.nodeAddrs(ctx))
	}
	o.Feed.Listen(t.Wake)
	o.Members.Listen(t.Wake)
	o.Links.Listen(t.lookAtLinks)
	// It may not have heard what this one announced, and clients on its side of the network may have learned another owner.
	o.Joined.Listen(func() { o.Announcer.Repeat() })
	return t
}

// nodeAddrs returns the addresses of the cluster's nodes, as far as they are known.
func (t *Task) nodeAddrs(ctx context.Context) []netip.Addr {
	out := t.Group.Addrs()
	var nodes corev1.NodeList
	if err := t.Cache.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		t.Log.Warn("addresses of nodes are not known", "err", err)
	}
	for i := range nodes.Items {
		out = append(out, service.NodeAddressesOf(&nodes.Items[i])...)
	}
	return out
}

// Wake has the task look at everything again, soon. It does not block.
func (t *Task) Wake() {
	t.mu.Lock()
	if t.since.IsZero() {
		t.since = time.Now()
	}
	t.mu.Unlock()
	t.changed.Set()
}

// lookAtLinks takes in which interfaces can announce at present; of two calls the later one tells the newer.
func (t *Task) lookAtLinks() {
	t.linking.Lock()
	defer t.linking.Unlock()
	t.setLinks(t.Announcer.Links())
}

// setLinks takes in which interfaces can announce.
func (t *Task) setLinks(links []backends.Link) {
	t.mu.Lock()
	returned := t.unlinked && len(links) > 0
	t.unlinked = len(links) == 0
	t.mu.Unlock()
	if returned {
		// This node was cut off, and may be the only one that does not know who has its addresses now.
		t.Group.Doubt()
	}
	t.Group.SetLinks(links, t.SameSubnet)
	t.Life.tell(&presence.Links{Links: links, SameSubnet: t.SameSubnet, IgnoreExclude: t.IgnoreExclude,
		NoServiceBGPStatus: t.NoServiceBGPStatus})
	t.Wake()
}

// Run serves until ctx ends, and then until others have taken over what this node announces, or leaveWait is over. The cache, the
// Group and the Announcer must go on meanwhile; inner ends when they do, and ctx with it.
func (t *Task) Run(ctx, inner context.Context) error {
	if err := t.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	writing, stop := context.WithCancel(inner)
	var g errgroup.Group
	g.Go(func() error { return t.status.run(writing) })
	g.Go(func() error { return t.aside.run(writing) })
	t.follow(ctx, inner)
	if inner.Err() == nil {
		t.leave(inner)
	}
	t.Life.tell(nil)
	stop()
	return g.Wait()
}

// prepare waits until everything is known that a decision needs.
func (t *Task) prepare(ctx context.Context) error {
	if err := t.Feed.wait(ctx); err != nil {
		return err
	}
	if err := t.status.keep.Follow(ctx); err != nil {
		return err
	}
	t.lookAtLinks()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.Group.Ready():
	}
	t.Wake()
	return nil
}

// follow decides anew after each change until ctx ends.
func (t *Task) follow(ctx, inner context.Context) {
	wake.Loop{News: t.changed}.Run(ctx, func(context.Context) (time.Duration, error) { return wake.Until(t.step(inner)), nil })
}

// leave hands over, for as long as there is something and it may take, and then falls silent.
func (t *Task) leave(inner context.Context) {
	t.Log.Info("handing over", "addresses", len(t.handover.held))
	ctx, stop := context.WithTimeout(inner, leaveWait)
	defer stop()
	t.Group.SetLeaving()
	t.Wake()
	wake.Loop{News: t.changed}.Run(ctx, func(context.Context) (time.Duration, error) {
		again := t.step(inner)
		if len(t.handover.held) == 0 {
			stop()
		}
		return wake.Until(again), nil
	})
	t.handover.silence()
	t.apply(inner, nil)
}

// step decides and acts. It returns when to do so again if nothing else happens, zero for never.
func (t *Task) step(ctx context.Context) (again time.Time) {
	t.mu.Lock()
	since := t.since
	t.since = time.Time{}
	t.mu.Unlock()
	if t.Group.Stale() {
		// Others may have taken over meanwhile: nothing is said before they have been heard. Then there is another step.
		t.handover.silence()
		t.apply(ctx, nil)
		return time.Time{}
	}
	t.learn()
	addrs, services := t.table.Decide()
	t.probes.forget(slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return t.table.Held(a) || len(t.table.Claimants(a)) > 0 }))
	was := t.announced
	wanted, again := t.handover.settle(time.Now(), addrs, t.table)
	refused := t.probes.hold(ctx, wanted, time.Now())
	failed := t.apply(ctx, wanted)
	if len(failed) > 0 && (again.IsZero() || time.Until(again) > retryAfter) {
		again = time.Now().Add(retryAfter)
	}
	if len(refused) > 0 && again.IsZero() {
		again = time.Now().Add(takenFor)
	}
	maps.Copy(failed, refused)
	t.correct()
	t.report(addrs, was, since, failed)
	t.status.set(services, t.announced, t.table)
	return again
}

// learn hands the table what has changed since the last step.
func (t *Task) learn() {
	snapshot, published, cluster := t.Feed.current()
	var handed []string
	if published != nil {
		handed = published.Status.Owned.Objects
	}
	if snapshot != t.snapshot || !slices.Equal(handed, t.handed) {
		t.snapshot, t.handed = snapshot, handed
		t.table.Configure(snapshot, servesL2(t.Asked, published))
	}
	if t.changes == nil {
		t.changes = cluster.Watch()
	}
	t.changes.Take(t.table.SetService, t.table.SetNode)
	for _, c := range t.Group.Changes() {
		switch {
		case c.Member != nil:
			t.probes.hear(c.Member.Claims)
			t.table.SetSpeaker(c.Node, (*announce.Speaker)(c.Member))
		case c.Claims != nil:
			t.probes.hear(c.Claims)
			for addr, yes := range c.Claims {
				t.table.SetClaim(c.Node, addr, yes)
			}
		default:
			t.table.SetSpeaker(c.Node, nil)
		}
	}
}

// apply has the backend announce exactly these addresses, and tells the other speakers. It returns which failed, and why.
func (t *Task) apply(ctx context.Context, wanted map[netip.Addr][]string) map[netip.Addr]error {
	var desired backends.NodeDesired
	for _, addr := range slices.SortedFunc(maps.Keys(wanted), netip.Addr.Compare) {
		desired.Addresses = append(desired.Addresses, backends.LinkAddress{Addr: addr, Interfaces: wanted[addr]})
	}
	failed := map[netip.Addr]error{}
	err := t.Announcer.Apply(ctx, desired)
	for _, e := range flatten(err) {
		if a, ok := e.(*backends.AnnounceError); ok {
			failed[a.Prefix.Addr()] = a.Err
			continue
		}
		t.Log.Error("backend could not apply everything", "backend", protocolLayer2, "err", e)
	}
	now := make(map[netip.Addr]bool, len(wanted))
	for addr := range wanted {
		if failed[addr] == nil {
			now[addr] = true
		}
	}
	t.announced = now
	t.Group.Claim(now)
	return failed
}

// correct announces again what others have announced too: clients may have learned them, and nobody else will tell them otherwise
// when those fall silent.
func (t *Task) correct() {
	var again []netip.Addr
	for addr := range t.handover.own {
		rivals := t.table.Placement(addr).Claimants
		if !slices.Equal(rivals, t.rivals[addr]) {
			again, t.rivals[addr] = append(again, addr), rivals
		}
	}
	maps.DeleteFunc(t.rivals, func(addr netip.Addr, rivals []string) bool { return len(rivals) == 0 || !t.handover.own[addr] })
	if len(again) > 0 {
		t.Log.Info("announcing again what another node announced, too", "addrs", again)
		t.Announcer.Repeat(again...)
	}
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	return backends.Flatten(err)
}

// report tells of what has changed. addrs are those on which something has been decided anew.
func (t *Task) report(addrs []netip.Addr, was map[netip.Addr]bool, since time.Time, failed map[netip.Addr]error) {
	for addr := range t.announced {
		if was[addr] || !t.handover.ours(addr) {
			continue
		}
		from := t.owners[addr]
		t.Log.Info("announcing", "addr", addr, "from", from)
		if from != "" && from != t.Node {
			t.Metrics.tookOver(time.Since(since))
		}
	}
	for addr := range was {
		if !t.announced[addr] {
			to := ""
			if p := t.table.Placement(addr); p != nil {
				to = p.Node
			}
			t.Log.Info("not announcing any more", "addr", addr, "to", to)
		}
	}
	for addr := range t.told {
		if failed[addr] == nil {
			delete(t.told, addr)
		}
	}
	for addr, err := range failed {
		if !t.handover.ours(addr) || t.told[addr] == err.Error() {
			continue
		}
		t.told[addr] = err.Error()
		t.Log.Warn("address not announced", "addr", addr, "err", err)
		for _, id := range t.table.Placement(addr).Services {
			t.status.failed(id, addr, err)
		}
	}
	for _, addr := range addrs {
		switch p, claimants := t.table.Placement(addr), t.table.Claimants(addr); {
		case p == nil:
			delete(t.owners, addr)
		case p.Node != "":
			t.owners[addr] = p.Node
		case len(claimants) > 0:
			t.owners[addr] = claimants[0]
		}
	}
	t.Metrics.show(t.announced, t.table)
}
