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
	claims     []addressRange
	unchanged  []Remark        // objects that work as they are
	defined    map[string]bool // names of communities in them
	peers      int             // how many objects without a name of their own were made, of each kind
	layer2     int
	bgp        int
	decoded    int // values that decode has read
	told       int // problems, those told before included
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
			c.problem(&document{input: input, lines: lines}, &yaml.Node{Line: lineOf(err)}, field,
				strings.TrimSpace(yamlLine.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")))
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
	switch {
	case d.root.Kind == yaml.MappingNode:
	case d.root.Tag == "!!null":
		return
	case encrypted(d.root):
		c.problem(&d, d.root, "", "the whole file is encrypted by Ansible Vault: decrypt it first "+
			"('ansible-vault view FILE | kubectl fairlead convert -f -')")
		return
	default:
		c.problem(&d, d.root, "", "a mapping of keys is needed")
		return
	}
	if kind, version := field(d.root, "kind"), field(d.root, "apiVersion"); kind != nil && version != nil {
		c.object(d, version, kind)
		return
	}
	switch d.kind {
	case "":
		d.kind = guess(d.root)
	case Objects:
		c.problem(&d, d.root, "", "is no object: it needs apiVersion and kind")
		return
	}
	c.documents = append(c.documents, d)
}

// guess tells by its keys what a document is; empty if they do not tell.
func guess(root *yaml.Node) string {
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch key := root.Content[i].Value; {
		case strings.HasPrefix(key, "metallb_"), strings.HasPrefix(key, "calico_"), strings.HasPrefix(key, "kube_"),
			key == "metallb" && field(root.Content[i+1], "ip_range") != nil:
			return Kubespray
		case slices.Contains([]string{"address-pools", "peers", "bgp-communities", "bfd-profiles"}, key):
			return ConfigMap
		}
	}
	for path := range rules {
		if top, _, _ := strings.Cut(path, "."); field(root, top) != nil {
			return Values
		}
	}
	return ""
}

// field returns the value of a key of a mapping, or nil; of a key that is there twice the last one, which counts.
func field(n *yaml.Node, key string) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
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
	c.told++
	c.result.Problems = once(c.result.Problems, c.remark(d, n, path, text))
}

func (c *converter) note(d *document, n *yaml.Node, path, text string) {
	c.result.Notes = once(c.result.Notes, c.remark(d, n, path, text))
}

// once adds a remark that has not been made yet.
func once(all []Remark, r Remark) []Remark {
	if slices.Contains(all, r) {
		return all
	}
	return append(all, r)
}
