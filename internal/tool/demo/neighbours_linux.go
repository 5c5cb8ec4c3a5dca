package demo

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// ask has the client's kernel find out who has the addresses, by a datagram to nobody.
func (s *speakers) ask() {
	_ = s.hosts[clientName].Do(func() error {
		for _, a := range s.link {
			c, err := net.Dial("udp", netip.AddrPortFrom(a, 9).String()) // the discard protocol, RFC 863
			if err == nil {
				_, _ = c.Write([]byte("who has it?")) // an error tells of an earlier question
				_ = c.Close()
			}
		}
		return nil
	})
}

// neighbours returns what "ip neigh" on the client tells of each address: its MAC and state.
func (s *speakers) neighbours() (map[netip.Addr]string, error) {
	text, err := run("ip", "-netns", s.hosts[clientName].Name(), "neigh", "show", "dev", "eth0")
	if err != nil {
		return nil, err
	}
	out := map[netip.Addr]string{}
	for line := range strings.Lines(text) {
		first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		a, err := netip.ParseAddr(first)
		if err != nil {
			return nil, fmt.Errorf("ip neigh: %q: %w", line, err)
		}
		out[a] = rest
	}
	return out, nil
}

// owners returns the nodes that answer for the addresses on the link, by their MACs.
func (s *speakers) owners(table map[netip.Addr]string) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, a := range s.link {
		for _, name := range nodeNames {
			if strings.Contains(table[a], s.hosts[name].mac.String()) {
				out[a] = name
			}
		}
	}
	return out
}

// showNext tells how to look at the network.
func (n *network) showNext(w io.Writer) {
	if n == nil {
		return
	}
	fmt.Fprintf(w, `  ip netns exec %[1]s-client ip neigh
  ip netns exec %[1]s-router ip route
`, n.name)
}
