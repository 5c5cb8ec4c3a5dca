package chart

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// template renders the chart, without the CRDs, for the namespace metallb-system.
func template(t testing.TB, values ...string) string {
	t.Helper()
	args := []string{"template", "fairlead", folder, "--namespace", "metallb-system", "--set", "crds.enabled=false"}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	return mustHelm(t, args...)
}

// rendered is template, as objects. No key may come twice.
func rendered(t testing.TB, values ...string) objects {
	t.Helper()
	return parse(t, []byte(template(t, values...)))
}

// field returns what is somewhere in an object.
func field(o *unstructured.Unstructured, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return v
}

// stringMap returns a map of strings in an object.
func stringMap(o *unstructured.Unstructured, path ...string) map[string]string {
	m, _, _ := unstructured.NestedStringMap(o.Object, path...)
	return m
}

// TestCollisions: a key that the chart sets, too, is there once, with the user's value; kustomize refuses objects in which it is there
// twice.
func TestCollisions(t *testing.T) {
	values := []string{"speaker.enabled=true", "prometheus.scrapeAnnotations=true", "prometheus.serviceMonitor.enabled=true",
		"prometheus.prometheusRule.enabled=true", "prometheus.grafanaDashboard.enabled=true",
		`prometheus.serviceMonitor.additionalLabels.app\.kubernetes\.io/name=mine`, `prometheus.prometheusRule.additionalLabels.app\.kubernetes\.io/name=mine`,
		`prometheus.grafanaDashboard.labels.app\.kubernetes\.io/name=mine`}
	for _, c := range []string{"controller", "speaker"} {
		values = append(values, c+`.nodeSelector.kubernetes\.io/os=linux`, c+".nodeSelector.role=infra", c+`.labels.helm\.sh/chart=mine`,
			c+`.podAnnotations.kubectl\.kubernetes\.io/default-container=mine`, c+`.podAnnotations.prometheus\.io/port=one`)
	}
	all := rendered(t, values...)
	for kind, name := range map[string]string{"Deployment": "fairlead-controller", "DaemonSet": "fairlead-speaker"} {
		o := all.find(t, kind, name)
		assert.Equal(t, map[string]string{"kubernetes.io/os": "linux", "role": "infra"}, stringMap(o, "spec", "template", "spec", "nodeSelector"))
		assert.Equal(t, "mine", o.GetLabels()["helm.sh/chart"])
		assert.Equal(t, "fairlead", stringMap(o, "spec", "template", "metadata", "labels")["app.kubernetes.io/name"])
		annotations := stringMap(o, "spec", "template", "metadata", "annotations")
		assert.Equal(t, "mine", annotations["kubectl.kubernetes.io/default-container"])
		assert.Equal(t, "one", annotations["prometheus.io/port"])
	}
	for kind, name := range map[string]string{"ServiceMonitor": "fairlead-controller", "PrometheusRule": "fairlead", "ConfigMap": "fairlead-dashboard"} {
		assert.Equal(t, "mine", all.find(t, kind, name).GetLabels()["app.kubernetes.io/name"], kind)
	}

	dir := t.TempDir()
	write(t, filepath.Join(dir, "all.yaml"), []byte(template(t, values...)))
	write(t, filepath.Join(dir, "kustomization.yaml"), []byte("resources: [all.yaml]\n"))
	require.Len(t, parse(t, []byte(bed.Kubectl(t, "kustomize", dir))), len(all))
}

