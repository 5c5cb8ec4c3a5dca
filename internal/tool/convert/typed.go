package convert

import (
	"fmt"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"
)

// valueType is what a value of our chart has to be.
type valueType string

const (
	truth   valueType = "true or false"
	port    valueType = "a port from 1 to 65535"
	noPort  valueType = "a port from 1 to 65535, or 0 for none"
	natural valueType = "a whole number from 0"
	counted valueType = "a whole number from 1"
	percent valueType = "a whole number from 1 to 100"
	text    valueType = "a text"
	texts   valueType = "a mapping of texts" // labels and the like
	mapping valueType = "a mapping"
	list    valueType = "a list"
	named   valueType = "a list of mappings with a name" // containers
)

// bounds are the least and the greatest of the numbers.
var bounds = map[valueType][2]int{
	port: {1, 65535}, noPort: {0, 65535}, natural: {0, math.MaxInt32}, counted: {1, math.MaxInt32}, percent: {1, 100},
}

// keepAs sets a value of our chart, if what was read is of the type that the chart takes.
func (c *converter) keepAs(v reader, path string, t valueType) {
	if x, ok := v.as(t); ok {
		c.set(path, x)
	}
}

// allNamed reports whether all items are mappings with a name.
func allNamed(items []any) bool {
	return !slices.ContainsFunc(items, func(item any) bool {
		m, _ := item.(map[string]any)
		name, _ := m["name"].(string)
		return name == ""
	})
}

// as reads a value of a type; any other is a problem. For a text, and in texts, a number or a truth value stands for how it is written.
func (r reader) as(t valueType) (any, bool) {
	r = r.resolved()
	if r.lost() || r.null() {
		return nil, false
	}
	told := r.c.told
	switch t {
	case text:
		s := r.str()
		return s, r.c.told == told
	case texts:
		out := map[string]any{}
		r.each(func(key string, v reader) {
			if x, ok := v.as(text); ok {
				out[key] = x
			}
		})
		return out, r.c.told == told
	}
	x := r.decode()
	ok := false
	switch x := x.(type) {
	case bool:
		ok = t == truth
	case int:
		b, number := bounds[t]
		ok = number && b[0] <= x && x <= b[1]
	case map[string]any:
		ok = t == mapping
	case []any:
		ok = t == list || t == named && allNamed(x)
	}
	switch {
	case ok || r.c.told > told: // what could not be read in it was left out
	case r.node.Kind == yaml.ScalarNode:
		r.problem("%q is not %s", r.node.Value, t)
	default:
		r.problem("is not %s", t)
	}
	return x, ok
}

// keepItems keeps a list of mappings with these keys, of which one is needed.
func keepItems(needed string, keys map[string]valueType) rule {
	return func(c *converter, v reader) {
		if v = v.resolved(); v.lost() {
			return
		}
		if v.node.Kind != yaml.SequenceNode {
			v.problem("is not a list")
			return
		}
		out := []any{}
		for i, n := range v.node.Content {
			item := map[string]any{}
			known := map[string]func(reader){}
			for key, t := range keys {
				known[key] = func(v reader) {
					if x, ok := v.as(t); ok {
						item[key] = x
					}
				}
			}
			r, told := reader{v.c, v.d, fmt.Sprintf("%s[%d]", v.path, i), n}, c.told
			r.fields(known)
			switch _, ok := item[needed]; {
			case ok:
				out = append(out, item)
			case c.told == told:
				r.problem("needs %s", needed)
			}
		}
		c.set(v.path, out)
	}
}
