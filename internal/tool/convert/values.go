package convert

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rule converts one value of MetalLB's chart, or a subtree of them.
type rule func(c *converter, v reader)

// keep: our chart has the same value, of this type.
func keep(t valueType) rule {
	return func(c *converter, v reader) { c.keepAs(v, v.path, t) }
}

// move: our chart has the value under another name.
func move(to string, t valueType) rule {
	return func(c *converter, v reader) { c.keepAs(v, to, t) }
}

// filePath keeps the absolute path of a file; empty is the default.
func filePath(c *converter, v reader) {
	switch s := v.str(); {
	case strings.HasPrefix(s, "/"):
		c.set(v.path, s)
	case s != "":
		v.problem("%q is not the path of a file: it has to begin with /", s)
	}
}

// without: there is no counterpart, and none is needed. A value that says nothing is passed over.
func without(why string) rule {
	return func(_ *converter, v reader) {
		if !empty(v.decode()) {
			v.note("left out: %s", why)
		}
	}
}

// unless leaves out the value that MetalLB's chart has anyway, and converts any other. Without a reason nothing is said of it.
func unless(usual any, why string, other rule) rule {
	return func(c *converter, v reader) {
		if reflect.DeepEqual(v.decode(), usual) {
			if why != "" {
				v.note("left out: %s", why)
			}
			return
		}
		other(c, v)
	}
}

// refuse: there is no counterpart, and somebody has to decide.
func refuse(why string) rule {
	return func(_ *converter, v reader) {
		if !empty(v.decode()) {
			v.problem("%s", why)
		}
	}
}

// empty reports whether a value says nothing: nothing in it is set.
func empty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case []any:
		return len(x) == 0
	case map[string]any:
		for _, e := range x {
			if !empty(e) {
				return false
			}
		}
		return true
	}
	return false
}

// perComponent: our chart has one ServiceMonitor's settings for both.
func perComponent(c *converter, v reader) {
	v.fields(map[string]func(reader){
		"tlsConfig":        func(v reader) { without(noTLS)(c, v) },
		"additionalLabels": func(v reader) { c.merge("prometheus.serviceMonitor.additionalLabels", v) },
		"annotations":      func(v reader) { c.merge("prometheus.serviceMonitor.annotations", v) },
	})
}

// merge adds a mapping to one of the chart's.
func (c *converter) merge(path string, v reader) {
	m, _ := c.get(path).(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	v.each(func(key string, v reader) {
		if v.null() || v.resolved().lost() {
			return
		}
		if had, ok := m[key]; ok && had != v.str() {
			v.problem("speaker and controller have different ones; there is one for both: make them equal")
		}
		m[key] = v.str()
	})
	if len(m) > 0 {
		c.set(path, m)
	}
}

// monitors: of the two ways in which Prometheus Operator finds what to ask, our chart takes one, as MetalLB's does from 0.14 on.
func (c *converter) monitors(d *document) {
	of := func(monitor string) reader {
		return c.valueAt(d, "prometheus", monitor, "enabled")
	}
	pods, services := of("podMonitor"), of("serviceMonitor")
	if pods.yes() && services.yes() {
		services.problem("is true, and so is prometheus.podMonitor.enabled (%s), which counts everything twice: use one", pods.place())
		c.set("prometheus.serviceMonitor.enabled", false)
	}
	if n, ok := c.get("prometheus.metricsPort").(int); ok && n == 0 {
		for _, v := range []reader{pods, services, c.valueAt(d, "prometheus", "scrapeAnnotations")} {
			if v.yes() {
				v.problem("is true, but prometheus.metricsPort is 0, and so there are no metrics: set it to 7472, or this to false")
			}
		}
	}
}

// valueAt reads a value by its path; it is lost if it is not set.
func (c *converter) valueAt(d *document, keys ...string) reader {
	v := reader{c, d, strings.Join(keys, "."), d.root}
	for _, key := range keys {
		v.node = field(v.node, key)
	}
	if v.node == nil || v.null() {
		v.node = &yaml.Node{}
	}
	return v
}

// rbacPrometheus: with a PodMonitor or ServiceMonitor, MetalLB's chart makes a Role for Prometheus unless it is told not to; ours makes
// one only if it is told to.
func (c *converter) rbacPrometheus(d *document) {
	get := func(keys ...string) reader { return c.valueAt(d, append([]string{"prometheus"}, keys...)...) }
	given := get("rbacPrometheus")
	unset := given.lost()
	if !unset && !given.boolean() {
		c.set("prometheus.rbacPrometheus", false)
		return
	}
	at := given
	if unset {
		at.node = get().node
	}
	named := get("serviceAccount").str() != "" && get("namespace").str() != ""
	monitored := get("podMonitor", "enabled").yes() || get("serviceMonitor", "enabled").yes()
	const differ = "MetalLB's chart has true unless it is set, Fairlead's has false: "
	switch {
	case named && unset && monitored:
		c.set("prometheus.rbacPrometheus", true)
		at.note(differ + "true is written, so that Prometheus keeps the Role by which it finds the pods")
	case named && unset:
		at.note(differ + "left out, for without a PodMonitor or ServiceMonitor MetalLB makes no Role for Prometheus either")
	case named:
		c.set("prometheus.rbacPrometheus", true)
	case unset && !monitored:
	default:
		at.note("left out: without prometheus.serviceAccount and prometheus.namespace nobody could be given the rights. " + differ +
			"Prometheus needs a Role of yours to find the pods")
	}
}

// yes reports whether a value is set, and true.
func (r reader) yes() bool {
	r = r.resolved()
	return r.node.Tag == "!!bool" && r.boolean()
}

// values converts values of MetalLB's chart.
func (c *converter) values(d *document) {
	if c.advertiser == "" {
		c.advertiser = speaker
	}
	c.subtree(reader{c, d, "", d.root})
	c.rbacPrometheus(d)
	c.monitors(d)
	if n := field(d.root, "configInline"); n != nil && n.Kind == yaml.MappingNode {
		inner := *d
		inner.root = n
		c.config(&inner)
	}
	if enabled, ok := c.get("speaker.enabled").(bool); ok && !enabled {
		c.advertiser = "auto"
		c.note(d, nil, "speaker.enabled", "is false: the CNI is to advertise; backend auto finds out which")
	}
}

// subtree converts what is below a path.
func (c *converter) subtree(r reader) {
	r.each(func(_ string, v reader) {
		if v.path == "configInline" || v.null() {
			return
		}
		if f, ok := rules[v.path]; ok {
			f(c, v)
			return
		}
		if v = v.resolved(); v.lost() {
			return
		}
		for path := range rules {
			if strings.HasPrefix(path, v.path+".") {
				c.subtree(v)
				return
			}
		}
		v.problem("unknown value; nothing was made of it")
	})
}
