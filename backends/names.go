package backends

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// What the objects that backends make in the CNI's API are marked with.
const (
	LabelManagedBy    = "app.kubernetes.io/managed-by"
	ManagedBy         = "fairlead"
	LabelInstallation = "fairlead.io/installation" // the namespace of the installation they belong to
	AnnotationSource  = "fairlead.io/source"       // the user's object that they were made from
)

// OwnLabels returns the labels of an installation's objects.
func OwnLabels(installation string) map[string]string {
	return map[string]string{LabelManagedBy: ManagedBy, LabelInstallation: installation}
}

// Owned reports whether an object with these labels belongs to an installation.
func Owned(labels map[string]string, installation string) bool {
	return labels[LabelManagedBy] == ManagedBy && labels[LabelInstallation] == installation
}

// Hash returns 16 hexadecimal digits of the SHA-256 of parts with a zero byte between them.
func Hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// PoolLabel returns the value of the label fairlead.io/pool for a Service: the LabelValue of its pool, or, if it has its IPv4 address
// from one pool and its IPv6 address from another, a value that is that of no pool. pools is a name, or "pool4,pool6".
func PoolLabel(pools string) string {
	if !strings.Contains(pools, ",") {
		return LabelValue(pools)
	}
	return "two-pools-" + Hash(pools)
}

// LabelValue returns the value of a label for a name: the name itself, or, if that is too long for a label, the first 46
// characters of it, a dash and its Hash. The label fairlead.io/pool is made so.
func LabelValue(name string) string {
	const longest = 63
	if len(name) <= longest {
		return name
	}
	return name[:46] + "-" + Hash(name)
}