// TestGracePeriod: Kubernetes gives a speaker the time that bgpShutdownWait takes, and some more.
func TestGracePeriod(t *testing.T) {
	for _, c := range []struct {
		values string
		want   int64
	}{
		{"speaker.bgpShutdownWait=5s", 30},
		{"speaker.bgpShutdownWait=60s", 85},
		{"speaker.bgpShutdownWait=1m30s", 115},
		{"speaker.bgpShutdownWait=1.5h", 5425},
		{"speaker.bgpShutdownWait=5s500ms", 31},
		{"speaker.extraArgs={--bgp-shutdown-wait=70s}", 95},
		{"speaker.extraArgs={--bgp-shutdown-wait,70s}", 95},
		{"speaker.bgpShutdownWait=60s,speaker.terminationGracePeriodSeconds=65", 65},
	} {
		t.Run(c.values, func(t *testing.T) {
			t.Setenv("TZ", "Asia/Kolkata") // no matter where Helm runs
			set := rendered(t, "speaker.enabled=true", c.values).find(t, "DaemonSet", "fairlead-speaker")
			assert.EqualValues(t, c.want, field(set, "spec", "template", "spec", "terminationGracePeriodSeconds"))
		})
	}
	deployment := rendered(t, "controller.terminationGracePeriodSeconds=20").find(t, "Deployment", "fairlead-controller")
	assert.EqualValues(t, 20, field(deployment, "spec", "template", "spec", "terminationGracePeriodSeconds"))
}

// pods returns where the chart's pods are described: an object, and the path of its pod.
func pods(all objects) (out []pod) {
	for _, o := range all {
		switch o.GetKind() {
		case "Deployment", "DaemonSet", "Job":
			out = append(out, pod{o, []string{"spec", "template"}})
		case "Pod":
			out = append(out, pod{o, nil})
		}
	}
	return out
}

type pod struct {
	of   *unstructured.Unstructured
	path []string
}

func (p pod) at(path ...string) []string { return slices.Concat(p.path, path) }

// container returns the first one.
func (p pod) container() map[string]any { return list(p.of, p.at("spec", "containers")...)[0] }

// TestImage: every image comes from the registry that is named, and a digest is never that of another image.
func TestImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct{ values, controller, speaker string }{
		{"", "ghcr.io/fairlead/fairlead:v0.0.0-devel", ""},
		{"global.imageRegistry=registry.example", "registry.example/fairlead/fairlead:v0.0.0-devel", ""},
		{"global.imageRegistry=registry.example:5000/mirror/", "registry.example:5000/mirror/fairlead/fairlead:v0.0.0-devel", ""},
		{"global.imageRegistry=registry.example,controller.image.registry=other.example", "registry.example/fairlead/fairlead:v0.0.0-devel", ""},
		{"global.imageRegistry=registry.example,controller.image.repository=localhost/net/lb,controller.image.tag=v9", "registry.example/net/lb:v9", ""},
		{"global.imageRegistry=registry.example,controller.image.repository=net/lb", "registry.example/net/lb:v0.0.0-devel", ""},
		{"global.imageRegistry=registry.example,speaker.image.repository=host:5000/speaker", "registry.example/fairlead/fairlead:v0.0.0-devel", "registry.example/speaker:v0.0.0-devel"},
		{"controller.image.registry=registry.example", "registry.example/fairlead/fairlead:v0.0.0-devel", ""},
		{"controller.image.registry=registry.example,speaker.image.repository=other.example/lb", "registry.example/fairlead/fairlead:v0.0.0-devel", "other.example/lb:v0.0.0-devel"},
		{"speaker.image.registry=registry.example", "ghcr.io/fairlead/fairlead:v0.0.0-devel", "registry.example/fairlead/fairlead:v0.0.0-devel"},
		{"controller.image.digest=" + digest, "ghcr.io/fairlead/fairlead@" + digest, ""},
		{"controller.image.tag=v9,controller.image.digest=" + digest, "ghcr.io/fairlead/fairlead@" + digest, ""},
		{"controller.image.digest=" + digest + ",speaker.image.tag=v9", "ghcr.io/fairlead/fairlead@" + digest, "ghcr.io/fairlead/fairlead:v9"},
		{"controller.image.digest=" + digest + ",speaker.image.repository=other.example/lb", "ghcr.io/fairlead/fairlead@" + digest, "other.example/lb:v0.0.0-devel"},
		{"speaker.image.digest=" + digest, "ghcr.io/fairlead/fairlead:v0.0.0-devel", "ghcr.io/fairlead/fairlead@" + digest},
	} {
		t.Run(c.values, func(t *testing.T) {
			speaker := cmp.Or(c.speaker, c.controller)
			want := map[string]string{"Deployment": c.controller, "Job": c.controller, "Pod": c.controller, "DaemonSet": speaker}
			got := map[string]string{}
			for _, p := range pods(rendered(t, "speaker.enabled=true", c.values)) {
				got[p.of.GetKind()] = p.container()["image"].(string)
			}
			assert.Equal(t, want, got)
		})
	}
}

