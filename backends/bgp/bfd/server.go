package bfd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how a Server works. The zero value of each field has a meaning.
type Options struct {
	// Log is where it logs to; nil: nowhere.
	Log *slog.Logger
	// Changed, if not nil, is called with each change of a session's State, soon. Calls do not overlap and nothing is locked, so it
	// may call the Server. If it is slow, changes are left out, but never that a session which was Up was not for a while.
	// It is not called for sessions that Set removes.
	Changed func(Key, Status)
	// Namespace calls a function that opens sockets in the network namespace that they are to be in; nil: that of the process.
	Namespace func(func() error) error
}

// Server holds sessions.
type Server struct {
	log     *slog.Logger
	changed func(Key, Status)
	network network
	sooner  chan struct{} // the timers are to look again
	told    chan struct{} // there is news
	serving sync.WaitGroup

	mu              sync.Mutex // protects all the following
	running         bool
	want            map[Key]Config
	sessions        map[Key]*session // while running
	byDiscriminator map[uint32]*session
	bySource        map[source][]*session
	listeners       map[endpoint]*opened
	unused          bool       // some listener may be
	garbage         []listener // to be closed when mu is not held
	timers          timers
	news            []*session // those with something pending
	dropped         [reasons]uint64
	complained      [reasons]complaint
	buffer          []byte
}

// opened is a listener that is served.
type opened struct {
	listener
	at endpoint
}

