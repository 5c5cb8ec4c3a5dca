package bgp

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/fairlead/fairlead/backends"
)

// Config is what a Backend needs to know.
type Config struct {
	// NodeName is what the router ID is made from where there is no IPv4 address.
	NodeName string
	// ListenPort is the TCP port on which routers may connect; 0: none, sessions are begun by the speaker only.
	ListenPort uint16
	// Changed, if not nil, is called after the state of sessions has changed. It may call the Backend. Calls do not overlap; several
	// changes may be one call.
	Changed func()
	// Log is where it logs to; nil: nowhere.
	Log *slog.Logger
}

// Backend holds BGP sessions with routers and tells them routes. It implements backends.RoutingBackend.
type Backend struct {
	config  Config
	changes chan struct{} // room for one

	mu       sync.Mutex // protects all the following
	running  bool
	gone     bool // Shutdown was called
	plan     plan
	sessions map[key]*session
	ending   map[key]int // how many sessions are on their way to their end; another may begin when there is none
	idle     []*engine
	doors    doors

	ends sync.WaitGroup // those in ending, and what Shutdown has yet to end
}

var _ backends.RoutingBackend[Session] = (*Backend)(nil)

// New returns a Backend without sessions. It opens and starts nothing before Run.
func New(c Config) *Backend {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	return &Backend{config: c, changes: make(chan struct{}, 1), sessions: map[key]*session{}, ending: map[key]int{}, doors: doors{}}
}

// Apply holds sessions with exactly want.Peers and tells them exactly want.Routes; it looks at nothing else. It returns as soon as
// the routes are on their way to peers whose session is established; the others hear them when theirs is. Sessions that end do so by
// themselves: a router that takes nothing more delays nobody.
//
// What cannot be done costs a *PeerError for each fault of a peer, and a *backends.AnnounceError for each route that no peer hears.
// A peer with a fault keeps the session that it has. A session begins anew if a setting of its peer changes, and only then. Before
// Run, the set is only stored.
func (b *Backend) Apply(_ context.Context, want backends.NodeDesired) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, errs := newPlan(want, b.settingsLocked)
	b.plan = next
	if b.running && !b.gone {
		errs = append(errs, b.reconcileLocked())
	}
	return errors.Join(errs...)
}

// settingsLocked returns the settings that a peer is served with.
func (b *Backend) settingsLocked(name string) (settings, bool) {
	for _, p := range b.plan {
		if p.name == name {
			return p.settings, true
		}
	}
	return settings{}, false
}

// reconcileLocked makes the sessions those of the plan: first it tells routes where sessions stay, then it begins and ends sessions.
func (b *Backend) reconcileLocked() error {
	var errs []error
	ended := map[*session]*fault{}
	for k, s := range b.sessions {
		p, wanted := b.plan[k]
		switch {
		case !wanted:
			ended[s] = &fault{code: codeCease, subcode: ceaseDeconfigured}
		case p.settings != s.settings:
			ended[s] = &fault{code: codeCease, subcode: ceaseConfiguration}
			if p.settings.gracefulRestart && s.gracefulRestart {
				ended[s] = nil // the routes stay until the session is back
			}
		default:
			errs = append(errs, s.setRoutes(p.name, p.routes))
			continue
		}
		delete(b.sessions, k)
	}
	b.endLocked(ended)
	errs = append(errs, b.beginMissingLocked())
	return errors.Join(append(errs, b.listenLocked())...)
}

// beginMissingLocked begins what is planned and not there, unless its predecessor has not come to its end.
func (b *Backend) beginMissingLocked() error {
	var errs []error
	for k, p := range b.plan {
		if _, held := b.sessions[k]; !held && b.ending[k] == 0 {
			errs = append(errs, b.beginLocked(p))
		}
	}
	return errors.Join(errs...)
}

func (b *Backend) beginLocked(p *planned) error {
	var e *engine
	if n := len(b.idle); n > 0 {
		e, b.idle = b.idle[n-1], b.idle[:n-1]
	} else {
		e = newEngine(b.config.Log)
	}
	s := newSession(p.settings, &b.config, e, b.note)
	b.sessions[p.settings.key] = s
	err := s.setRoutes(p.name, p.routes)
	s.start()
	return err
}

// endLocked has sessions end, all at the same time. It does not wait; b.ends does.
func (b *Backend) endLocked(ended map[*session]*fault) {
	for s, with := range ended {
		b.ending[s.key]++
		b.ends.Go(func() {
			s.stop(with)
			b.ended(s)
		})
	}
	if len(ended) > 0 {
		b.note()
	}
}

// ended takes note of a session's end; the one that is to follow begins.
func (b *Backend) ended(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle = append(b.idle, s.engine)
	if b.ending[s.key]--; b.ending[s.key] == 0 {
		delete(b.ending, s.key)
	}
	if !b.running || b.gone {
		return
	}
	if err := errors.Join(b.beginMissingLocked(), b.listenLocked()); err != nil {
		b.config.Log.Error("cannot begin every BGP session", "err", err)
	}
	b.note()
}

// note has Changed called.
func (b *Backend) note() {
	select {
	case b.changes <- struct{}{}:
	default:
	}
}

// Run holds the sessions until ctx ends. Then it closes them without a word: a router that does graceful restart (RFC 4724) keeps the
// routes. To withdraw them call Shutdown, or Apply, first. What was applied is kept and comes into effect if Run is called again.
func (b *Backend) Run(ctx context.Context) error {
	b.mu.Lock()
	if b.running {
		b.mu.Unlock()
		return errors.New("the BGP backend runs already")
	}
	b.running, b.gone = true, false
	err := b.reconcileLocked()
	b.mu.Unlock()
	if err != nil {
		b.config.Log.Error("cannot begin every BGP session", "err", err)
	}
	for ctx.Err() == nil {
		select {
		case <-b.changes:
			b.config.Changed()
		case <-ctx.Done():
		}
	}
	b.mu.Lock()
	ended := map[*session]*fault{}
	for k, s := range b.sessions {
		ended[s] = nil
		delete(b.sessions, k)
	}
	b.running = false
	b.endLocked(ended)
	err = b.listenLocked()
	b.mu.Unlock()
	b.ends.Wait()
	return err
}

// Down ends the session with a peer at once, because BFD says that its router cannot be reached (RFC 5882, 4.2; RFC 9384). It comes back
// when the router can be reached. Another peer at the same address, in another VRF or on another port, keeps its session.
func (b *Backend) Down(peer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, s := range b.sessions {
		if p := b.plan[k]; p == nil || p.name != peer {
			continue
		}
		select {
		case s.drop <- &fault{code: codeCease, subcode: ceaseBFDDown, text: "BFD says that the router cannot be reached"}:
		default:
		}
	}
}
