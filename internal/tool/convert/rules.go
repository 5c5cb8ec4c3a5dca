package convert

import (
	"slices"
	"strings"
)

const (
	noFRR    = "there is no FRR; the speakers hold BGP sessions themselves"
	noTLS    = "metrics are plain HTTP unless prometheus.secureMetrics is set; restrict who reaches the port by networkpolicies.enabled"
	ownImage = "is about MetalLB's own image; set controller.image and speaker.image to yours"
	ownNames = "objects of Fairlead have names of their own, so that they can stand beside MetalLB's during the change-over"
)

// rules are the values of MetalLB's chart by their path, as of its versions 0.13 to 0.16. What is below a path is its rule's, too. Nothing
// is kept that our chart does not take: its schema refuses a value that it does not know, or one of another type.
var rules = map[string]rule{
	"global":               without("it is for other charts"),
	"nameOverride":         without(ownNames),
	"fullnameOverride":     without(ownNames),
	"imagePullSecrets":     keepItems("name", map[string]valueType{"name": text}),
	"loadBalancerClass":    keep(text),
	"rbac.create":          keep(truth),
	"rbac.pspEnabled":      without("Kubernetes has no PodSecurityPolicies any more"),
	"psp":                  without("Kubernetes has no PodSecurityPolicies any more"),
	"tls":                  without(noTLS),
	"existingConfigMap":    refuse("names a ConfigMap with the configuration: convert that, too (kubectl get configmap -o yaml)"),
	"frrk8s":               without(noFRR),
	"frr-k8s":              without(noFRR),
	"crds.enabled":         keep(truth),
	"prometheus.rbacProxy": without(noTLS),

	"crds.validationFailurePolicy": unless("Fail", "faults are reported without a webhook; see controller.webhookMode",
		oneOf("Ignore", "Fail")),

	"networkpolicies.enabled":     keep(truth),
	"networkpolicies.defaultDeny": keep(truth),
	"networkpolicies.apiPort":     keep(port),

	"prometheus.scrapeAnnotations": keep(truth),
	"prometheus.metricsPort": func(c *converter, v reader) {
		v.note("at this port are metrics in plain HTTP unless prometheus.secureMetrics is set; MetalLB 0.16 has HTTPS")
		keep(noPort)(c, v)
	},
	"prometheus.secureMetricsPort":          without(noTLS),
	"prometheus.controllerMetricsTLSSecret": without(noTLS),
	"prometheus.speakerMetricsTLSSecret":    without(noTLS),
	"prometheus.serviceAccount":             keep(text),
	"prometheus.namespace":                  keep(text),
	"prometheus.rbacPrometheus":             func(*converter, reader) {}, // see the function of this name
	"prometheus.serviceMonitor.speaker":     perComponent,
	"prometheus.serviceMonitor.controller":  perComponent,

	"prometheus.podMonitor.additionalLabels":                      keep(texts),
	"prometheus.podMonitor.annotations":                           keep(texts),
	"prometheus.prometheusRule.enabled":                           keep(truth),
	"prometheus.prometheusRule.additionalLabels":                  keep(texts),
	"prometheus.prometheusRule.annotations":                       keep(texts),
	"prometheus.prometheusRule.extraAlerts":                       keep(list),
	"prometheus.prometheusRule.addressPoolExhausted.excludePools": keep(text),
	"prometheus.prometheusRule.addressPoolUsage.enabled":          keep(truth),
	"prometheus.prometheusRule.addressPoolUsage.excludePools":     keep(text),
	"prometheus.prometheusRule.addressPoolUsage.thresholds":       thresholds,

	"controller.enabled":          keep(truth),
	"controller.command":          without(ownImage),
	"controller.image.repository": without(ownImage),
	"controller.image.tag":        without(ownImage),
	"controller.image.pullPolicy": pullPolicy,
	"controller.logLevel":         func(c *converter, v reader) { c.logLevel(v, v.path) },
	"controller.strategy":         keep(mapping),
	"controller.securityContext":  without("Fairlead's own runs as user 65532"),
	"controller.tlsMinVersion":    without(noTLS),
	"controller.tlsCipherSuites":  without(noTLS),
	"controller.webhookMode": func(c *converter, v reader) {
		switch s := v.str(); s {
		case "":
		case "disabled":
			keep(text)(c, v)
		case "enabled":
			v.note("left out: faults are reported by events and conditions. Set controller.webhookMode to enabled once MetalLB, whose webhook has the same name, is gone")
		default:
			v.problem("%q has no counterpart; use enabled or disabled", s)
		}
	},

	"speaker.enabled":          keep(truth),
	"speaker.command":          without(ownImage),
	"speaker.image.repository": without(ownImage),
	"speaker.image.tag":        without(ownImage),
	"speaker.image.pullPolicy": pullPolicy,
	"speaker.logLevel":         func(c *converter, v reader) { c.logLevel(v, v.path) },
	"speaker.tolerateMaster":   keep(truth),
	"speaker.memberlist.enabled": unless(true, "speakers always agree by it",
		refuse("speakers agree by memberlist on who announces an address: it cannot be off")),
	"speaker.memberlist.mlBindPort":         keep(port),
	"speaker.memberlist.mlBindAddrOverride": keep(text),
	"speaker.memberlist.mlSecretKeyPath":    filePath,
	"speaker.secretName":                    move("speaker.memberlist.secretName", text),
	"speaker.wanConfig": func(c *converter, v reader) {
		if v.boolean() {
			v.note("becomes speaker.memberlist.profile lan, the most patient one")
			c.set("speaker.memberlist.profile", "lan")
		}
	},
	"speaker.excludeInterfaces.enabled": keep(truth),
	"speaker.ignoreExcludeLB":           keep(truth),
	"speaker.bgpDebounceTimeout":        without("a change of one Service is one message; nothing is reloaded"),
	"speaker.updateStrategy":            keep(mapping),
	"speaker.securityContext":           without("the speaker needs only what the chart gives it"),
	"speaker.frr":                       without(noFRR),
	"speaker.reloader":                  without(noFRR),
	"speaker.frrMetrics":                without(noFRR),
	"speaker.initContainers":            without(noFRR),
}