// TestPullSecrets: those of the chart around this one are used, too.
func TestPullSecrets(t *testing.T) {
	for _, p := range pods(rendered(t, "speaker.enabled=true", "global.imagePullSecrets[0].name=all", "imagePullSecrets[0].name=ours", "imagePullSecrets[1].name=all")) {
		assert.Equal(t, []map[string]any{{"name": "all"}, {"name": "ours"}}, list(p.of, p.at("spec", "imagePullSecrets")...), p.of.GetKind())
	}
}

// TestPorts: every port is a value.
func TestPorts(t *testing.T) {
	text := template(t, matrix["ports"]...)
	assert.NotRegexp(t, `\b(7472|17472|9443|7946)\b`, text)
	all := parse(t, []byte(text))
	controller, speaker := all.find(t, "Deployment", "fairlead-controller"), all.find(t, "DaemonSet", "fairlead-speaker")
	for o, want := range map[*unstructured.Unstructured][]string{
		controller: {"--metrics-bind-address=:1001", "--health-probe-bind-address=:1002", "--webhook-port=1003"},
		speaker:    {"--metrics-bind-address=:1001", "--health-probe-bind-address=127.0.0.1:1004", "--memberlist-bind-port=1005"},
	} {
		for _, arg := range want {
			assert.Contains(t, pod{o, []string{"spec", "template"}}.container()["args"], arg)
		}
	}
	assert.EqualValues(t, 1003, list(all.find(t, "Service", "metallb-webhook-service"), "spec", "ports")[0]["targetPort"])
}

// TestCommon: what is to be on everything is on everything, and everything is in one namespace.
func TestCommon(t *testing.T) {
	text := mustHelm(t, "template", "fairlead", folder, "--namespace", "elsewhere", "--set", "speaker.enabled=true,controller.webhookMode=enabled,networkpolicies.enabled=true,"+
		"networkpolicies.defaultDeny=true,prometheus.serviceMonitor.enabled=true,prometheus.prometheusRule.enabled=true,prometheus.grafanaDashboard.enabled=true,"+
		"prometheus.rbacPrometheus=true,prometheus.secureMetrics=true,prometheus.serviceAccount=prometheus,prometheus.namespace=monitoring,"+
		"commonLabels.team=network,commonAnnotations.note=hello,namespaceOverride=metallb-system")
	assert.NotContains(t, text, "elsewhere")
	all := parse(t, []byte(text))
	plain := parse(t, []byte(mustHelm(t, "template", "fairlead", folder, "--show-only", "templates/crds.yaml")))
	kinds := map[string]bool{}
	for _, o := range all {
		kinds[o.GetKind()] = true
		name := o.GetKind() + " " + o.GetName()
		assert.Equal(t, "network", o.GetLabels()["team"], name)
		assert.Equal(t, "hello", o.GetAnnotations()["note"], name)
		if o.GetKind() == "CustomResourceDefinition" {
			assert.Equal(t, "keep", o.GetAnnotations()["helm.sh/resource-policy"], name)
			assert.Equal(t, field(plain.find(t, o.GetKind(), o.GetName()), "spec"), field(o, "spec"), name)
		}
		if ns := o.GetNamespace(); ns != "" && ns != "kube-system" { // Cilium's
			assert.Equal(t, "metallb-system", ns, name)
		}
	}
	for _, p := range pods(all) {
		assert.Equal(t, "network", stringMap(p.of, p.at("metadata", "labels")...)["team"], p.of.GetKind())
		assert.Equal(t, "hello", stringMap(p.of, p.at("metadata", "annotations")...)["note"], p.of.GetKind())
	}
	assert.Len(t, kinds, 17, "%v", kinds)
}

