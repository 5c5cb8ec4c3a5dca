package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Who advertises.
const (
	calico  = "calico"
	speaker = "speaker"
)

// document is a YAML document of an input.
type document struct {
	input string
	kind  string
	root  *yaml.Node
	// lines is to be added to the line of a node; it is negative if lines are not those of the input.
	lines int
}

// converter holds the state of one conversion.
type converter struct {
	Options
	result     *Result
	documents  []document
	advertiser string // who advertises according to the input
	passwords  bool   // a peer has one
}

var tabbed = regexp.MustCompile(`^[ ]*\t`)

// read splits an input into documents and finds out of what kind each is.
func (c *converter) read(in Input) { c.readText(in.Name, in.Text, 0, "", "") }

// readText reads text that begins after the given line of an input and is of the given kind, if that is known. field is what holds it.
func (c *converter) readText(input string, text []byte, lines int, kind, field string) {
	n := 0
	for line := range bytes.Lines(text) {
		if n++; tabbed.Match(line) {
			c.problem(&document{input: input, lines: lines}, &yaml.Node{Line: n}, field, "a tab in the indentation; YAML takes only spaces")
			return
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			c.problem(&document{input: input, lines: lines}, &yaml.Node{Line: lineOf(err)}, field, strings.TrimSpace(yamlLine.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")))
			return
		}
		if len(node.Content) == 1 {
			c.document(document{input: input, kind: kind, root: node.Content[0], lines: lines})
		}
	}
}

var yamlLine = regexp.MustCompile(`line (\d+):`)

// lineOf returns the line that an error of the YAML library tells of, or 0.
func lineOf(err error) int {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// document finds out of what kind a document is, and opens ConfigMaps.
func (c *converter) document(d document) {
	if d.kind == "" {
		d.kind = c.From
	}
	if d.root.Tag == "!!null" && d.kind == Values {
		d.root = &yaml.Node{Kind: yaml.MappingNode, Line: 1}
	}
	if d.root.Kind != yaml.MappingNode {
		if d.root.Tag != "!!null" {
			c.problem(&d, d.root, "", "a mapping of keys is needed")
		}
		return
	}
	if kind := field(d.root, "kind"); kind != nil && field(d.root, "apiVersion") != nil {
		c.object(d, kind)
		return
	}
	if d.kind == "" {
		d.kind = guess(d.root)
	}
	c.documents = append(c.documents, d)
}

// object takes a Kubernetes object as input.
func (c *converter) object(d document, kind *yaml.Node) {
	data := field(d.root, "data")
	if kind.Value != "ConfigMap" || data == nil {
		c.problem(&d, kind, "kind", fmt.Sprintf("%s is not converted. Objects of metallb.io work as they are; apply them unchanged", kind.Value))
		return
	}
	if ns := field(field(d.root, "metadata"), "namespace"); ns != nil && c.Namespace == "" {
		c.Namespace = ns.Value
	}
	for _, k := range []struct{ key, kind string }{{"config", ConfigMap}, {"values.yaml", Values}} {
		inner := field(data, k.key)
		if inner == nil {
			continue
		}
		lines := inner.Line + d.lines
		if inner.Style&(yaml.LiteralStyle) == 0 {
			lines = -1
		}
		c.readText(d.input, []byte(inner.Value), lines, k.kind, "data."+k.key)
		return
	}
	c.problem(&d, data, "data", "has neither the key config (MetalLB's configuration) nor values.yaml (Helm values)")
}

// guess tells by its keys what a document is.
func guess(root *yaml.Node) string {
	for i := 0; i < len(root.Content); i += 2 {
		switch key := root.Content[i].Value; {
		case strings.HasPrefix(key, "metallb_"), strings.HasPrefix(key, "calico_"), strings.HasPrefix(key, "kube_"):
			return Kubespray
		case slices.Contains([]string{"address-pools", "peers", "bgp-communities", "bfd-profiles"}, key):
			return ConfigMap
		}
	}
	return Values
}

// field returns the value of a key of a mapping, or nil.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (c *converter) remark(d *document, n *yaml.Node, path, text string) Remark {
	r := Remark{Input: d.input, Field: path, Text: text}
	switch {
	case n == nil || n.Line == 0:
	case d.lines < 0:
		r.Text += fmt.Sprintf(" (line %d of the text within)", n.Line)
	default:
		r.Line = n.Line + d.lines
	}
	return r
}

func (c *converter) problem(d *document, n *yaml.Node, path, text string) {
	c.result.Problems = append(c.result.Problems, c.remark(d, n, path, text))
}

func (c *converter) note(d *document, n *yaml.Node, path, text string) {
	c.result.Notes = append(c.result.Notes, c.remark(d, n, path, text))
}

// reader reads one value: where it is, and what it is.
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

// each calls f for every key of a mapping, in the order of the text.
func (r reader) each(f func(key string, value reader)) {
	r = r.resolved()
	if r.node.Kind == 0 || r.node.Tag == "!!null" {
		return
	}
	if r.node.Kind != yaml.MappingNode {
		r.problem("is not a mapping")
		return
	}
	for i := 0; i+1 < len(r.node.Content); i += 2 {
		key, value := r.node.Content[i], r.node.Content[i+1]
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
		f(key.Value, v)
	}
}

// fields reads the keys of a mapping, each by its function; others are problems.
func (r reader) fields(known map[string]func(reader)) {
	r.each(func(key string, v reader) {
		if f, ok := known[key]; ok {
			if v.node.Tag != "!!null" {
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
	case yaml.SequenceNode:
		for i, n := range r.node.Content {
			item := reader{r.c, r.d, fmt.Sprintf("%s[%d]", r.path, i), n}.resolved()
			if item.node.Kind == yaml.SequenceNode && n.Kind == yaml.ScalarNode {
				for _, x := range item.node.Content {
					f(reader{r.c, r.d, item.path, x})
				}
				continue
			}
			f(item)
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

func (r reader) str() string {
	r = r.resolved()
	if r.node.Kind != yaml.ScalarNode {
		r.problem("is not a single value")
		return ""
	}
	return r.node.Value
}

// boolean reads what YAML or Ansible take for true or false.
func (r reader) boolean() bool {
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
	n, err := strconv.ParseUint(r.str(), 10, bits)
	if err != nil {
		r.problem("%q is not a number from 0 to %d", r.node.Value, uint64(1)<<bits-1)
	}
	return n
}

// decode reads the value as it is, without what is null in it.
func (r reader) decode() any {
	var out any
	if err := r.node.Decode(&out); err != nil {
		r.problem("%v", err)
	}
	return set(out)
}

// set drops from mappings what is null: it is not set.
func set(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if e == nil {
				delete(x, k)
				continue
			}
			x[k] = set(e)
		}
	case []any:
		for i, e := range x {
			x[i] = set(e)
		}
	}
	return v
}

var template = regexp.MustCompile(`^\{\{\s*([A-Za-z_][\w.]*)\s*\}\}$`)

// resolved follows a template that names another variable, as in "{{ metallb_config.address_pools.primary.ip_range }}". Any other
// template is a problem.
func (r reader) resolved() reader {
	if r.node.Kind == yaml.AliasNode {
		r.node = r.node.Alias
	}
	for range 10 {
		if r.d.kind != Kubespray || r.node.Kind != yaml.ScalarNode || !strings.Contains(r.node.Value, "{{") {
			return r
		}
		m := template.FindStringSubmatch(strings.TrimSpace(r.node.Value))
		if m == nil {
			break
		}
		found := r.c.variable(strings.Split(m[1], "."))
		if found == nil {
			r.problem("%s names a variable that is in none of the inputs: give its file, too (-f), or write the value in its place", r.node.Value)
			return reader{r.c, r.d, r.path, &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: r.node.Line}}
		}
		r.node = found
	}
	if strings.Contains(r.node.Value, "{{") {
		r.problem("%s is a template that cannot be evaluated here: write the value in its place", r.node.Value)
		return reader{r.c, r.d, r.path, &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: r.node.Line}}
	}
	return r
}

// variable returns the value of a variable of Ansible by its path.
func (c *converter) variable(path []string) *yaml.Node {
	for i := range c.documents {
		n := c.documents[i].root
		for _, key := range path {
			n = field(n, key)
		}
		if n != nil {
			return n
		}
	}
	return nil
}