func init() {
	for _, monitor := range []string{"prometheus.podMonitor.", "prometheus.serviceMonitor."} {
		rules[monitor+"enabled"] = keep(truth)
		rules[monitor+"jobLabel"] = keep(text)
		rules[monitor+"interval"] = keep(text)
		rules[monitor+"metricRelabelings"] = keep(list)
		rules[monitor+"relabelings"] = keep(list)
	}
	for _, alert := range []string{"staleConfig", "configNotLoaded", "addressPoolExhausted", "bgpSessionDown"} {
		rules["prometheus.prometheusRule."+alert+".enabled"] = keep(truth)
		rules["prometheus.prometheusRule."+alert+".labels"] = keep(texts)
	}
	for _, component := range []string{"controller.", "speaker."} {
		for key, t := range map[string]valueType{
			"serviceAccount.create": truth, "serviceAccount.annotations": texts, "resources.limits": mapping, "resources.requests": mapping,
			"resources.claims": list, "nodeSelector": texts, "tolerations": list, "affinity": mapping, "priorityClassName": text,
			"runtimeClassName": text, "labels": texts, "podAnnotations": texts, "extraContainers": named,
		} {
			rules[component+key] = keep(t)
		}
		rules[component+"serviceAccount.name"] = without(ownNames)
		for _, probe := range []string{"livenessProbe.", "readinessProbe.", "startupProbe."} {
			if component == "controller." && probe == "startupProbe." {
				continue
			}
			rules[component+probe+"enabled"] = keep(truth)
			rules[component+probe+"port"] = unless(17472, "", without("the port of health is "+component+"healthPort"))
			rules[component+probe+"initialDelaySeconds"] = keep(natural)
			for _, key := range []string{"failureThreshold", "periodSeconds", "successThreshold", "timeoutSeconds"} {
				rules[component+probe+key] = keep(counted)
			}
		}
	}
}

// resources converts what a container of a component asks for.
func (c *converter) resources(v reader, component string) {
	known := map[string]func(reader){}
	for key, t := range map[string]valueType{"limits": mapping, "requests": mapping, "claims": list} {
		known[key] = func(v reader) { c.keepAs(v, component+".resources."+key, t) }
	}
	v.fields(known)
}

// oneOf keeps a text that is one of these.
func oneOf(these ...string) rule {
	return func(c *converter, v reader) {
		s := v.str()
		switch {
		case slices.Contains(these, s):
			c.set(v.path, s)
		case s != "":
			v.problem("%q is none of %s", s, strings.Join(these, ", "))
		}
	}
}

var thresholds = keepItems("percent", map[string]valueType{"percent": percent, "labels": texts})

var pullPolicy = oneOf("Always", "IfNotPresent", "Never")
