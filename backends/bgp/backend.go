package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
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

// Backend holds BGP sessions with routers and tells them routes. It implements backends.Backend.
type Backend struct {
	config  Config
	changes chan struct{} // room for one

	mu       sync.Mutex // protects all the following
	running  bool
	gone     bool // Shutdown was called
	plan     plan
	sessions map[key]*session
	idle     []*engine
	doors    doors
}

var _ backends.Backend = (*Backend)(nil)

// New returns a Backend without sessions. It opens and starts nothing before Run.
func New(c Config) *Backend {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	return &Backend{config: c, changes: make(chan struct{}, 1), sessions: map[key]*session{}, doors: doors{}}
}

// Apply holds sessions with exactly want.Peers and tells them exactly want.Routes; it looks at nothing else. It returns as soon as
// GoBGP knows the routes: they are on their way to peers whose session is established, and the others hear them when theirs is.
//
// What cannot be done costs a *PeerError for each fault of a peer, and a *backends.AnnounceError for each route that no peer hears.
// A peer with a fault keeps the session that it has. A session begins anew if a setting of its peer changes, and only then. Before
// Run, the set is only stored.
func (b *Backend) Apply(_ context.Context, want backends.Desired) error {
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
	for k, p := range b.plan {
		if _, held := b.sessions[k]; !held && !slices.ContainsFunc(keys(ended), func(s *session) bool { return s.key == k }) {
			errs = append(errs, b.beginLocked(p))
		}
	}
	b.endLocked(ended)
	for k, p := range b.plan {
		if _, held := b.sessions[k]; !held {
			errs = append(errs, b.beginLocked(p))
		}
	}
	return errors.Join(append(errs, b.listenLocked())...)
}

func keys(m map[*session]*fault) []*session {
	out := make([]*session, 0, len(m))
	for s := range m {
		out = append(out, s)
	}
	return out
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

// endLocked ends sessions, all at the same time, and waits.
func (b *Backend) endLocked(ended map[*session]*fault) {
	var wg sync.WaitGroup
	for s, with := range ended {
		wg.Go(func() { s.stop(with) })
	}
	wg.Wait()
	for s := range ended {
		b.idle = append(b.idle, s.engine)
	}
	if len(ended) > 0 {
		b.note()
	}
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
	defer b.mu.Unlock()
	ended := map[*session]*fault{}
	for k, s := range b.sessions {
		ended[s] = nil
		delete(b.sessions, k)
	}
	b.endLocked(ended)
	b.running = false
	return b.listenLocked()
}

// Down ends the sessions with a router at once, because BFD says that it cannot be reached (RFC 5882, 4.2; RFC 9384). They come back
// when the router can be reached.
func (b *Backend) Down(router netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sessions {
		if at := s.snapshot().Address; at == router || at.WithZone("") == router {
			select {
			case s.drop <- &fault{code: codeCease, subcode: ceaseBFDDown, text: "BFD says that the router cannot be reached"}:
			default:
			}
		}
	}
}
