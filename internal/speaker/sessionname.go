package speaker

import (
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/backends"
)

// maxName is the most characters that the name of an object may have.
const maxName = 253

// hashed is what backends.Hash returns.
var hashed = regexp.MustCompile(`^[0-9a-f]{16}$`)

// sessionName returns the name of the BGPSession of a node and a peer: both, with a dash between them. Where that could be the name of
// another pair, because the peer's name has a dash, or looks like a hash, or where it is too long, a hash of both follows. So no two pairs
// have the same name.
func sessionName(node, peer string) string {
	name := node + "-" + peer
	if !strings.Contains(peer, "-") && !hashed.MatchString(peer) && len(name) <= maxName {
		return name
	}
	hash := backends.Hash(node, peer)
	if longest := maxName - 1 - len(hash); len(name) > longest {
		name = strings.TrimRight(name[:longest], "-.")
	}
	return name + "-" + hash
}
