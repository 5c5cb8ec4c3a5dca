package check

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// atOnce is how many connections are tried at the same time.
const atOnce = 32

// Here tries from this process.
type Here struct {
	Timeout time.Duration // of each connection, and of each answer
	HTTP    bool

	neighbours *neighbours // as of after the last Try; nil: not read yet
}

// Where implements Prober.
func (*Here) Where() string { return "here" }

// Try implements Prober.
func (h *Here) Try(ctx context.Context, targets []netip.AddrPort) (map[netip.AddrPort]Attempt, error) {
	h.neighbours = nil
	out := make(map[netip.AddrPort]Attempt, len(targets))
	var mu sync.Mutex
	var all sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, t := range targets {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			a := h.one(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			out[t] = a
		})
	}
	all.Wait()
	return out, ctx.Err()
}

func (h *Here) one(ctx context.Context, t netip.AddrPort) (a Attempt) {
	dialer := net.Dialer{Timeout: h.Timeout}
	start := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", t.String())
	if a.Took = time.Since(start); err != nil {
		a.Err = err.Error()
		return a
	}
	_ = conn.Close()
	if h.HTTP {
		h.get(ctx, t, &a)
	}
	return a
}

// tlsPort is asked over TLS; who it is does not matter here.
const tlsPort = 443

func (h *Here) get(ctx context.Context, t netip.AddrPort, a *Attempt) {
	scheme := "http"
	if t.Port() == tlsPort {
		scheme = "https"
	}
	client := &http.Client{
		Timeout:       h.Timeout,
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // nothing is sent
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+t.String()+"/", nil)
	if err != nil {
		a.HTTPErr = err.Error()
		return
	}
	start := time.Now()
	resp, err := client.Do(req)
	if a.HTTPTook = time.Since(start); err != nil {
		a.HTTPErr = err.Error()
		return
	}
	_ = resp.Body.Close()
	a.HTTP = resp.StatusCode
}
