// Package convert turns what MetalLB and Kubespray were configured with into objects of metallb.io and values of the chart. It reads
// and writes nothing but text.
package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The kinds of input.
const (
	// Kubespray is a file of variables of a Kubespray inventory.
	Kubespray = "kubespray"
	// ConfigMap is MetalLB's ConfigMap of before version 0.13, or what its key config holds.
	ConfigMap = "configmap"
	// Values are values of MetalLB's Helm chart, or a ConfigMap of Flux that holds them under the key values.yaml.
	Values = "values"
	// Objects are a MetalLB of MetalLB's operator and AddressPools, which MetalLB has given up.
	Objects = "objects"
)

// Kinds are all kinds of input.
var Kinds = []string{Kubespray, ConfigMap, Values, Objects}

// Options say how to convert.
type Options struct {
	// Namespace is where the objects go.
	Namespace string
	// From is the kind of all inputs; empty: it is told by what is in them.
	From string
	// Backend is who is to advertise; empty: who does so according to the input.
	Backend string
}

// Input is a text to convert.
type Input struct {
	// Name is what messages call the text: a path.
	Name string
	Text []byte
}

// Remark says something of a place in the input.
type Remark struct {
	// Input is the name of the Input; Line counts from 1, 0 is unknown.
	Input string
	Line  int
	// Field is the path of the key, such as metallb_config.layer2.
	Field string
	Text  string
}

func (r Remark) String() string {
	place := r.Input
	if r.Line > 0 {
		place += fmt.Sprintf(":%d", r.Line)
	}
	if r.Field != "" {
		return place + ": " + r.Field + ": " + r.Text
	}
	return place + ": " + r.Text
}

// Result is what came out.
type Result struct {
	// Objects are those of metallb.io, in an order in which they can be applied.
	Objects []client.Object
	// Values are those of the chart.
	Values map[string]any
	// Problems are what could not be converted; Notes are what was understood but has no counterpart, or needs a decision.
	Problems, Notes []Remark
}

// errNothing is returned for input in which there is nothing to convert.
var errNothing = errors.New("nothing to convert")

// Convert converts inputs, which belong together: variables of one may refer to those of another. An error is returned only if it
// could not even begin; what could not be converted is in the Problems of the Result.
func Convert(inputs []Input, o Options) (*Result, error) {
	c := &converter{Options: o, result: &Result{Values: map[string]any{}}, defined: map[string]bool{}}
	for _, in := range inputs {
		c.read(in)
	}
	c.Namespace = cmp.Or(c.Namespace, "metallb-system")
	if len(c.documents) == 0 {
		c.result.Problems = append(c.result.Problems, c.unchanged...)
		if len(c.result.Problems) == 0 {
			return nil, errNothing
		}
	} else {
		c.result.Notes = append(c.result.Notes, c.unchanged...)
	}
	kinds := map[string]bool{}
	for i := range c.documents { // variables that others refer to can have any name
		if d := &c.documents[i]; d.kind == "" && slices.ContainsFunc(c.documents, func(d document) bool { return d.kind == Kubespray }) {
			d.kind = Kubespray
		} else if d.kind == "" {
			d.kind = Values
		}
	}
	for i := range c.documents {
		kinds[c.documents[i].kind] = true
	}
	if len(kinds) > 1 {
		return nil, fmt.Errorf("inputs of different kinds: convert them one kind at a time, as %s", strings.Join(Kinds, ", "))
	}
	if kinds[Kubespray] {
		c.kubespray()
	}
	for i := range c.documents {
		switch d := &c.documents[i]; d.kind {
		case ConfigMap:
			c.config(d)
		case Values:
			c.values(d)
		case Objects:
			c.objects(d)
		}
	}
	c.finish()
	return c.result, nil
}

// finish chooses who advertises, and sorts.
func (c *converter) finish() {
	backend := cmp.Or(c.Backend, c.advertiser)
	if backend != "" {
		c.set("backend", backend)
		if _, said := c.get("speaker.enabled").(bool); backend == speaker || !said || c.Backend != "" {
			c.set("speaker.enabled", backend == speaker)
		}
	}
	c.ports()
	if backend == calico && c.passwords {
		c.set("calico.passwordNamespace", c.calicoNamespace())
	}
	order := func(o client.Object) int { return slices.Index(kindOrder, o.GetObjectKind().GroupVersionKind().Kind) }
	slices.SortStableFunc(c.result.Objects, func(a, b client.Object) int { return cmp.Compare(order(a), order(b)) })
	byPlace := func(a, b Remark) int { return cmp.Or(cmp.Compare(a.Input, b.Input), cmp.Compare(a.Line, b.Line)) }
	slices.SortStableFunc(c.result.Problems, byPlace)
	slices.SortStableFunc(c.result.Notes, byPlace)
}

// ports: on a node, a port is taken once.
func (c *converter) ports() {
	number := func(path string, usual int) int {
		if n, ok := c.get(path).(int); ok {
			return n
		}
		return usual
	}
	if m := number("speaker.memberlist.mlBindPort", 7946); c.get("speaker.enabled") == true && m == number("prometheus.metricsPort", 7472) {
		const twice = "the port %d of the nodes would be that of the metrics and of the speakers' memberlist: change one"
		c.problem(&c.documents[0], nil, "", fmt.Sprintf(twice, m))
	}
}

// calicoNamespace is where calico-node runs: Kubespray puts it in kube-system, the operator in calico-system.
func (c *converter) calicoNamespace() string {
	if c.documents[0].kind == Kubespray {
		return "kube-system"
	}
	return "calico-system"
}

// get returns a value of the chart by its path, or nil.
func (c *converter) get(path string) any {
	var at any = c.result.Values
	for key := range strings.SplitSeq(path, ".") {
		m, _ := at.(map[string]any)
		at = m[key]
	}
	return at
}

// set sets a value of the chart by its path.
func (c *converter) set(path string, value any) {
	at := c.result.Values
	keys := strings.Split(path, ".")
	for _, k := range keys[:len(keys)-1] {
		next, ok := at[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[k] = next
		}
		at = next
	}
	at[keys[len(keys)-1]] = value
}
