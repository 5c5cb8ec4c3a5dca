package membership

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// joinWait is how long a speaker that starts waits for an answer from others that may be there, before it goes on alone.
	joinWait = 3 * time.Second
	// joinFirst is how many answers are enough then: from those it hears of the others.
	joinFirst = 16
	// joinSome is how many of those who are missing it is tried to reach at a time, and how many of all seek one who is missing.
	joinSome = 5
	// contactSome is with how many peers at a time everything is exchanged.
	contactSome = 16
)

// join seeks the other speakers, first until some have answered, then those who are missing.
func (g *Group) join(ctx context.Context) {
	deadline := time.Now().Add(joinWait)
	for isReady := false; ctx.Err() == nil; {
		missing, err := g.missing(ctx)
		var reached, silent bool
		if isReady {
			some := g.some(missing)
			reached, silent = g.contact(ctx, some, len(some))
		} else {
			reached, silent = g.contact(ctx, shuffled(append(missing, g.state.silent(0)...)), joinFirst)
		}
		if err != nil {
			silent = true // who knows
			g.c.Log.Warn("other speakers cannot be found", "err", err)
		}
		if !isReady && (reached || !silent || time.Now().After(deadline)) {
			isReady = true
			g.c.Log.Info("joined the speakers", "members", g.state.alive(), "reached", reached)
			close(g.ready)
			g.c.Changed()
		}
		wait := g.c.Profile.joinAgain()
		if !isReady {
			wait /= 4
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// some returns whom to contact now, of those who are missing: so many that each of them is sought by a few of all members, who tell the
// others. With them are those of whom this member lacks something: gossip gets lost.
func (g *Group) some(missing []string) []string {
	alive := g.state.alive()
	missing = slices.DeleteFunc(missing, func(string) bool { return rand.IntN(alive) >= joinSome })
	silent := g.state.silent(g.c.Profile.joinAgain())
	return slices.Concat(shuffled(missing)[:min(len(missing), joinSome)], shuffled(silent)[:min(len(silent), joinSome)], g.state.returned())
}

func shuffled(list []string) []string {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// contact exchanges all that is known with peers, one after the other, until enough of them have answered: those tell of the others.
// reached is true if one has answered, silent if one may be there that did not: those who refuse a connection are certainly not.
func (g *Group) contact(ctx context.Context, peers []string, enough int) (reached, silent bool) {
	var eg errgroup.Group
	eg.SetLimit(contactSome)
	var answers atomic.Int32
	var lost atomic.Bool
	for _, p := range peers {
		eg.Go(func() error {
			if ctx.Err() != nil || int(answers.Load()) >= enough {
				return nil
			}
			_, err := g.list.Join([]string{p})
			switch {
			case err == nil:
				answers.Add(1)
			case !refused(err):
				lost.Store(true)
				g.c.Log.Debug("speaker not reached", "peer", p, "err", err)
			}
			return nil
		})
	}
	_ = eg.Wait() // the functions return none
	return answers.Load() > 0, lost.Load()
}

// refused reports whether nobody listens there. memberlist joins its errors to a text.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || containsText(err, syscall.ECONNREFUSED.Error())
}

// missing returns the peers that are no members at present.
func (g *Group) missing(ctx context.Context) ([]string, error) {
	peers, err := g.c.Peers(ctx)
	if err != nil {
		return nil, err
	}
	here := map[netip.AddrPort]bool{g.self: true}
	for _, addr := range g.state.others() {
		here[addr] = true
	}
	var out []string
	for _, p := range peers {
		for _, a := range g.resolve(ctx, p) {
			if !here[a] {
				out = append(out, a.String())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// resolve returns the addresses of a peer.
func (g *Group) resolve(ctx context.Context, peer string) []netip.AddrPort {
	if a, err := netip.ParseAddr(peer); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), g.c.BindPort)}
	}
	host, port, err := net.SplitHostPort(peer)
	if err != nil {
		host, port = peer, strconv.Itoa(int(g.c.BindPort))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		g.c.Log.Warn("peer has no valid port", "peer", peer)
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), uint16(n))}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		g.c.Log.Warn("peer cannot be resolved", "peer", peer, "err", err)
		return nil
	}
	out := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		out[i] = netip.AddrPortFrom(a.Unmap(), uint16(n))
	}
	return out
}
