// Package presence is how a speaker tells the controller that it runs and on which interfaces it can announce: by an annotation on
// its ConfigurationState.
package presence

import (
	"encoding/json"
	"slices"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
)

// Annotation has the JSON of Links. It is there while the speaker runs.
const Annotation = "fairlead.io/links"

// LabelNode names the node of an object that a speaker keeps. The name is MetalLB's.
const LabelNode = "metallb.io/node-name"

// Links is what a speaker tells of itself.
type Links struct {
	Links []backends.Link `json:"links"`
	// SameSubnet is set if the speaker announces an address only on a link whose subnet contains it.
	SameSubnet bool `json:"sameSubnet,omitempty"`
	// IgnoreExclude is set if the speaker announces in spite of the label that excludes its node.
	IgnoreExclude bool `json:"ignoreExclude,omitempty"`
}

// Equal reports whether both say the same.
func (l Links) Equal(m Links) bool {
	return l.SameSubnet == m.SameSubnet && l.IgnoreExclude == m.IgnoreExclude && slices.EqualFunc(l.Links, m.Links, backends.Link.Equal)
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
	return node, l, true
}