// TestExtraObjects: they are rendered as templates, be they text or not.
func TestExtraObjects(t *testing.T) {
	values := filepath.Join(t.TempDir(), "values.yaml")
	write(t, values, []byte(`extraObjects:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-one"}, data: {alert: '{{ "{{ $labels.pod }}" }}'}}
  - |
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: {{ include "fairlead.fullname" . }}-two
`))
	all := parse(t, []byte(mustHelm(t, "template", "fairlead", folder, "--set", "crds.enabled=false", "--values", values)))
	assert.Equal(t, "{{ $labels.pod }}", stringMap(all.find(t, "ConfigMap", "fairlead-one"), "data")["alert"])
	all.find(t, "ConfigMap", "fairlead-two")
}

// TestPods: what is to be in a pod is in every one of the component, those that run once included.
func TestPods(t *testing.T) {
	all := rendered(t, matrix["platform"]...)
	assert.Len(t, pods(all), 4)
	for _, p := range pods(all) {
		kind, c := p.of.GetKind(), p.container()
		assert.Contains(t, c["env"], map[string]any{"name": "HTTPS_PROXY", "value": "proxy.example"}, kind)
		assert.Contains(t, c["volumeMounts"], map[string]any{"name": "ca", "mountPath": "/ca"}, kind)
		assert.Contains(t, list(p.of, p.at("spec", "volumes")...), map[string]any{"name": "ca", "configMap": map[string]any{"name": "ca"}}, kind)
		assert.Equal(t, []map[string]any{{"ip": "192.0.2.1", "hostnames": []any{"api.example"}}}, list(p.of, p.at("spec", "hostAliases")...), kind)
		assert.Equal(t, "Default", text(p.of, p.at("spec", "dnsPolicy")...), kind)
		assert.Equal(t, map[string]any{"nameservers": []any{"192.0.2.2"}}, field(p.of, p.at("spec", "dnsConfig")...), kind)
		assert.Equal(t, map[string]any{"limits": map[string]any{"memory": "64Mi"}}, c["resources"], "%s: no request of ours above a limit", kind)
		security := map[string]any{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": false, "seLinuxOptions": map[string]any{"type": "spc_t"},
			"capabilities": map[string]any{"drop": []any{"ALL"}},
		}
		if kind == "DaemonSet" {
			security["capabilities"] = map[string]any{"drop": []any{"ALL"}, "add": []any{"NET_RAW"}}
		}
		assert.Equal(t, security, c["securityContext"], kind)
	}
	for _, p := range pods(rendered(t, "speaker.enabled=true", "speaker.bgpListenPort=179", "speaker.containerSecurityContext.capabilities.add={SYS_TIME}")) {
		assert.Contains(t, p.container()["resources"], "requests", p.of.GetKind())
		if p.of.GetKind() == "DaemonSet" {
			capabilities := p.container()["securityContext"].(map[string]any)["capabilities"]
			assert.Equal(t, map[string]any{"drop": []any{"ALL"}, "add": []any{"NET_RAW", "NET_BIND_SERVICE", "SYS_TIME"}}, capabilities)
		}
	}
}

// TestNothing: what is set to null is as if it were empty.
func TestNothing(t *testing.T) {
	for _, v := range []string{"global", "tls", "helmTest", "commonLabels", "commonAnnotations", "extraObjects", "imagePullSecrets"} {
		rendered(t, "speaker.enabled=true", "prometheus.secureMetrics=true", v+"=null")
	}
	for _, c := range []string{"controller", "speaker"} {
		for _, v := range []string{"extraArgs", "extraEnv", "extraVolumes", "extraVolumeMounts", "extraContainers", "hostAliases", "dnsPolicy", "dnsConfig", "securityContext",
			"containerSecurityContext", "resources", "labels", "podAnnotations", "nodeSelector", "tolerations", "affinity", "image.registry", "image.digest"} {
			rendered(t, "speaker.enabled=true", c+"."+v+"=null")
		}
	}
}
