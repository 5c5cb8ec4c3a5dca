package calico

import (
	"strings"

	"github.com/fairlead/fairlead/backends"
)

const (
	// maxName is the longest name that an object may have (RFC 1123 subdomain).
	maxName = 253
	// hashLength is that of hash's results.
	hashLength = 16
	// remoteFilter is the BGPFilter that all sessions have in common; no peer's object can have this name.
	remoteFilter = backends.ManagedBy + "--remote"
)

// objectName returns fairlead-<part>-<part>..., shortened by a hash if a dash and another hash would be too long for a name.
func objectName(parts ...string) string {
	name := backends.ManagedBy + "-" + strings.Join(parts, "-")
	const longest = maxName - hashLength - 1
	if len(name) <= longest {
		return name
	}
	return strings.TrimRight(name[:longest-hashLength-1], "-.") + "-" + backends.Hash(name)
}

// groupName is the name of a session's objects: without a hash while all nodes that hold it are alike.
func groupName(peer, hidden string, groups int) string {
	if groups == 1 {
		return objectName(peer)
	}
	return objectName(peer) + "-" + backends.Hash(hidden)
}

// splitKey takes apart what keyOf has put together.
func splitKey(key string) (kind, namespace, name string) {
	parts := strings.SplitN(key, "/", 3)
	switch len(parts) {
	case 3:
		return parts[0], parts[1], parts[2]
	case 2:
		return parts[0], "", parts[1]
	}
	return "", "", key
}

// keyOf names an object: Kind/name or Kind/namespace/name.
func keyOf(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return kind + "/" + namespace + "/" + name
}
