package routing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Heard is a path that a router has from a neighbour.
type Heard struct {
	Prefix    netip.Prefix
	From      netip.Addr // the neighbour's address
	LocalPref uint32     // of a session within an AS; 0 elsewhere
	// Communities are the standard and the large ones as FRR prints them.
	Communities []string
}

// Listener reads the tables of a router that runs, over one connection, so often that what is there for a tenth of a second is seen.
// It may be used beside the router's other methods, but by one goroutine.
type Listener struct {
	conn net.Conn
}

// vtyPatience is how long bgpd may take to answer.
const vtyPatience = 10 * time.Second

// Listen connects to bgpd, as vtysh does (lib/vty.c of FRR: a command ends with a zero byte, an answer with three and a status).
func (r *FRR) Listen() (*Listener, error) {
	var conn net.Conn
	Await(r.t, "bgpd to listen", func() bool { // its socket is there a moment before
		var err error
		conn, err = net.Dial("unix", r.path("bgpd.vty"))
		return err == nil
	})
	l := &Listener{conn: conn}
	_, err := l.ask("enable")
	return l, err
}

// Close ends the connection.
func (l *Listener) Close() error { return l.conn.Close() }

func (l *Listener) ask(command string) ([]byte, error) {
	if err := l.conn.SetDeadline(time.Now().Add(vtyPatience)); err != nil {
		return nil, err
	}
	if _, err := l.conn.Write(append([]byte(command), 0)); err != nil {
		return nil, err
	}
	var out []byte
	buf := make([]byte, 1<<16)
	for {
		n, err := l.conn.Read(buf)
		out = append(out, buf[:n]...)
		if end := len(out) - 4; end >= 0 && bytes.Equal(out[end:end+3], []byte{0, 0, 0}) {
			return out[:end], nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command, io.ErrUnexpectedEOF)
		}
	}
}

// Table returns the valid paths of both families.
func (l *Listener) Table() ([]Heard, error) {
	var out []Heard
	for _, family := range []string{"ipv4", "ipv6"} {
		said, err := l.ask("show bgp " + family + " unicast json detail")
		if err != nil {
			return nil, err
		}
		var table struct{ Routes map[netip.Prefix][]path }
		if len(bytes.TrimSpace(said)) == 0 { // no instance of BGP is at work yet
			continue
		}
		if err := json.Unmarshal(said, &table); err != nil {
			return nil, fmt.Errorf("%w: %s", err, said)
		}
		for prefix, paths := range table.Routes {
			for _, p := range paths {
				if !p.Valid || !p.Peer.PeerID.IsValid() {
					continue // the first element says nothing of a path
				}
				h := Heard{Prefix: prefix, From: p.Peer.PeerID, Communities: append(strings.Fields(p.Community.String), strings.Fields(p.LargeCommunity.String)...)}
				if p.Peer.Type == "internal" {
					h.LocalPref = p.LocPrf
				}
				out = append(out, h)
			}
		}
	}
	return out, nil
}

type path struct {
	Valid                     bool
	LocPrf                    uint32
	Community, LargeCommunity struct{ String string }
	Peer                      struct {
		PeerID netip.Addr
		Type   string
	}
}

// Sessions returns for each neighbour how often a session with it has been established until now; 0 if there is none at present.
func (l *Listener) Sessions() (map[netip.Addr]int, error) {
	said, err := l.ask("show bgp neighbors json")
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(said, &all); err != nil {
		return nil, fmt.Errorf("%w: %s", err, said)
	}
	out := map[netip.Addr]int{}
	for name, raw := range all {
		addr, err := netip.ParseAddr(name)
		var p Peer
		if err != nil || json.Unmarshal(raw, &p) != nil {
			continue
		}
		out[addr] = 0
		if p.BGPState == "Established" {
			out[addr] = p.ConnectionsEstab
		}
	}
	return out, nil
}
