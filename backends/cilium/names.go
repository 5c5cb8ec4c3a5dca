package cilium

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// Labels and annotations that are written, or looked at on Services and nodes.
const (
	labelManagedBy     = "app.kubernetes.io/managed-by"
	managedBy          = "fairlead"
	labelInstallation  = "fairlead.io/installation"
	labelAdvertise     = "fairlead.io/advertise"
	labelAdvertisement = "fairlead.io/advertisement"
	labelDrains        = "fairlead.io/drains" // on policies that exist only while another one is emptied
	peerLabelPrefix    = "peer.fairlead.io/"
	annotationSource   = "fairlead.io/source"

	labelPool     = "fairlead.io/pool"
	labelHostname = "kubernetes.io/hostname"
	labelExclude  = "node.kubernetes.io/exclude-from-external-load-balancers"

	yes = "true"
)

// Classes of Services that Cilium advertises, beside those without a class: pkg/bgp/manager/reconciler/service.go
// (getLoadBalancerIPPaths) and pkg/l2announcer/l2announcer.go (upsertSvc).
const (
	classBGP = "io.cilium/bgp-control-plane"
	classL2  = "io.cilium/l2-announcer"
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
func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

func peerLabel(peer string) string { return peerLabelPrefix + backends.LabelValue(peer) }

// ownLabel reports whether a label or annotation is this project's: it is removed from our objects when it is not wanted.
func ownLabel(name string) bool {
	prefix, _, _ := strings.Cut(name, "/")
	return prefix == "fairlead.io" || strings.HasSuffix(prefix, ".fairlead.io") || name == labelManagedBy
}

// meta returns the metadata of an object of ours.
func (t *translation) meta(name string, source backends.Source) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:        name,
		Labels:      map[string]string{labelManagedBy: managedBy, labelInstallation: t.installation},
		Annotations: map[string]string{annotationSource: source.String()},
	}
}

// owned reports whether an object belongs to an installation.
func owned(o metav1.Object, installation string) bool {
	l := o.GetLabels()
	return l[labelManagedBy] == managedBy && l[labelInstallation] == installation
}
