package calico

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxName is the longest name that an object may have (RFC 1123 subdomain).
const maxName = 253

// objectName returns fairlead-<part>-<part>..., shortened by a hash if it is too long.
func objectName(parts ...string) string {
	name := managedBy + "-" + strings.Join(parts, "-")
	if len(name) <= maxName {
		return name
	}
	return strings.TrimRight(name[:maxName-17], "-.") + "-" + hash(name)
}

// hash returns 16 hexadecimal digits of a SHA-256.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// keyOf names an object: Kind/name or Kind/namespace/name.
func keyOf(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return kind + "/" + namespace + "/" + name
}
