package dashboard

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/live"
	"github.com/fairlead/fairlead/internal/tool/plan"
)

// Options are what a Server needs.
type Options struct {
	// Cluster is what is shown; somebody else runs it.
	Cluster *live.Cluster
	// Namespace is that of the installation.
	Namespace string
	// Client reads what the watches may not: one Service of a namespace.
	Client client.Reader
	// Patience is how long the API server may take for that, and for what allocators are asked; 0: for ever.
	Patience time.Duration
	// Now is the time of the API server.
	Now func() time.Time
	// Plan tells what would change if YAML were applied. It writes nothing.
	Plan func(ctx context.Context, yaml io.Reader) (*plan.Rehearsal, error)
}

// Server shows an installation in a browser.
type Server struct {
	Options
	guard   *guard
	watcher *watcher
	planned sync.Mutex // one plan at a time
}

// ErrPortInUse: another program listens on the port.
var ErrPortInUse = errors.New("the port is in use")

// Listen opens a port of 127.0.0.1; 0 stands for any that is free.
func Listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another program listens on 127.0.0.1:%d; choose another one by --port, or any by --port 0", ErrPortInUse, port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on 127.0.0.1:%d: %w", port, err)
	}
	return l, nil
}

// New returns a Server for a port.
func New(o Options, l net.Listener) (*Server, error) {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	return &Server{Options: o, guard: newGuard(port), watcher: newWatcher(&o)}, nil
}

// Link returns the URL that lets in whoever opens it first.
func (s *Server) Link() string { return s.guard.link() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all.Go(func() { s.watcher.run(ctx) })
	srv := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // what is under way ends with ctx
	}
	all.Go(func() {
		<-ctx.Done()
		_ = srv.Close()
	})
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the dashboard: %w", err)
	}
	return nil
}

//go:embed static
var static embed.FS

func (s *Server) handler() http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // they are built in
	}
	inside := http.NewServeMux()
	inside.HandleFunc("GET /events", s.events)
	for pattern, p := range pages {
		inside.HandleFunc("GET "+pattern, s.page(p))
	}
	inside.HandleFunc("GET /plan", s.page(emptyPlan))
	inside.HandleFunc("POST /plan", s.plan)
	inside.HandleFunc("GET /search", s.search)
	outside := http.NewServeMux()
	outside.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(files)))
	outside.HandleFunc("GET /enter", s.enter)
	outside.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !s.guard.known(r) {
			s.refuse(w, r)
			return
		}
		inside.ServeHTTP(w, r)
	})
	return s.guard.checked(outside)
}

// enter exchanges the token of the link for a cookie.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) {
	if s.guard.known(r) || s.guard.enter(w, r.URL.Query().Get("token")) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.refuse(w, r)
}

// refuse says what to do to who is not known.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("HX-Request") != "" || r.URL.Path == "/events" {
		http.Error(w, "not known here", http.StatusUnauthorized)
		return
	}
	writePage(w, http.StatusUnauthorized, "refused", layout{Title: "Not let in", Bare: true, Data: refusal{Used: r.URL.Path == "/enter"}})
}

// refusal is why somebody is not let in.
type refusal struct {
	Used bool // the token is not, or no longer, right
}

// heartbeat is how often a stream shows that it is alive, and notices that nobody reads it.
const heartbeat = 15 * time.Second

// events tells of each new view, once, until the page is gone. Many views at once are told of as the last of them.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	if _, err := fmt.Fprint(w, "retry: 1000\n\n"); err != nil {
		return
	}
	for told := (*view)(nil); ; {
		changed := s.watcher.changed()
		var err error
		if v := s.watcher.latest.Load(); v != told { // else it was loaded before its change was told
			told = v
			_, err = fmt.Fprintf(w, "data: %d\n\n", v.version)
			err = errors.Join(err, out.Flush())
		}
		for waiting := err == nil; waiting; {
			select {
			case <-r.Context().Done():
				return
			case <-changed:
				waiting = false
			case <-alive.C:
				_, err = fmt.Fprint(w, ":\n\n")
				err = errors.Join(err, out.Flush())
				waiting = err == nil
			}
		}
		if err != nil {
			return
		}
	}
}
