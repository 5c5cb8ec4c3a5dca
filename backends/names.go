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

// LabelValue returns the value of a label for a name: the name itself, or, if that is too long for a label, the first 46
// characters of it, a dash and its Hash. The label fairlead.io/pool is made so.
func LabelValue(name string) string {
	const longest = 63
	if len(name) <= longest {
		return name
	}
	return name[:46] + "-" + Hash(name)
}
