package config

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// selectors parses a list of label selectors; each fault is reported through add with the path of its entry.
func selectors(field string, in []metav1.LabelSelector, add func(field, problem string)) ([]labels.Selector, error) {
	out := make([]labels.Selector, 0, len(in))
	var failed error
	for i := range in {
		s, err := selector(&in[i])
		if err != nil {
			add(fmt.Sprintf("%s[%d]", field, i), err.Error())
			failed = err
			continue
		}
		out = append(out, s)
	}
	return out, failed
}

func selector(in *metav1.LabelSelector) (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(in)
}

// matchesAny reports whether one of the selectors matches; selectors of a list are ORed, as MetalLB does.
func matchesAny(in []labels.Selector, set labels.Set) bool {
	for _, s := range in {
		if s.Matches(set) {
			return true
		}
	}
	return false
}
