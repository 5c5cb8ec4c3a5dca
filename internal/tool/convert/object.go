package convert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// unchanged are the objects of metallb.io that Fairlead reads as they are.
var unchanged = []string{
	"metallb.io/v1beta1 IPAddressPool", "metallb.io/v1beta1 L2Advertisement", "metallb.io/v1beta1 BGPAdvertisement",
	"metallb.io/v1beta1 Community", "metallb.io/v1beta1 BFDProfile", "metallb.io/v1beta1 BGPPeer", "metallb.io/v1beta2 BGPPeer",
}

// object takes a Kubernetes object as input.
func (c *converter) object(d document, version, kind *yaml.Node) {
	r := reader{c, &d, "", d.root}
	switch name := version.Value + " " + kind.Value; {
	case strings.HasSuffix(kind.Value, "List") && field(d.root, "items") != nil:
		c.list(d, field(d.root, "items"))
		return
	case kind.Value == "ConfigMap":
	case slices.Contains(unchanged, name):
		of := strings.TrimSpace(kind.Value + " " + objectKey(d.root))
		c.unchanged = append(c.unchanged, c.remark(&d, kind, "kind", of+" works as it is: apply it unchanged"))
		for _, a := range content(field(field(d.root, "spec"), "communities")) {
			if n := field(a, "name"); kind.Value == "Community" && n != nil {
				c.defined[n.Value] = true
			}
		}
		return
	case strings.HasPrefix(version.Value, "metallb.io/") && (kind.Value == "MetalLB" || kind.Value == "AddressPool"):
		d.kind = Objects
		c.documents = append(c.documents, d)
	default:
		c.problem(&d, kind, "kind", kind.Value+" of "+version.Value+" is not converted; what is are ConfigMap, MetalLB and AddressPool")
		return
	}
	if ns := field(field(d.root, "metadata"), "namespace"); ns != nil && c.Namespace == "" {
		c.Namespace = reader{c, &d, "metadata.namespace", ns}.str()
	}
	if kind.Value == "ConfigMap" {
		r.configMap()
	}
}

// objectKey names an object as kubectl does, as far as it has names.
func objectKey(root *yaml.Node) string {
	meta := field(root, "metadata")
	out := ""
	if n := field(meta, "namespace"); n != nil {
		out = n.Value + "/"
	}
	if n := field(meta, "name"); n != nil {
		out += n.Value
	}
	return out
}

