// Package presence is how a speaker tells the controller that it runs and on which interfaces it can announce: by an annotation on
// its ConfigurationState.
package presence

import (
	"cmp"
	"encoding/json"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
)

// Annotation has the JSON of Links. It is there while the speaker runs.
const Annotation = "fairlead.io/links"

// Labels that name the node of an object that a speaker keeps: of its ConfigurationState, and of what tells of Services and sessions. The
// names are MetalLB's. The value is backends.LabelValue of the node's name, because a name may be longer than a label.
const (
	LabelNode       = "metallb.io/node-name"
	LabelStatusNode = "metallb.io/node"
)

// Links is what a speaker tells of itself.
type Links struct {
	// Node is the name of its node, if the label could not hold it.
	Node  string          `json:"node,omitempty"`
	Links []backends.Link `json:"links"`
	// SameSubnet is set if the speaker announces an address only on a link whose subnet contains it.
	SameSubnet bool `json:"sameSubnet,omitempty"`
	// IgnoreExclude is set if the speaker announces in spite of the label that excludes its node.
	IgnoreExclude bool `json:"ignoreExclude,omitempty"`
}

// Of returns what the speaker of a node tells.
func Of(node string, links []backends.Link) Links {
	l := Links{Links: links}
	if backends.LabelValue(node) != node {
		l.Node = node
	}
	return l
}

// String returns the value of the annotation.
func (l Links) String() string {
	b, err := json.Marshal(l)
	if err != nil {
		panic("presence: encode: " + err.Error()) // plain values only
	}
	return string(b)
}

// Read returns what a speaker tells; false if the object is not that of a speaker that runs.
func Read(state *v1beta1.ConfigurationState) (node string, l Links, ok bool) {
	node = state.Labels[LabelNode]
	value, there := state.Annotations[Annotation]
	if node == "" || !there || json.Unmarshal([]byte(value), &l) != nil {
		return "", Links{}, false
	}
	return cmp.Or(l.Node, node), l, true
}