// New returns a Server without sessions. It opens and starts nothing before Run.
func New(o Options) *Server {
	s := &Server{
		log: o.Log, changed: o.Changed, network: kernel{enter: o.Namespace},
		sooner: make(chan struct{}, 1), told: make(chan struct{}, 1),
		want: map[Key]Config{}, sessions: map[Key]*session{}, byDiscriminator: map[uint32]*session{},
		bySource: map[source][]*session{}, listeners: map[endpoint]*opened{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Namespace == nil {
		s.network = kernel{enter: func(open func() error) error { return open() }}
	}
	return s
}

// Set makes exactly these sessions exist. One that is there already goes on; if its intervals or its multiplier have changed, it
// changes them without going down. One that is not wanted any more is taken down as by an administrator: the peer is told so, and
// is to infer nothing of it about the path. A Config with a fault costs an error and leaves the session as it was; so does a second
// one with the same Key. A session that cannot send or receive yet costs an error, too, and is tried again by itself.
//
// Before Run the sessions are only stored.
func (s *Server) Set(configs []Config) error {
	var errs []error
	want := make(map[Key]Config, len(configs))
	s.mu.Lock()
	defer s.unlock()
	for _, c := range configs {
		key := c.Key()
		_, twice := want[key]
		err := c.Validate()
		switch {
		case twice:
			errs = append(errs, fmt.Errorf("BFD session with %s: it is asked for twice", key))
		case err == nil:
			want[key] = c.complete()
		default:
			errs = append(errs, err)
			if old, ok := s.want[key]; ok {
				want[key] = old
			}
		}
	}
	s.want = want
	if s.running {
		errs = append(errs, s.applyLocked(time.Now()))
	}
	return errors.Join(errs...)
}

// applyLocked makes the sessions those that are wanted.
func (s *Server) applyLocked(now time.Time) error {
	var errs []error
	for _, key := range slices.SortedFunc(maps.Keys(s.want), compareKeys) {
		c := s.want[key]
		x, ok := s.sessions[key]
		switch {
		case ok && x.leaving.IsZero() && x.config == c:
		case ok && x.leaving.IsZero():
			x.config = c
			x.machine.configure(now, s.timingOf(c))
			s.timeLocked(x, true)
		default:
			if ok {
				s.dropLocked(x)
			}
			errs = append(errs, s.addLocked(now, c))
		}
	}
	for key, x := range s.sessions {
		if _, ok := s.want[key]; !ok && x.leaving.IsZero() {
			s.leaveLocked(now, x)
		}
	}
	return errors.Join(errs...)
}

func (s *Server) addLocked(now time.Time, c Config) error {
	local := rand.Uint32()
	for local == 0 || s.byDiscriminator[local] != nil {
		local = rand.Uint32()
	}
	x := &session{config: c, at: endpointOf(c), place: -1, machine: newMachine(now, local, s.timingOf(c), rand.Float64)}
	s.sessions[c.Key()] = x
	s.indexLocked(x)
	err := s.openLocked(now, x)
	s.timeLocked(x, true)
	return err
}

// leaveLocked takes a session down. It says so for as long as the peer takes to find out, in case a packet is lost (RFC 5880, 6.8.16).
func (s *Server) leaveLocked(now time.Time, x *session) {
	m := x.machine
	x.pending = nil
	known := m.remote.discriminator != 0
	x.leaving = now // and it has nobody to tell
	if a := m.disable(now); known {
		a.changed = false
		s.actLocked(now, x, a)
		x.leaving = now.Add(time.Duration(m.multiplier) * m.interval())
		if limit := now.Add(leaveLimit); x.leaving.After(limit) {
			x.leaving = limit
		}
	}
	s.timeLocked(x, true)
}

// leaveLimit is how long a session that is not wanted any more stays at most, whatever interval its peer asks for.
const leaveLimit = 10 * time.Second

// dropLocked ends a session at once.
func (s *Server) dropLocked(x *session) {
	s.unindexLocked(x)
	delete(s.sessions, x.config.Key())
	x.pending = nil
	if x.place >= 0 {
		s.removeTimerLocked(x)
	}
	if x.out != nil {
		x.out.close()
	}
	s.unused = true // its listener, perhaps
}

// listenLocked opens the listener of an endpoint, if it is not.
func (s *Server) listenLocked(at endpoint) error {
	if s.listeners[at] != nil {
		return nil
	}
	l, err := s.network.listen(at)
	if err != nil {
		return err
	}
	o := &opened{listener: l, at: at}
	s.listeners[at] = o
	s.serving.Go(func() { s.serve(o) })
	return nil
}

func (s *Server) unlistenLocked(at endpoint) {
	if l := s.listeners[at]; l != nil {
		s.garbage = append(s.garbage, l.listener)
		delete(s.listeners, at)
	}
}

// unlock ends what needs mu, and closes listeners that nobody needs any more.
func (s *Server) unlock() {
	if s.unused {
		s.unused = false
		needed := map[endpoint]bool{}
		for _, x := range s.sessions {
			needed[x.at] = true
		}
		for at := range s.listeners {
			if !needed[at] {
				s.unlistenLocked(at)
			}
		}
	}
	garbage := s.garbage
	s.garbage = nil
	s.mu.Unlock()
	for _, l := range garbage {
		l.close()
	}
}

// Run holds the sessions until ctx ends, then tells the peers of those that are Up that they end for administrative reasons: when the
// speaker is replaced, the routes are to stay as BGP's graceful restart has it. It returns nil when ctx ends. What was set is kept
// and comes into effect again if Run is called again, in sessions that are new.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return errors.New("the BFD server runs already")
	}
	s.running = true
	_ = s.applyLocked(time.Now()) // what fails is logged, is in Statuses, and is tried again
	s.unlock()

	var telling sync.WaitGroup
	telling.Go(func() { s.tell(ctx) })
	s.tick(ctx)
	telling.Wait()

	s.mu.Lock()
	now := time.Now()
	for _, x := range s.sessions {
		if x.leaving.IsZero() {
			s.leaveLocked(now, x)
		}
		s.dropLocked(x)
	}
	s.news = nil
	s.running = false
	s.unlock()
	s.serving.Wait()
	return nil
}

// tell calls Options.Changed until ctx ends.
func (s *Server) tell(ctx context.Context) {
	for {
		select {
		case <-s.told:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			s.mu.Lock()
			if len(s.news) == 0 {
				s.mu.Unlock()
				break
			}
			x := s.news[0]
			s.news = s.news[1:]
			key, pending := x.config.Key(), x.pending
			x.pending = nil
			s.mu.Unlock()
			for _, st := range pending {
				s.changed(key, st)
			}
		}
	}
}

// Statuses returns how each session is, those that Set has removed excluded; none before Run.
func (s *Server) Statuses() map[Key]Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[Key]Status, len(s.sessions))
	for key, x := range s.sessions {
		if x.leaving.IsZero() {
			out[key] = x.status()
		}
	}
	return out
}

// Dropped returns how many datagrams were refused for each reason, those that belong to no session included.
func (s *Server) Dropped() map[Reason]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[Reason]uint64{}
	for r, n := range s.dropped {
		if n > 0 {
			out[Reason(r)] = n
		}
	}
	return out
}

// compareKeys orders keys by peer.
func compareKeys(a, b Key) int {
	if c := a.Peer.Compare(b.Peer); c != 0 {
		return c
	}
	return strings.Compare(a.String(), b.String())
}
