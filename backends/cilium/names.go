package cilium

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// Labels and annotations that are written, or looked at on Services and nodes.
const (
	labelAdvertise     = "fairlead.io/advertise"
	labelAdvertisement = "fairlead.io/advertisement"
	labelDrains        = "fairlead.io/drains" // on policies that exist only while another one is emptied
	annotationBeside   = "fairlead.io/beside" // on policies of the L2 announcer that share a pool with others
	peerLabelPrefix    = "peer.fairlead.io/"

	// Those by which the peer configs made here select: toLabelPrefix+peer on an advertisement that a peer hears, and
	// exceptLabelPrefix+node on one that a node does not advertise.
	toLabelPrefix     = "to.fairlead.io/"
	exceptLabelPrefix = "except.fairlead.io/"

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
	name := backends.ManagedBy + "-" + strings.Join(parts, "-")
	if len(name) <= maxName {
		return name
	}
	return strings.TrimRight(name[:maxName-17], "-.") + "-" + backends.Hash(name)
}

func peerLabel(peer string) string { return peerLabelPrefix + backends.LabelValue(peer) }

func toLabel(peer string) string { return toLabelPrefix + backends.LabelValue(peer) }

func exceptLabel(node string) string { return exceptLabelPrefix + backends.LabelValue(node) }

// clusterConfigName is what the object is called that holds the sessions of a node.
func clusterConfigName(node string) string { return objectName("bgp", node) }

// peerConfigName is what the object is called that holds the settings of a session of a node. Without a hash, a dot in the name of the
// peer would leave it open where the name of the node begins.
func peerConfigName(peer, node string) string {
	name := peer + "." + node
	if strings.Contains(peer, ".") {
		name += "." + backends.Hash(peer, node)
	}
	return objectName("bgppeer", name)
}

// ownLabel reports whether a label or annotation is this project's: it is removed from our objects when it is not wanted.
func ownLabel(name string) bool {
	prefix, _, _ := strings.Cut(name, "/")
	return prefix == "fairlead.io" || strings.HasSuffix(prefix, ".fairlead.io") || name == backends.LabelManagedBy
}

// meta returns the metadata of an object of ours.
func (t *translation) meta(name string, source backends.Source) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:        name,
		Labels:      backends.OwnLabels(t.installation),
		Annotations: map[string]string{backends.AnnotationSource: source.String()},
	}
}

// owned reports whether an object belongs to an installation.
func owned(o metav1.Object, installation string) bool {
	return backends.Owned(o.GetLabels(), installation)
}
