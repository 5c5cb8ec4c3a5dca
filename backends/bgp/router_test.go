package bgp

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fairlead/fairlead/backends"
)

// stub is a router on loopback that keeps what it hears. It needs no privileges.
type stub struct {
	t        testing.TB
	l        net.Listener
	asn      uint32
	families []family
	open     func(*opening) // changes its OPEN; nil: nothing

	mu       sync.Mutex // protects all the following
	table    map[string]string
	updates  int
	bodies   [][]byte // of UPDATEs
	sessions int
	opens    []opening
	ends     []string // NOTIFICATIONs, or EOF
	conn     net.Conn
	news     chan struct{}
}

func newStub(t testing.TB, asn uint32, families ...family) *stub {
	return newStubAt(t, "127.0.0.1", asn, families...)
}

func newStubAt(t testing.TB, addr string, asn uint32, families ...family) *stub {
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Skip(err) // no IPv6
	}
	s := &stub{t: t, l: l, asn: asn, families: families, table: map[string]string{}, news: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.hangUp()
		wg.Wait()
	})
	return s
}

func (s *stub) port() uint16 { return netip.MustParseAddrPort(s.l.Addr().String()).Port() }

func (s *stub) note(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.news)
	s.news = make(chan struct{})
}

func (s *stub) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

func (s *stub) serve(c net.Conn) {
	defer c.Close()
	s.note(func() { s.conn = c; s.table = map[string]string{} })
	for {
		h := make([]byte, headerLen)
		if _, err := io.ReadFull(c, h); err != nil {
			s.note(func() { s.ends = append(s.ends, "EOF"); s.table = map[string]string{} })
			return
		}
		header := &bgp.BGPHeader{}
		if header.DecodeFromBytes(h) != nil {
			return
		}
		body := make([]byte, int(header.Len)-headerLen)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		switch header.Type {
		case typeOpen:
			o, err := parseOpen(body)
			if err != nil {
				return
			}
			s.note(func() { s.opens = append(s.opens, o) })
			mine := opening{asn: s.asn, hold: 90 * time.Second, id: netip.MustParseAddr("192.0.2.2"), families: s.families, fourOctets: true, refresh: true}
			if s.open != nil {
				s.open(&mine)
			}
			m, err := mine.marshal()
			if err != nil {
				return
			}
			_, _ = c.Write(append(m, message(typeKeepalive, nil)...))
		case typeKeepalive:
			s.note(func() { s.sessions++ })
		case typeNotification:
			s.note(func() { s.ends = append(s.ends, describe(body)) })
		case typeUpdate:
			m, err := bgp.ParseBGPBody(header, body)
			if err != nil {
				s.t.Errorf("UPDATE: %v", err)
				return
			}
			s.note(func() {
				s.bodies = append(s.bodies, body)
				s.learn(m.Body.(*bgp.BGPUpdate))
			})
		}
	}
}

// learn keeps what an UPDATE says.
func (s *stub) learn(u *bgp.BGPUpdate) {
	s.updates++
	var attrs, reached []string
	for _, w := range u.WithdrawnRoutes {
		delete(s.table, w.String())
	}
	for _, n := range u.NLRI {
		reached = append(reached, n.String())
	}
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeMpUnreachNLRI:
			for _, n := range a.Value {
				delete(s.table, n.String())
			}
		case *bgp.PathAttributeMpReachNLRI:
			for _, n := range a.Value {
				reached = append(reached, n.String())
			}
			attrs = append(attrs, "via "+a.Nexthop.String())
		case *bgp.PathAttributeNextHop:
			attrs = append(attrs, "via "+a.Value.String())
		case *bgp.PathAttributeOrigin, *bgp.PathAttributeAsPath:
		default:
			attrs = append(attrs, a.String())
		}
	}
	slices.Sort(attrs)
	for _, n := range reached {
		s.table[n] = strings.Join(attrs, " ")
	}
}

// String returns the table, a prefix in each line.
func (s *stub) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, p := range slices.Sorted(maps.Keys(s.table)) {
		out = append(out, strings.TrimSpace(p+" "+s.table[p]))
	}
	return strings.Join(out, "\n")
}

// await waits until ok, which is called with the lock held.
func (s *stub) await(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		yes, news := ok(), s.news
		s.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-news:
		case <-deadline:
			require.Fail(s.t, "never happened: "+what, "table:\n%s\nends: %q", s, s.ends)
		}
	}
}

// hears waits until the table is as it is to be.
func (s *stub) hears(want string) {
	s.t.Helper()
	s.await(fmt.Sprintf("the table\n%s", want), func() bool {
		var out []string
		for _, p := range slices.Sorted(maps.Keys(s.table)) {
			out = append(out, strings.TrimSpace(p+" "+s.table[p]))
		}
		return strings.Join(out, "\n") == want
	})
}

// peer returns the peer that the stub is.
func (s *stub) peer(name string) backends.Peer {
	return backends.Peer{
		Source: backends.Source{Kind: "BGPPeer", Namespace: "ns", Name: name}, MyASN: 65001, PeerASN: s.asn,
		Address: netip.MustParseAddrPort(s.l.Addr().String()).Addr(), Port: s.port(), ConnectTime: time.Second,
	}
}
