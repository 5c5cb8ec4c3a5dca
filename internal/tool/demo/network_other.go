//go:build !linux

package demo

import (
	"errors"
	"io"
)

// network is there on Linux only.
type network struct{}

func (d *demo) speakerStory() (story, error) {
	return story{}, errors.New("backend \"speaker\": it makes network namespaces, which only Linux has; take calico or cilium")
}

// speaking is how a CNI's own code runs on a node.
type speaking struct{}

var calicoSpeaks, ciliumSpeaks speaking

func (*demo) routerSteps(speaking) []step { return nil }
func (*demo) failoverSteps() []step       { return nil }

func (*network) showNext(io.Writer) {}
func (*network) remove() error      { return nil }
