package convert

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader reads one value: where it is, and what it is. A node of kind 0 is a value that cannot be read, which has been told: its
// readers return the zero value and add no problem.
type reader struct {
	c    *converter
	d    *document
	path string
	node *yaml.Node
}

func (r reader) problem(format string, args ...any) {
	r.c.problem(r.d, r.node, r.path, fmt.Sprintf(format, args...))
}

func (r reader) note(format string, args ...any) {
	r.c.note(r.d, r.node, r.path, fmt.Sprintf(format, args...))
}

// unreadable is what stands for a value that cannot be read.
func (r reader) unreadable() reader { return reader{r.c, r.d, r.path, &yaml.Node{}} }

func (r reader) lost() bool { return r.node.Kind == 0 }

func (r reader) null() bool { return r.node.Kind == yaml.ScalarNode && r.node.Tag == "!!null" }

// each calls f for every key of a mapping, in the order of the text. Of a key that is there twice, the last one counts.
func (r reader) each(f func(key string, value reader)) {
	r = r.resolved()
	if r.lost() || r.null() {
		return
	}
	if r.node.Kind != yaml.MappingNode {
		r.problem("is not a mapping")
		return
	}
	content := merged(r.node, map[*yaml.Node]bool{})
	last := map[string]int{}
	for i := 0; i+1 < len(content); i += 2 {
		last[content[i].Value] = i
	}
	for i := 0; i+1 < len(content); i += 2 {
		key, v := content[i], r.child(content[i], content[i+1])
		switch l := last[key.Value]; {
		case l != i:
			r.child(content[l], content[l+1]).note("is there twice: the last one counts, what %s holds is left out", v.place())
		case v.templated(key):
			v.problem("the key %s is a template that cannot be evaluated here: write it out", key.Value)
		default:
			f(key.Value, v)
		}
	}
}

// child is the value of a key of a mapping.
func (r reader) child(key, value *yaml.Node) reader {
	v := reader{r.c, r.d, r.path + "." + key.Value, value}
	if r.path == "" {
		v.path = key.Value
	}
	if v.node.Kind == yaml.AliasNode {
		v.node = v.node.Alias
	}
	if v.node.Kind != yaml.ScalarNode {
		n := *v.node
		n.Line = key.Line
		v.node = &n
	}
	return v
}

// merged returns the keys and values of a mapping, those that it merges (<<) first unless it has the key itself.
func merged(n *yaml.Node, seen map[*yaml.Node]bool) (out []*yaml.Node) {
	seen[n] = true
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		own[n.Content[i].Value] = true
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		from := []*yaml.Node{n.Content[i+1]}
		if from[0].Kind == yaml.SequenceNode {
			from = from[0].Content
		}
		for _, m := range from {
			if m.Kind == yaml.AliasNode {
				m = m.Alias
			}
			if m.Kind != yaml.MappingNode || seen[m] {
				continue
			}
			more := merged(m, seen)
			for j := 0; j+1 < len(more); j += 2 {
				if key := more[j].Value; !own[key] {
					own[key] = true
					out = append(out, more[j], more[j+1])
				}
			}
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			out = append(out, n.Content[i], n.Content[i+1])
		}
	}
	return out
}

// place names the line of the value.
func (r reader) place() string {
	if m := r.c.remark(r.d, r.node, "", ""); m.Line > 0 {
		return fmt.Sprintf("%s:%d", m.Input, m.Line)
	}
	return r.d.input
}

// fields reads the keys of a mapping, each by its function; others are problems.
func (r reader) fields(known map[string]func(reader)) {
	r.each(func(key string, v reader) {
		if f, ok := known[key]; ok {
			if !v.null() {
				f(v)
			}
			return
		}
		v.problem("unknown key; nothing was made of it")
	})
}

// items reads a list; a single value stands for a list of one. An item may be a template that stands for a list.
func (r reader) items(f func(reader)) {
	r = r.resolved()
	switch r.node.Kind {
	case 0:
	case yaml.SequenceNode:
		for i, n := range r.node.Content {
			item := reader{r.c, r.d, fmt.Sprintf("%s[%d]", r.path, i), n}.resolved()
			if item.node.Kind == yaml.SequenceNode && n.Kind == yaml.ScalarNode {
				for _, x := range item.node.Content {
					f(reader{r.c, item.d, item.path, x})
				}
				continue
			}
			if !item.lost() {
				f(item)
			}
		}
	case yaml.ScalarNode:
		f(r)
	default:
		r.problem("is not a list")
	}
}

func (r reader) strings() (out []string) {
	r.items(func(i reader) { out = append(out, i.str()) })
	return out
}

// str reads a single value; null is empty.
func (r reader) str() string {
	r = r.resolved()
	switch {
	case r.lost() || r.null():
		return ""
	case r.node.Kind != yaml.ScalarNode:
		r.problem("is not a single value")
		return ""
	}
	return r.node.Value
}

// boolean reads what YAML or Ansible take for true or false.
func (r reader) boolean() bool {
	r = r.resolved()
	if r.lost() {
		return false
	}
	switch strings.ToLower(r.str()) {
	case "true", "yes", "on":
		return true
	case "false", "no", "off":
	default:
		r.problem("%q is neither true nor false", r.node.Value)
	}
	return false
}

func (r reader) number(bits int) uint64 {
	r = r.resolved()
	if r.lost() {
		return 0
	}
	n, err := strconv.ParseUint(r.str(), 10, bits)
	if err != nil {
		r.problem("%q is not a number from 0 to %d", r.node.Value, uint64(1)<<bits-1)
	}
	return n
}

// port reads a port of a peer; empty and 0 are the default, as for MetalLB.
func (r reader) port() uint16 {
	if r = r.resolved(); r.node.Kind == yaml.ScalarNode && r.node.Value == "" {
		return 0
	}
	return uint16(r.number(16))
}

// Bounds for decode: text that refers to itself grows without end.
const (
	maxDepth   = 100
	maxDecoded = 100_000
)

// decode reads the value as it is, without what is null in it: that is not set. Templates in it are followed; what cannot be read is
// a problem, and left out.
func (r reader) decode() any { return r.decodeAt(0) }

func (r reader) decodeAt(depth int) any {
	r = r.resolved()
	if r.c.decoded++; depth > maxDepth || r.c.decoded > maxDecoded {
		if r.c.decoded <= maxDecoded+1 {
			r.problem("contains itself, or too much")
		}
		return nil
	}
	switch r.node.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		r.each(func(key string, v reader) {
			if x := v.decodeAt(depth + 1); x != nil {
				out[key] = x
			}
		})
		return out
	case yaml.SequenceNode:
		out := []any{}
		for i, n := range r.node.Content {
			item := reader{r.c, r.d, fmt.Sprintf("%s[%d]", r.path, i), n}.resolved()
			if !item.lost() {
				out = append(out, item.decodeAt(depth+1))
			}
		}
		return out
	case yaml.ScalarNode:
		return r.scalar()
	}
	return nil
}

// scalar reads a single value by its type: a number, true or false, null, or a text.
func (r reader) scalar() any {
	switch r.node.ShortTag() {
	case "!!str", "!!timestamp", unsafeTag, "!":
		return r.node.Value
	}
	var out any
	if err := r.node.Decode(&out); err != nil {
		r.problem("%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	return out
}
