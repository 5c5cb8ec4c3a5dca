package membership

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/wake"
)

const (
	// doubtWait is how long this speaker waits for what others say, when it has reason to doubt what it knows.
	doubtWait = 500 * time.Millisecond
	// tick is how often it is looked whether this process has stood still.
	tick = 100 * time.Millisecond
	// sendToAll is up to how many members are told of a change at once, instead of by gossip alone.
	sendToAll = 64
	// maxPacket is the longest message that gossip carries: memberlist's packets have 1400 bytes, with what it and encryption add. It leaves
	// a longer one in its queue for good.
	maxPacket = 1200
	// maxQueued is how many messages wait to be gossiped; if there are more, those that have been sent most often are dropped.
	maxQueued = 10_000
	// streamSome is to how many speakers at a time a longer one is sent.
	streamSome = 16
	// leaveTimeout is how long a farewell may take.
	leaveTimeout = 500 * time.Millisecond
)

// Config says how a Group is set up.
type Config struct {
	// Node is the name of this member; no two may have the same.
	Node string
	// BindAddr and BindPort are where the others reach this member, by UDP and TCP. Advertise is the address that they are told,
	// if BindAddr is unspecified.
	BindAddr  netip.Addr
	BindPort  uint16
	Advertise netip.Addr
	// Transport is what carries packets and streams, instead of sockets of BindAddr and BindPort; nil: those.
	Transport memberlist.Transport
	Profile   Profile
	// Secret is what all members have in common; packets are encrypted by a key made from it. Empty: they are not encrypted.
	Secret []byte
	// Peers returns where other members may be, as host or host:port.
	Peers func(context.Context) ([]string, error)
	// Changed is called when anything about the members has changed; it must not block.
	Changed func()
	// Joined is called when a member has appeared, or appeared again; it must not block.
	Joined func(node string)
	Log    *slog.Logger
}

// Member is a speaker that is alive, as it tells of itself.
type Member struct {
	// Leaving is set if it is about to end.
	Leaving bool
	// Links are the interfaces that it can announce on.
	Links []backends.Link
	// SameSubnet is set if it announces an address only on a link whose subnet contains it.
	SameSubnet bool
	// Claims are the addresses that it announces.
	Claims map[netip.Addr]bool
}

// Group is the speakers of a cluster, as this one sees them.
type Group struct {
	c     Config
	state *state
	list  *memberlist.Memberlist
	up    atomic.Bool    // there is a list
	self  netip.AddrPort // as the others are told
	queue memberlist.TransmitLimitedQueue
	stale atomic.Bool
	// streams are the messages that are on their way by TCP.
	streams sync.WaitGroup
	ready   chan struct{}

	doubts wake.Signal
}

// New returns a Group; it starts nothing.
func New(c Config) *Group {
	g := &Group{c: c, state: newState(c.Node, uint64(time.Now().UnixNano()), time.Now), ready: make(chan struct{}), doubts: wake.New()}
	g.queue = memberlist.TransmitLimitedQueue{NumNodes: g.audience, RetransmitMult: c.Profile.base().RetransmitMult}
	return g
}

// audience is for how many members gossip sends what it carries often enough. Where not all are told at once they are taken for at least
// 1,000: with 100, every 3,000th message would fail to reach a member, and nobody would tell it until everything is exchanged.
func (g *Group) audience() int {
	n := g.state.alive()
	if n > sendToAll {
		n = max(n, 999)
	}
	return n
}

// Listen has other speakers reach this one. It is called once, before Run.
func (g *Group) Listen() error {
	c := &g.c
	mc := c.Profile.base()
	mc.Name, mc.BindAddr, mc.BindPort, mc.AdvertisePort = c.Node, c.BindAddr.String(), int(c.BindPort), int(c.BindPort)
	if c.BindAddr.IsUnspecified() && c.Advertise.IsValid() {
		mc.AdvertiseAddr = c.Advertise.String()
	}
	if len(c.Secret) > 0 {
		key := sha256.Sum256(c.Secret)
		mc.SecretKey = key[:]
	}
	// A speaker that comes back under another address is the same speaker.
	mc.DeadNodeReclaimTime = time.Second
	mc.Delegate, mc.Events, mc.Transport = delegate{g}, events{g}, c.Transport
	mc.Logger = logger(c.Log)
	var err error
	if g.list, err = memberlist.Create(mc); err != nil {
		return fmt.Errorf("listen for other speakers on %s: %w", netip.AddrPortFrom(c.BindAddr, c.BindPort), err)
	}
	g.self = addrOf(g.list.LocalNode())
	g.up.Store(true)
	return nil
}

// Run keeps in touch with the other speakers until ctx ends. Then it says farewell.
func (g *Group) Run(ctx context.Context) error {
	eg, ctx := errgroup.WithContext(ctx)
	eg.Go(func() error { g.join(ctx); return nil })
	eg.Go(func() error { g.watchClock(ctx); return nil })
	err := eg.Wait()
	if leave := g.list.Leave(leaveTimeout); leave != nil {
		g.c.Log.Debug("farewell not heard", "err", leave)
	}
	g.up.Store(false)
	g.streams.Wait()
	return errors.Join(err, g.list.Shutdown())
}

// Ready is closed when the other speakers have been heard, or when there are none to wait for.
func (g *Group) Ready() <-chan struct{} { return g.ready }

// Stale reports whether this process has stood still for so long that others may have taken over what it announces, and has not
// heard from them since.
func (g *Group) Stale() bool { return g.stale.Load() }

