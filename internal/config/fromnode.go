package config

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Annotations of a BGPPeer that name an annotation of Nodes. Its value takes the place of a setting on the nodes that have it, so that
// one BGPPeer serves every rack; the others use what the BGPPeer itself says.
const (
	annotationPeerAddressFrom   = "fairlead.io/peer-address-from"
	annotationPeerASNFrom       = "fairlead.io/peer-asn-from"
	annotationMyASNFrom         = "fairlead.io/my-asn-from"
	annotationSourceAddressFrom = "fairlead.io/source-address-from"
)

// FromNode are the keys of the Nodes' annotations that settings of a BGPPeer come from; empty: not from Nodes.
type FromNode struct{ PeerAddress, PeerASN, MyASN, SourceAddress string }

// IsZero reports whether the peer is the same on every node.
func (n FromNode) IsZero() bool { return n == FromNode{} }

// Annotations returns the annotations of the BGPPeer that are in use, in a fixed order.
func (n FromNode) Annotations() []string {
	var out []string
	for _, a := range []struct{ annotation, key string }{
		{annotationPeerAddressFrom, n.PeerAddress}, {annotationPeerASNFrom, n.PeerASN}, {annotationMyASNFrom, n.MyASN},
		{annotationSourceAddressFrom, n.SourceAddress},
	} {
		if a.key != "" {
			out = append(out, a.annotation)
		}
	}
	return out
}

func parseFromNode(annotations map[string]string, f *findings) FromNode {
	key := func(annotation string) string {
		value, set := annotations[annotation]
		if !set {
			return ""
		}
		if bad := validation.IsQualifiedName(strings.ToLower(value)); len(bad) > 0 {
			f.add("metadata.annotations["+annotation+"]", fmt.Sprintf("%q is not the key of an annotation of Nodes: %s", value,
				strings.Join(bad, "; ")))
		}
		return value
	}
	return FromNode{
		PeerAddress: key(annotationPeerAddressFrom), PeerASN: key(annotationPeerASNFrom), MyASN: key(annotationMyASNFrom),
		SourceAddress: key(annotationSourceAddressFrom),
	}
}
