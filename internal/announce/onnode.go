package announce

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// OnNode returns a peer as a node has it: settings that the BGPPeer takes from annotations of Nodes are taken from this one. A setting
// whose annotation the node does not have is the BGPPeer's own. A value that makes no sense makes the peer unready.
func OnNode(p backends.Peer, from config.FromNode, node string, annotations map[string]string) backends.Peer {
	p.FromNode = nil
	var bad []string
	take := func(key, wanted string, set func(value string) bool) {
		value, there := annotations[key]
		if key == "" || !there {
			return
		}
		if !set(strings.TrimSpace(value)) {
			bad = append(bad, fmt.Sprintf("node %q: metadata.annotations[%s] %q is not %s", node, key, value, wanted))
		}
	}
	address := func(to *netip.Addr) func(string) bool {
		return func(value string) bool {
			a, err := netip.ParseAddr(value)
			if err != nil || config.RouterProblem(a.Unmap()) != "" {
				return false
			}
			*to = a.Unmap()
			return true
		}
	}
	number := func(to *uint32) func(string) bool {
		return func(value string) bool {
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil || n == 0 {
				return false
			}
			*to = uint32(n)
			return true
		}
	}
	const asNumber = "an AS number, 1 to 4294967295"
	take(from.PeerAddress, "the IP address of a router", func(value string) bool {
		if !address(&p.Address)(value) {
			return false
		}
		p.Interface = ""
		return true
	})
	take(from.PeerASN, asNumber, func(value string) bool {
		if !number(&p.PeerASN)(value) {
			return false
		}
		p.DynamicASN = ""
		return true
	})
	take(from.MyASN, asNumber, number(&p.MyASN))
	take(from.SourceAddress, "an IP address of the node", address(&p.SourceAddress))
	if from.PeerAddress != "" && p.Address.IsUnspecified() && len(bad) == 0 {
		bad = append(bad, fmt.Sprintf("node %q has no annotation %q, and spec.peerAddress is %s", node, from.PeerAddress, p.Address))
	}
	if p.Unready != "" {
		bad = append(bad, p.Unready)
	}
	p.Unready = strings.Join(bad, "; ")
	return p
}
