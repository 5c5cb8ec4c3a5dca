package speaker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/backends/bgp/bfd"
	"github.com/fairlead/fairlead/internal/config"
)

// BFD watches the routers of BGP sessions whose BGPPeer names a BFDProfile, and has a session end at once when its router is lost.
type BFD struct {
	server *bfd.Server
	down   func(peer string)
	told   func()
	log    *slog.Logger

	mu    sync.Mutex // protects all the following
	peers []watched
}

// watched is a peer with BFD.
type watched struct {
	peer   nodePeer
	config bfd.Config
}

// NewBFD returns a BFD without sessions. down is called with the name of each peer whose router is lost, told when a status may have
// changed.
func NewBFD(down func(peer string), told func(), log *slog.Logger) *BFD {
	b := &BFD{down: down, told: told, log: log}
	b.server = bfd.New(bfd.Options{Log: log, Changed: b.changed})
	return b
}

// Run serves until ctx ends.
func (b *BFD) Run(ctx context.Context) error { return b.server.Run(ctx) }

// changed is told of each change of a session.
func (b *BFD) changed(k bfd.Key, s bfd.Status) {
	if s.Failed && s.State != bfd.Up {
		b.log.Warn("BFD has lost a router", "peer", k.String(), "diagnostic", s.Diagnostic.String())
		for _, peer := range b.watching(k) {
			b.down(peer)
		}
	}
	b.told()
}

// watching returns the names of the peers that a session watches: an address may be that of other peers as well, in another VRF, or of
// some that have no BFD.
func (b *BFD) watching(k bfd.Key) (peers []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.peers {
		if w.config.Key() == k {
			peers = append(peers, w.peer.Source.Name)
		}
	}
	return peers
}

// set has exactly these peers watched. A peer without an address of its own is watched at the address where its session found it.
func (b *BFD) set(peers []nodePeer, sessions []bgp.Session) error {
	found := map[string]bgp.Session{}
	for _, s := range sessions {
		found[s.Peer] = s
	}
	var all []watched
	var configs []bfd.Config
	for _, p := range peers {
		if p.bfd == nil || p.Address.IsUnspecified() {
			continue
		}
		ms := func(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
		c := bfd.Config{
			Peer: p.Address, Local: p.SourceAddress, VRF: p.VRF, MultiHop: p.MultiHop, MinimumTTL: uint8(p.bfd.MinimumTTL),
			TransmitInterval: ms(p.bfd.TransmitInterval), ReceiveInterval: ms(p.bfd.ReceiveInterval),
			DetectMultiplier: uint8(p.bfd.DetectMultiplier),
			Passive:          p.bfd.PassiveMode, EchoMode: p.bfd.EchoMode, EchoInterval: ms(p.bfd.EchoInterval),
		}
		if p.Interface != "" {
			s, known := found[p.Source.Name]
			if !known || !s.Address.IsValid() {
				continue // not found yet
			}
			c.Peer, c.Interface = s.Address.WithZone(""), p.Interface
		}
		all, configs = append(all, watched{p, c}), append(configs, c)
	}
	b.mu.Lock()
	b.peers = all
	b.mu.Unlock()
	return b.server.Set(configs)
}

// stop ends all sessions; the routers are told that this is meant.
func (b *BFD) stop() {
	if err := b.set(nil, nil); err != nil {
		b.log.Debug("BFD sessions not ended", "err", err)
	}
}

// states returns the state of each watched peer, by its name.
func (b *BFD) states() map[string]bfd.Status {
	b.mu.Lock()
	peers := b.peers
	b.mu.Unlock()
	statuses := b.server.Statuses()
	out := map[string]bfd.Status{}
	for _, w := range peers {
		if s, known := statuses[w.config.Key()]; known {
			out[w.peer.Source.Name] = s
		}
	}
	return out
}

// unsupported returns what of the profiles in use is not honoured, as errors that name the BFDProfile.
func (b *BFD) unsupported() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, w := range b.peers {
		for _, u := range bfd.Unsupported(w.config) {
			errs = append(errs, &unsupportedError{w.peer.bfd.Ref, u})
		}
	}
	return errors.Join(errs...)
}

type unsupportedError struct {
	profile config.Ref
	field   bfd.UnsupportedField
}

func (e *unsupportedError) Error() string {
	return e.profile.String() + ": spec." + e.field.Field + ": " + e.field.Reason
}
