package convert

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rule converts one value of MetalLB's chart, or a subtree of them.
type rule func(c *converter, v reader)

// keep: our chart has the same value.
func keep(c *converter, v reader) { c.set(v.path, v.decode()) }

// move: our chart has the value under another name.
func move(to string) rule {
	return func(c *converter, v reader) { c.set(to, v.decode()) }
}

// without: there is no counterpart, and none is needed. A value that says nothing is passed over.
func without(why string) rule {
	return func(_ *converter, v reader) {
		if !empty(v.decode()) {
			v.note("left out: %s", why)
		}
	}
}

// unless leaves out the value that MetalLB's chart has anyway, and converts any other.
func unless(usual any, why string, other rule) rule {
	return func(c *converter, v reader) {
		if reflect.DeepEqual(v.decode(), usual) {
			v.note("left out: %s", why)
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

const (
	noFRR    = "there is no FRR; the speakers hold BGP sessions themselves"
	noTLS    = "metrics are plain HTTP; restrict who reaches the port by networkpolicies.enabled"
	ownImage = "is about MetalLB's own image; set controller.image and speaker.image to yours"
	ownNames = "objects of Fairlead have names of their own, so that they can stand beside MetalLB's during the change-over"
)

// rules are the values of MetalLB's chart by their path. What is below a path is its rule's, too.
var rules = map[string]rule{
	"nameOverride":         without(ownNames),
	"fullnameOverride":     without(ownNames),
	"imagePullSecrets":     keep,
	"loadBalancerClass":    keep,
	"rbac.create":          keep,
	"rbac.pspEnabled":      without("Kubernetes has no PodSecurityPolicies any more"),
	"psp":                  without("Kubernetes has no PodSecurityPolicies any more"),
	"tls":                  without(noTLS),
	"existingConfigMap":    refuse("names a ConfigMap with the configuration: convert that, too (kubectl get configmap -o yaml)"),
	"frrk8s":               without(noFRR),
	"frr-k8s":              without(noFRR),
	"crds.enabled":         keep,
	"networkpolicies":      keep,
	"prometheus.rbacProxy": without(noTLS),

	"crds.validationFailurePolicy": unless("Fail", "faults are reported without a webhook; see controller.webhookMode", keep),

	"prometheus.scrapeAnnotations": keep,
	"prometheus.metricsPort": func(c *converter, v reader) {
		v.note("at this port are metrics in plain HTTP; MetalLB 0.16 has HTTPS")
		keep(c, v)
	},
	"prometheus.secureMetricsPort":          without(noTLS),
	"prometheus.controllerMetricsTLSSecret": without(noTLS),
	"prometheus.speakerMetricsTLSSecret":    without(noTLS),
	"prometheus.serviceAccount":             keep,
	"prometheus.namespace":                  keep,
	"prometheus.rbacPrometheus": func(c *converter, v reader) {
		p := field(v.d.root, "prometheus")
		for _, key := range []string{"serviceAccount", "namespace"} {
			if n := field(p, key); v.boolean() && (n == nil || n.Value == "") {
				v.note("left out: without prometheus.serviceAccount and prometheus.namespace nobody could be given the rights")
				return
			}
		}
		keep(c, v)
	},
	"prometheus.podMonitor":                       keep,
	"prometheus.serviceMonitor.enabled":           keep,
	"prometheus.serviceMonitor.jobLabel":          keep,
	"prometheus.serviceMonitor.interval":          keep,
	"prometheus.serviceMonitor.metricRelabelings": keep,
	"prometheus.serviceMonitor.relabelings":       keep,
	"prometheus.serviceMonitor.speaker":           perComponent,
	"prometheus.serviceMonitor.controller":        perComponent,
	"prometheus.prometheusRule":                   keep,

	"controller.enabled":          keep,
	"controller.command":          without(ownImage),
	"controller.image.repository": without(ownImage),
	"controller.image.tag":        without(ownImage),
	"controller.image.pullPolicy": keep,
	"controller.logLevel":         func(c *converter, v reader) { c.logLevel(v, v.path) },
	"controller.strategy":         keep,
	"controller.securityContext":  without("Fairlead's own runs as user 65532"),
	"controller.tlsMinVersion":    without(noTLS),
	"controller.tlsCipherSuites":  without(noTLS),
	"controller.webhookMode": func(c *converter, v reader) {
		switch v.str() {
		case "disabled":
			keep(c, v)
		case "enabled":
			v.note("left out: faults are reported by events and conditions. Set controller.webhookMode to enabled once MetalLB, whose webhook has the same name, is gone")
		default:
			v.problem("%q has no counterpart; use enabled or disabled", v.str())
		}
	},

	"speaker.enabled":                       keep,
	"speaker.command":                       without(ownImage),
	"speaker.image.repository":              without(ownImage),
	"speaker.image.tag":                     without(ownImage),
	"speaker.image.pullPolicy":              keep,
	"speaker.logLevel":                      func(c *converter, v reader) { c.logLevel(v, v.path) },
	"speaker.tolerateMaster":                keep,
	"speaker.memberlist.enabled":            unless(true, "speakers always agree by it", refuse("speakers agree by memberlist on who announces an address: it cannot be off")),
	"speaker.memberlist.mlBindPort":         keep,
	"speaker.memberlist.mlBindAddrOverride": keep,
	"speaker.memberlist.mlSecretKeyPath":    keep,
	"speaker.secretName":                    move("speaker.memberlist.secretName"),
	"speaker.excludeInterfaces.enabled":     keep,
	"speaker.ignoreExcludeLB":               keep,
	"speaker.bgpDebounceTimeout":            without("a change of one Service is one message; nothing is reloaded"),
	"speaker.updateStrategy":                keep,
	"speaker.securityContext":               without("the speaker needs only what the chart gives it"),
	"speaker.startupProbe":                  keep,
	"speaker.frr":                           without(noFRR),
	"speaker.reloader":                      without(noFRR),
	"speaker.frrMetrics":                    without(noFRR),
	"speaker.initContainers":                without(noFRR),
}

func init() {
	for _, component := range []string{"controller.", "speaker."} {
		for _, same := range []string{"serviceAccount.create", "serviceAccount.annotations", "resources", "nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName", "labels", "podAnnotations", "livenessProbe", "readinessProbe", "extraContainers"} {
			rules[component+same] = keep
		}
		rules[component+"serviceAccount.name"] = without(ownNames)
	}
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
		if had, ok := m[key]; ok && had != v.str() {
			v.problem("speaker and controller have different ones; there is one for both: make them equal")
		}
		m[key] = v.str()
	})
	if len(m) > 0 {
		c.set(path, m)
	}
}

// values converts values of MetalLB's chart.
func (c *converter) values(d *document) {
	if c.advertiser == "" {
		c.advertiser = speaker
	}
	c.subtree(reader{c, d, "", d.root})
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
		if v.path == "configInline" || v.node.Tag == "!!null" {
			return
		}
		if f, ok := rules[v.path]; ok {
			f(c, v)
			return
		}
		for path := range rules {
			if strings.HasPrefix(path, v.path+".") && v.node.Kind == yaml.MappingNode {
				c.subtree(v)
				return
			}
		}
		v.problem("unknown value; nothing was made of it")
	})
}
