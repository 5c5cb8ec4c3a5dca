package calico

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// none selects no node in Calico's language, every selects all.
const (
	none  = "!all()"
	every = "all()"
)

// The selectors of nodes by their names begin and end so, with names between them.
const (
	namesBegin = labelHostname + " in { '"
	namesEnd   = "' }"
	namesComma = "', '"
)

// selectNames selects nodes by their names.
func selectNames(names []string) string {
	return namesBegin + strings.Join(names, namesComma) + namesEnd
}

// either selects what one of two selectors selects; an empty one selects all nodes.
func either(a, b string) string {
	named := func(s string) ([]string, bool) {
		s, begins := strings.CutPrefix(s, namesBegin)
		s, ends := strings.CutSuffix(s, namesEnd)
		return strings.Split(s, namesComma), begins && ends
	}
	x, xNamed := named(a)
	y, yNamed := named(b)
	switch {
	case a == b || b == none:
		return a
	case a == none:
		return b
	case a == "" || b == "":
		return ""
	case a == every || b == every:
		return every
	case xNamed && yNamed:
		all := slices.Concat(x, y)
		slices.Sort(all)
		return selectNames(slices.Compact(all))
	}
	return fmt.Sprintf("(%s) || (%s)", a, b)
}

// nodeSelector writes selectors, which are ORed, in Calico's language (libcalico-go/lib/selector); empty if they select all nodes.
func nodeSelector(any []labels.Selector) (string, error) {
	if len(any) == 0 {
		return "", nil
	}
	var alternatives []string
	for _, s := range any {
		all, selectable := s.Requirements()
		if !selectable {
			continue
		}
		if len(all) == 0 {
			return "", nil
		}
		var terms []string
		for _, r := range all {
			term, err := requirement(r)
			if err != nil {
				return "", err
			}
			terms = append(terms, term)
		}
		alternatives = append(alternatives, strings.Join(terms, " && "))
	}
	switch len(alternatives) {
	case 0:
		return none, nil
	case 1:
		return alternatives[0], nil
	}
	for i, a := range alternatives {
		alternatives[i] = "(" + a + ")"
	}
	return strings.Join(alternatives, " || "), nil
}

func requirement(r labels.Requirement) (string, error) {
	values := r.ValuesUnsorted()
	slices.Sort(values)
	for i, v := range values {
		values[i] = "'" + v + "'" // a label value holds no quotes
	}
	list := strings.Join(values, ", ")
	switch r.Operator() {
	case selection.Exists:
		return fmt.Sprintf("has(%s)", r.Key()), nil
	case selection.DoesNotExist:
		return fmt.Sprintf("!has(%s)", r.Key()), nil
	case selection.Equals, selection.DoubleEquals:
		return fmt.Sprintf("%s == %s", r.Key(), list), nil
	case selection.NotEquals:
		return fmt.Sprintf("%s != %s", r.Key(), list), nil
	case selection.In:
		if len(values) == 1 {
			return fmt.Sprintf("%s == %s", r.Key(), list), nil
		}
		return fmt.Sprintf("%s in { %s }", r.Key(), list), nil
	case selection.NotIn:
		if len(values) == 1 {
			return fmt.Sprintf("%s != %s", r.Key(), list), nil
		}
		return fmt.Sprintf("%s not in { %s }", r.Key(), list), nil
	}
	return "", fmt.Errorf("operator %q has no counterpart in Calico's selectors", r.Operator())
}
