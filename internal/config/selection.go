package config

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// selection is which pools, nodes and Services an advertisement is about.
type selection struct {
	pools            []string
	poolSelectors    []labels.Selector
	nodeSelectors    []labels.Selector
	serviceSelectors []labels.Selector
}

// Selects reports whether the advertisement selects p: by name, by a selector on the pool's labels, or, with neither, always.
func (s *selection) Selects(p *Pool) bool {
	if len(s.pools)+len(s.poolSelectors) == 0 {
		return true
	}
	return slices.Contains(s.pools, p.Name) || matchesAny(s.poolSelectors, p.Labels)
}

// SelectsNode reports whether a node with these labels may announce.
func (s *selection) SelectsNode(node labels.Set) bool {
	return len(s.nodeSelectors) == 0 || matchesAny(s.nodeSelectors, node)
}

// SelectsService reports whether a Service with these labels is announced.
func (s *selection) SelectsService(service labels.Set) bool {
	return len(s.serviceSelectors) == 0 || matchesAny(s.serviceSelectors, service)
}

// NodeSelectors returns the selectors behind SelectsNode.
func (s *selection) NodeSelectors() []labels.Selector { return s.nodeSelectors }

// ServiceSelectors returns the selectors behind SelectsService.
func (s *selection) ServiceSelectors() []labels.Selector { return s.serviceSelectors }

// selectPools reports false if the selection is not to be relied on.
func (s *selection) selectPools(names []string, in []metav1.LabelSelector, add func(field, problem string)) bool {
	s.pools = names
	distinct("spec.ipAddressPools", names, add)
	var err error
	s.poolSelectors, err = distinctSelectors("spec.ipAddressPoolSelectors", in, add)
	return err == nil
}

func (s *selection) selectNodes(in []metav1.LabelSelector, add func(field, problem string)) {
	s.nodeSelectors, _ = distinctSelectors("spec.nodeSelectors", in, add)
}

func (s *selection) selectServices(in []metav1.LabelSelector, add func(field, problem string)) {
	s.serviceSelectors, _ = distinctSelectors("spec.serviceSelectors", in, add)
}

// distinctSelectors is selectors, and reports those that repeat.
func distinctSelectors(field string, in []metav1.LabelSelector, add func(field, problem string)) ([]labels.Selector, error) {
	out, err := selectors(field, in, add)
	if err != nil {
		return nil, err
	}
	text := make([]string, len(out))
	for i, s := range out {
		text[i] = s.String()
	}
	distinct(field, text, add)
	return out, nil
}

// distinct reports each entry that repeats an earlier one.
func distinct(field string, in []string, add func(field, problem string)) {
	for i, s := range in {
		if slices.Contains(in[:i], s) {
			add(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%q is listed twice; list each one once", s))
		}
	}
}

// shareNodes reports whether two lists of node selectors are certain to have a node in common. Which nodes there are is not
// known here: different selectors are taken to select different nodes.
func shareNodes(a, b []labels.Selector) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	for _, x := range a {
		for _, y := range b {
			if x.Empty() || y.Empty() || x.String() == y.String() {
				return true
			}
		}
	}
	return false
}