// content is what a list holds.
func content(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// list takes every object of a list, as kubectl get -o yaml writes it.
func (c *converter) list(d document, items *yaml.Node) {
	for i, n := range content(items) {
		version, kind := field(n, "apiVersion"), field(n, "kind")
		if version == nil || kind == nil || strings.HasSuffix(kind.Value, "List") {
			c.problem(&d, n, fmt.Sprintf("items[%d]", i), "is no object: it needs apiVersion and kind")
			continue
		}
		item := d
		item.root = n
		c.object(item, version, kind)
	}
}

// configMap opens a ConfigMap.
func (r reader) configMap() {
	data := field(r.node, "data")
	for _, k := range []struct{ key, kind string }{{"config", ConfigMap}, {"values.yaml", Values}} {
		inner := field(data, k.key)
		if inner == nil {
			continue
		}
		lines := inner.Line + r.d.lines
		if inner.Style&yaml.LiteralStyle == 0 {
			lines = -1
		}
		if encrypted(inner) {
			reader{r.c, r.d, "data." + k.key, inner}.problem(vaultRemedy)
			return
		}
		r.c.readText(r.d.input, []byte(inner.Value), lines, k.kind, "data."+k.key)
		return
	}
	at := data
	if at == nil {
		at = field(r.node, "kind")
	}
	r.c.problem(r.d, at, "data", "has neither the key config (MetalLB's configuration) nor values.yaml (Helm values)")
}

// objects converts an object of MetalLB's operator, or one that MetalLB has given up.
func (c *converter) objects(d *document) {
	if c.advertiser == "" {
		c.advertiser = speaker
	}
	r := reader{c, d, "", d.root}
	skip := func(reader) {}
	spec := c.operatorSpec
	if field(d.root, "kind").Value == "AddressPool" {
		name := ""
		if n := field(field(d.root, "metadata"), "name"); n != nil {
			name = reader{c, d, "metadata.name", n}.str()
		}
		spec = func(v reader) { c.addressPool(v, name) }
	}
	r.fields(map[string]func(reader){"apiVersion": skip, "kind": skip, "metadata": skip, "status": skip, "spec": spec})
}

// operatorSpec makes values of the spec of a MetalLB, which MetalLB's operator makes an installation of.
func (c *converter) operatorSpec(r reader) {
	component := func(name string) func(reader) {
		to := func(path string, t valueType) func(reader) {
			return func(v reader) { c.keepAs(v, name+"."+path, t) }
		}
		return func(v reader) {
			v.fields(map[string]func(reader){
				"priorityClassName": to("priorityClassName", text),
				"runtimeClassName":  to("runtimeClassName", text),
				"affinity":          to("affinity", mapping),
				"annotations":       to("podAnnotations", texts),
				"resources":         func(v reader) { c.resources(v, name) },
			})
		}
	}
	to := func(path string, t valueType) func(reader) { return func(v reader) { c.keepAs(v, path, t) } }
	r.fields(map[string]func(reader){
		"image":                  func(v reader) { without("the operator makes nothing of it either")(c, v) },
		"nodeSelector":           to("speaker.nodeSelector", texts),
		"speakerTolerations":     to("speaker.tolerations", list),
		"speakerConfig":          component("speaker"),
		"controllerNodeSelector": to("controller.nodeSelector", texts),
		"controllerTolerations":  to("controller.tolerations", list),
		"controllerConfig":       component("controller"),
		"logLevel":               func(v reader) { c.logLevel(v, "controller.logLevel", "speaker.logLevel") },
		"loadBalancerClass":      to("loadBalancerClass", text),
		"bgpBackend": func(v reader) {
			switch s := v.str(); s {
			case "", "native":
			case "frr", "frr-k8s", "frr-k8s-external":
				v.note("%s is left out: %s", s, noFRR)
			default:
				v.problem("%q is none of native, frr, frr-k8s and frr-k8s-external", s)
			}
		},
		"frrk8sConfig": func(v reader) { without(noFRR)(c, v) },
		"speakerGratuitousARPInterval": func(v reader) {
			if d := v.duration(); d != nil {
				c.set("speaker.gratuitousInterval", d.Duration.Round(time.Millisecond).String())
			}
		},
	})
}

// addressPool makes of the spec of an AddressPool what MetalLB's own converter made of the pools of the ConfigMap.
func (c *converter) addressPool(r reader, name string) {
	p, told := pool{name: name}, c.told
	length := func(to **int32) func(reader) {
		return func(v reader) { n := int32(v.number(8)); *to = &n }
	}
	r.fields(map[string]func(reader){
		"name":          func(v reader) { v.str() }, // v1alpha1 had it, and made nothing of it
		"protocol":      func(v reader) { p.protocol = v.str() },
		"addresses":     func(v reader) { p.ranges = v.ranges() },
		"autoAssign":    func(v reader) { b := v.boolean(); p.spec.AutoAssign = &b },
		"avoidBuggyIPs": func(v reader) { p.spec.AvoidBuggyIPs = v.boolean() },
		"bgpAdvertisements": func(v reader) {
			v.items(func(v reader) {
				ad := v1beta1.BGPAdvertisementSpec{}
				v.fields(map[string]func(reader){
					"aggregationLength":   length(&ad.AggregationLength),
					"aggregationLengthV6": length(&ad.AggregationLengthV6),
					"localPref":           func(v reader) { ad.LocalPref = uint32(v.number(32)) },
					"communities":         func(v reader) { ad.Communities = v.aliasesOf(c.defined) },
				})
				p.ads = append(p.ads, ad)
			})
		},
	})
	p.told = c.told > told
	c.poolAndAds(r, p)
}

// aliasesOf reads communities, whose names may be defined by objects that are not among the inputs.
func (r reader) aliasesOf(defined map[string]bool) (out []string) {
	r.items(func(i reader) {
		s := i.str()
		if !strings.Contains(s, ":") && !defined[s] {
			i.note("the community %q has to be defined by a Community: none of the inputs does", s)
		}
		out = append(out, s)
	})
	return out
}
