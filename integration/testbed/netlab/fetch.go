package netlab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// HTTPClient returns a client whose sockets are the host's, so that the host's kernel routes and resolves neighbours. Every request has
// a connection of its own; timeout bounds all of it. It takes literal addresses only.
func (h *Host) HTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				var conn net.Conn
				err := h.Do(func() error {
					var err error
					conn, err = new(net.Dialer).DialContext(ctx, network, address)
					return err
				})
				return conn, err
			},
		},
	}
}

// Get asks the pod that is behind port 80 of an address. The error says why nothing, or something that no pod says, came back.
func Get(ctx context.Context, client *http.Client, addr netip.Addr) (Answer, error) {
	var a Answer
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+netip.AddrPortFrom(addr, 80).String()+"/", nil)
	if err != nil {
		return a, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("get %s: %s", r.URL, resp.Status)
	}
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// Get asks the pod that is behind port 80 of an address, from the host.
func (h *Host) Get(addr netip.Addr, timeout time.Duration) (Answer, error) {
	return Get(h.lab.t.Context(), h.HTTPClient(timeout), addr)
}

// Fetch is one request of a Fetcher.
type Fetch struct {
	At   time.Time // when it began
	Took time.Duration
	Answer
	Err error
}

// Fetcher asks an address again and again.
type Fetcher struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex // protects all the following
	fetches []Fetch    // in the order in which they ended
	news    chan struct{}
}

// Fetch asks the pods behind port 80 of addr, from the host, once in every interval until Stop or the end of the test. A request is
// begun on time, also while others are waiting for an answer; each gets timeout to end.
func (l *Lab) Fetch(from *Host, addr netip.Addr, every, timeout time.Duration) *Fetcher {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Fetcher{stop: cancel, news: make(chan struct{})}
	client := from.HTTPClient(timeout)
	f.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			f.done.Go(func() {
				at := time.Now()
				a, err := Get(ctx, client, addr)
				if ctx.Err() == nil { // else it has failed because of Stop
					f.record(Fetch{At: at, Took: time.Since(at), Answer: a, Err: err})
				}
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	l.t.Cleanup(f.Stop)
	return f
}

func (f *Fetcher) record(r Fetch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetches = append(f.fetches, r)
	close(f.news)
	f.news = make(chan struct{})
}

// Stop ends the requests; those that are under way are not recorded.
func (f *Fetcher) Stop() {
	f.stop()
	f.done.Wait()
}

// All returns the requests that began in [from, to), ordered by when. A zero to is the end of time.
func (f *Fetcher) All(from, to time.Time) []Fetch {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Fetch
	for _, r := range f.fetches {
		if within(r.At, from, to) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Fetch) int { return a.At.Compare(b.At) })
	return out
}

// Failed returns those of All that failed.
func (f *Fetcher) Failed(from, to time.Time) []Fetch {
	return slices.DeleteFunc(f.All(from, to), func(r Fetch) bool { return r.Err == nil })
}

// AwaitSuccess waits until a request that began at or after a time has succeeded, and returns the first that has.
func (f *Fetcher) AwaitSuccess(t testingT, after time.Time) Fetch {
	t.Helper()
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		news := f.news
		f.mu.Unlock()
		for _, r := range f.All(after, time.Time{}) {
			if r.Err == nil {
				return r
			}
		}
		select {
		case <-news:
		case <-deadline:
			require.Fail(t, "no request has succeeded", "since %s; failed: %d", after, len(f.Failed(after, time.Time{})))
		}
	}
}

// testingT is what waiting needs of a testing.TB.
type testingT interface {
	require.TestingT
	Helper()
}

// within reports whether at is in [from, to); a zero to is the end of time.
func within(at, from, to time.Time) bool {
	return !at.Before(from) && (to.IsZero() || at.Before(to))
}
