// Package presence is how a speaker tells the controller that it runs and on which interfaces it can announce: by a Lease of its own, and
// an annotation of it.
package presence

import (
	"encoding/json"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/fairlead/fairlead/backends"
)

// Annotation has the JSON of Links. It is there while the speaker announces on the local network.
const Annotation = "fairlead.io/links"

// Labels that name the node of an object that a speaker keeps: of its ConfigurationState, and of its Lease and what tells of Services and
// sessions. The names are MetalLB's. The value is backends.LabelValue of the node's name, because a name may be longer than a label.
const (
	LabelNode       = "metallb.io/node-name"
	LabelStatusNode = "metallb.io/node"
)

// Links is what a speaker tells of itself.
type Links struct {
	Links []backends.Link `json:"links"`
	// SameSubnet is set if the speaker announces an address only on a link whose subnet contains it.
	SameSubnet bool `json:"sameSubnet,omitempty"`
	// IgnoreExclude is set if the speaker announces in spite of the label that excludes its node.
	IgnoreExclude bool `json:"ignoreExclude,omitempty"`
	// NoServiceBGPStatus is set if the speaker does not say which Services it advertises by BGP. BGPSessions say how its sessions are.
	NoServiceBGPStatus bool `json:"noServiceBGPStatus,omitempty"`
}

// String returns the value of the annotation; empty for nil.
func (l *Links) String() string {
	if l == nil {
		return ""
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic("presence: encode: " + err.Error()) // plain values only
	}
	return string(b)
}

// Read returns what a speaker tells; false if the Lease is not that of a speaker that announces.
func Read(l *coordinationv1.Lease) (node string, links Links, ok bool) {
	node, _ = HolderOf(l)
	value, there := l.Annotations[Annotation]
	if node == "" || !there || json.Unmarshal([]byte(value), &links) != nil {
		return "", Links{}, false
	}
	return node, links, true
}
