package convert

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// unsafeTag marks a text of Ansible that is no template, whatever is in it.
const unsafeTag = "!unsafe"

// readable are the tags of values that mean what they say.
var readable = []string{"", "!", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!map", "!!seq", "!!merge", unsafeTag}

// vaultHeader begins every text that Ansible Vault has encrypted.
const vaultHeader = "$ANSIBLE_VAULT;"

const vaultRemedy = "is encrypted by Ansible Vault: write the value in its place ('ansible-vault view' or 'ansible -m debug' shows it), " +
	"or leave the key out and set it by hand"

func encrypted(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode &&
		(strings.HasPrefix(n.Tag, "!vault") || strings.HasPrefix(strings.TrimSpace(n.Value), vaultHeader))
}

// whole is a template that names a variable, and nothing else.
var whole = regexp.MustCompile(`^\{\{-?\s*([A-Za-z_][\w.]*)\s*-?\}\}$`)

// free are the parts of Helm values that are texts of other programs, with templates of their own: Prometheus', or those of whoever
// reads annotations of pods.
var free = regexp.MustCompile(`(?i)(^|\.)(\w*annotations|extraContainers|prometheusRule|relabelings|metricRelabelings)($|[.\[])`)

// templated reports whether a node at the reader's place is to be evaluated by a template engine.
func (r reader) templated(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Tag == unsafeTag || r.d.kind == Values && free.MatchString(r.path) {
		return false
	}
	return strings.Contains(n.Value, "{{") || strings.Contains(n.Value, "{%")
}

// resolved follows a template that names another variable, as in "{{ metallb_config.address_pools.primary.ip_range }}". Any other
// template is a problem, and so is what Ansible Vault has encrypted and what a tag of another program is to make a value of.
func (r reader) resolved() reader {
	at, followed := r, false
	for range 10 {
		if r.node.Kind == yaml.AliasNode {
			r.node = r.node.Alias
		}
		switch {
		case encrypted(r.node):
			if followed {
				at.problem("%s, at %s, %s", at.node.Value, r.place(), vaultRemedy)
			} else {
				at.problem(vaultRemedy)
			}
			return r.unreadable()
		case !slices.Contains(readable, r.node.Tag) && !strings.HasPrefix(r.node.Tag, "tag:yaml.org,2002:"):
			at.problem("the tag %s makes a value that is not known here: write the value in its place", r.node.Tag)
			return r.unreadable()
		case !r.templated(r.node):
			return r
		}
		m := whole.FindStringSubmatch(strings.TrimSpace(r.node.Value))
		if r.d.kind != Kubespray || m == nil {
			break
		}
		found, d := r.c.variable(strings.Split(m[1], "."))
		if found == nil {
			at.problem("%s names a variable that is in none of the inputs: give its file, too (-f), or write the value in its place", r.node.Value)
			return r.unreadable()
		}
		r, followed = reader{r.c, d, m[1], found}, true
	}
	at.problem("%s is a template that cannot be evaluated here: write the value in its place", at.node.Value)
	return r.unreadable()
}

// variable returns the value of a variable of Ansible by its path, and the document that holds it. The last definition counts.
func (c *converter) variable(path []string) (*yaml.Node, *document) {
	for i := len(c.documents) - 1; i >= 0; i-- {
		n := c.documents[i].root
		for _, key := range path {
			n = field(n, key)
		}
		if n != nil {
			return n, &c.documents[i]
		}
	}
	return nil, nil
}