// Change is what has become of a speaker.
type Change struct {
	Node string
	// Member is the whole of what it says. If it is nil and Claims is, too, the speaker is not alive, or has not said anything.
	Member *Member
	// Claims are the addresses that it has begun to announce, or does not any more; nothing else has changed.
	Claims map[netip.Addr]bool
}

// Changes returns what has become of speakers, this one included, since it was called last; at first all that are alive. It has one caller.
func (g *Group) Changes() []Change { return g.state.changes() }

// Members returns the speakers that are alive, this one included, by node. Each value is the caller's.
func (g *Group) Members() map[string]Member { return g.state.members() }

// Addrs returns the addresses of the speakers that are alive, this one included: those of their nodes.
func (g *Group) Addrs() []netip.Addr {
	if !g.up.Load() {
		return nil
	}
	var out []netip.Addr
	for _, m := range g.list.Members() {
		out = append(out, addrOf(m).Addr().Unmap())
	}
	return out
}

// SetLinks tells the others on which interfaces this speaker can announce.
func (g *Group) SetLinks(links []backends.Link, sameSubnet bool) {
	encoded := encodeLinks(links)
	g.spread(g.state.say(func(a *about) { a.Links, a.SameSubnet = encoded, sameSubnet }))
}

// SetLeaving tells the others that this speaker is about to end.
func (g *Group) SetLeaving() { g.spread(g.state.say(func(a *about) { a.Leaving = true })) }

// Claim tells the others which addresses this speaker announces: exactly these.
func (g *Group) Claim(addrs map[netip.Addr]bool) {
	for _, p := range g.state.claim(addrs) {
		g.spread(&p)
	}
}

// spread sends what is new to all at once if there are few, and lets gossip do the rest. What fits into no packet goes to all by TCP.
func (g *Group) spread(p *part) {
	if p == nil {
		return
	}
	message := encode(*p)
	others := g.state.others()
	if len(message) > maxPacket {
		g.streams.Go(func() { g.stream(others, message) })
		return
	}
	g.gossip(message)
	if len(others) > sendToAll {
		return
	}
	for node, addr := range others {
		g.send(node, addr, message)
	}
}

// gossip leaves a message to gossip.
func (g *Group) gossip(message []byte) {
	g.queue.QueueBroadcast(broadcast(message))
	if g.queue.NumQueued() > maxQueued {
		g.queue.Prune(maxQueued)
	}
}

// tell sends a message to one speaker, if it is alive.
func (g *Group) tell(node string, message []byte) {
	if addr, alive := g.state.others()[node]; alive {
		g.send(node, addr, message)
	}
}

func (g *Group) send(node string, addr netip.AddrPort, message []byte) {
	if !g.up.Load() {
		return
	}
	// memberlist's own list of members is not to be read: it changes under the reader's hands.
	if err := g.list.SendToAddress(memberlist.Address{Addr: addr.String(), Name: node}, message); err != nil {
		g.c.Log.Debug("speaker not told", "node", node, "err", err)
	}
}

// stream sends a message to speakers, to some at a time. Who is not reached hears it with the next exchange of everything.
func (g *Group) stream(to map[string]netip.AddrPort, message []byte) {
	var senders errgroup.Group
	senders.SetLimit(streamSome)
	for node, addr := range to {
		senders.Go(func() error {
			if !g.up.Load() {
				return nil
			}
			n := &memberlist.Node{Name: node, Addr: addr.Addr().AsSlice(), Port: addr.Port()}
			if err := g.list.SendReliable(n, message); err != nil {
				g.c.Log.Debug("speaker not told", "node", node, "err", err)
			}
			return nil
		})
	}
	_ = senders.Wait() // none fails
}

// Doubt has this speaker ask the others how things are, and be Stale until it has heard them: it has reason to believe that it was cut
// off. It does not block.
func (g *Group) Doubt() {
	g.stale.Store(true)
	g.doubts.Set()
}

// watchClock notices that this process stood still, and has others asked how things are, then and when there is doubt.
func (g *Group) watchClock(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-g.doubts.C():
			g.ask(ctx)
		case <-ticker.C:
			if gap := time.Since(last); gap > g.c.Profile.asleep() && g.state.alive() > 1 {
				g.c.Log.Warn("this process stood still; asking the other speakers how things are", "seconds", gap.Seconds())
				g.stale.Store(true)
				g.c.Changed()
				g.ask(ctx)
			}
		}
		last = time.Now()
	}
}

// ask exchanges all that is known with some of the speakers that there may be, and waits until those whom this one believes dead
// have objected. Then nothing is stale any more, also if nobody answers.
func (g *Group) ask(ctx context.Context) {
	var peers []string
	for _, addr := range g.state.others() {
		peers = append(peers, addr.String())
	}
	missing, err := g.missing(ctx)
	if err != nil {
		g.c.Log.Warn("other speakers cannot be found", "err", err)
	}
	peers = append(peers, missing...)
	peers = shuffled(peers)
	enough := time.After(doubtWait)
	before := g.state.alive()
	answered := make(chan struct{})
	go func() {
		g.contact(ctx, peers[:min(len(peers), 2*joinSome)], 2*joinSome)
		close(answered)
	}()
	again := time.NewTicker(doubtWait / 50)
	defer again.Stop()
	for waiting := len(peers) > 0; waiting; {
		select {
		case <-ctx.Done():
			waiting = false
		case <-enough:
			waiting = false
		case <-answered:
			answered = nil
			waiting = len(missing) > 0
		case <-again.C:
			waiting = answered != nil || g.state.alive() == before
		}
	}
	g.stale.Store(false)
	g.c.Changed()
}

// addrOf returns where a member is reached.
func addrOf(n *memberlist.Node) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(addr.Unmap(), n.Port)
}
