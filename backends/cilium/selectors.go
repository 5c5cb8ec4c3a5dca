package cilium

import (
	"fmt"
	"slices"

	slimv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

type requirement = slimv1.LabelSelectorRequirement

func in(label string, values ...string) requirement {
	return requirement{Key: label, Operator: slimv1.LabelSelectorOpIn, Values: values}
}

// notExcluded keeps a node out that the user has excluded. Cilium's BGP and L2 do not look at the label themselves.
var notExcluded = requirement{Key: labelExclude, Operator: slimv1.LabelSelectorOpDoesNotExist}

// requirementsOf returns what a selector asks for; ok is false if it selects nothing at all.
func requirementsOf(s labels.Selector) (out []requirement, ok bool, err error) {
	if s == nil {
		return nil, true, nil
	}
	asked, ok := s.Requirements()
	if !ok {
		return nil, false, nil
	}
	for _, r := range asked {
		values := r.ValuesUnsorted()
		slices.Sort(values)
		q := requirement{Key: r.Key(), Values: values}
		switch r.Operator() {
		case selection.In, selection.Equals, selection.DoubleEquals:
			q.Operator = slimv1.LabelSelectorOpIn
		case selection.NotIn, selection.NotEquals:
			q.Operator = slimv1.LabelSelectorOpNotIn
		case selection.Exists:
			q.Operator, q.Values = slimv1.LabelSelectorOpExists, nil
		case selection.DoesNotExist:
			q.Operator, q.Values = slimv1.LabelSelectorOpDoesNotExist, nil
		default:
			return nil, false, fmt.Errorf("the operator %q is not one of In, NotIn, Exists and DoesNotExist", r.Operator())
		}
		out = append(out, q)
	}
	return out, true, nil
}

// alternatives returns what each of several ORed selectors asks for, without repetitions. One that asks for nothing makes the
// others superfluous. An empty result selects nothing; no selectors at all select everything. A selector that cannot be
// expressed is left out and told to faulty with its index.
func alternatives(selectors []labels.Selector, faulty func(int, error)) [][]requirement {
	var out [][]requirement
	for i, s := range selectors {
		asked, ok, err := requirementsOf(s)
		switch {
		case err != nil:
			faulty(i, err)
		case !ok:
		case len(asked) == 0:
			return [][]requirement{nil}
		case !slices.ContainsFunc(out, func(o []requirement) bool { return equalRequirements(o, asked) }):
			out = append(out, asked)
		}
	}
	if len(selectors) == 0 {
		return [][]requirement{nil}
	}
	return out
}

func equalRequirements(a, b []requirement) bool {
	return slices.EqualFunc(a, b, func(x, y requirement) bool {
		return x.Key == y.Key && x.Operator == y.Operator && slices.Equal(x.Values, y.Values)
	})
}

// expressions returns a selector that asks for all of the requirements.
func expressions(r ...requirement) *slimv1.LabelSelector {
	return &slimv1.LabelSelector{MatchExpressions: r}
}

// selects reports whether a selector of Cilium's selects labels; nil selects nothing.
func selects(s *slimv1.LabelSelector, set map[string]string) bool {
	if s == nil {
		return false
	}
	for k, v := range s.MatchLabels {
		if have, ok := set[k]; !ok || have != v {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		value, has := set[r.Key]
		ok := false
		switch r.Operator {
		case slimv1.LabelSelectorOpIn:
			ok = has && slices.Contains(r.Values, value)
		case slimv1.LabelSelectorOpNotIn:
			ok = !has || !slices.Contains(r.Values, value)
		case slimv1.LabelSelectorOpExists:
			ok = has
		case slimv1.LabelSelectorOpDoesNotExist:
			ok = !has
		}
		if !ok {
			return false
		}
	}
	return true
}

// matchesAny reports whether one of several ORed selectors matches; no selectors at all match everything.
func matchesAny(selectors []labels.Selector, set labels.Set) bool {
	return len(selectors) == 0 || slices.ContainsFunc(selectors, func(s labels.Selector) bool { return s.Matches(set) })
}

// restricts reports whether ORed selectors can leave anything out.
func restricts(selectors []labels.Selector) bool {
	return len(selectors) > 0 && !slices.ContainsFunc(selectors, labels.Selector.Empty)
}
