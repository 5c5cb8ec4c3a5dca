package chart

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/crds"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestLint(t *testing.T) {
	assert.NotContains(t, mustHelm(t, "lint", "--strict", folder), "[WARNING]")
}

// TestCRDs: the chart's CRDs are those of api/crds, and stay when a release goes.
func TestCRDs(t *testing.T) {
	want, err := fs.Glob(crds.FS, "*.yaml")
	require.NoError(t, err)
	have, err := filepath.Glob(filepath.Join(folder, "files", "crds", "*"))
	require.NoError(t, err)
	require.Len(t, have, len(want))
	for _, name := range want {
		ours, err := crds.FS.ReadFile(name)
		require.NoError(t, err)
		theirs, err := os.ReadFile(filepath.Join(folder, "files", "crds", name))
		require.NoError(t, err)
		assert.Equal(t, string(ours), string(theirs), "%s: run 'make generate'", name)
	}
	all, err := crds.All()
	require.NoError(t, err)
	rendered := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, text := range strings.Split(mustHelm(t, "template", "fairlead", folder, "--show-only", "templates/crds.yaml"), "\n---\n") {
		var crd apiextensionsv1.CustomResourceDefinition
		require.NoError(t, yaml.Unmarshal([]byte(text), &crd))
		rendered[crd.Name] = &crd
	}
	for _, crd := range all {
		require.Contains(t, rendered, crd.Name)
		assert.Equal(t, "keep", rendered[crd.Name].Annotations["helm.sh/resource-policy"], crd.Name)
		delete(rendered[crd.Name].Annotations, "helm.sh/resource-policy")
		assert.Equal(t, crd, rendered[crd.Name])
		delete(rendered, crd.Name)
	}
	delete(rendered, "")
	assert.Empty(t, rendered)
}

// matrix are the values that are rendered; the key names the golden file.
var matrix = map[string][]string{
	"default":        nil,
	"calico":         {"backend=calico", "managePeers=false"},
	"calico-all":     {"backend=calico", "calico.passwordNamespace=calico-system", "calico.aggregation=per-ip", "rbac.extraBackends={cilium}", "allowWiderAdvertisement=true"},
	"cilium":         {"backend=cilium", "cilium.namespace=cilium", "cilium.passwordNamespace=cilium-secrets", "cleanup.releaseIPs=true"},
	"none":           {"backend=none", "cleanup.enabled=false", "managePeers=false", "prometheus.metricsPort=0"},
	"speaker":        {"backend=speaker", "speaker.enabled=true", "speaker.bgpListenPort=179"},
	"calico-l2":      {"backend=calico", "speaker.enabled=true", "speaker.tolerateMaster=false", "speaker.excludeInterfaces.list={^wg.*}", "managePeers=false"},
	"webhook":        {"controller.webhookMode=enabled", "crds.validationFailurePolicy=Fail", "networkpolicies.enabled=true", "networkpolicies.defaultDeny=true"},
	"no-rbac":        {"rbac.create=false", "controller.serviceAccount.create=false", "controller.serviceAccount.name=mine"},
	"monitoring":     {"prometheus.serviceMonitor.enabled=true", "prometheus.prometheusRule.enabled=true", "prometheus.rbacPrometheus=true", "prometheus.serviceAccount=prometheus", "prometheus.namespace=monitoring", "prometheus.prometheusRule.addressPoolExhausted.excludePools=test-.*", "speaker.enabled=true"},
	"pod-monitor":    {"prometheus.podMonitor.enabled=true", "prometheus.podMonitor.interval=30s", "prometheus.scrapeAnnotations=true"},
	"dashboard":      {"backend=none", "controller.enabled=false", "cleanup.enabled=false", "rbac.create=false", "prometheus.grafanaDashboard.enabled=true", "prometheus.grafanaDashboard.namespace=monitoring"},
	"secure-metrics": {"backend=none", "speaker.enabled=true", "prometheus.secureMetrics=true", "prometheus.serviceMonitor.enabled=true", "prometheus.rbacPrometheus=true", "prometheus.serviceAccount=prometheus", "prometheus.namespace=monitoring", "prometheus.scrapeAnnotations=true", "tls.controllerMetricsTLSSecret=controller-tls", "tls.speakerMetricsTLSSecret=speaker-tls", "tls.minVersion=VersionTLS12", `tls.cipherSuites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`, `tls.curvePreferences=29\,4588`},
	"ports":          {"backend=none", "speaker.enabled=true", "prometheus.metricsPort=1001", "controller.healthPort=1002", "controller.webhookPort=1003", "speaker.healthPort=1004", "speaker.memberlist.mlBindPort=1005", "controller.webhookMode=enabled", "networkpolicies.enabled=true", "prometheus.scrapeAnnotations=true"},
	"platform": append([]string{"backend=none", "speaker.enabled=true", "namespaceOverride=monitoring", "commonLabels.team=network", "commonAnnotations.note=hello", "global.imageRegistry=registry.example",
		"extraObjects[0].apiVersion=v1", "extraObjects[0].kind=ConfigMap", "extraObjects[0].metadata.name=extra-{{ .Release.Name }}", "prometheus.prometheusRule.enabled=true", "networkpolicies.enabled=true", "controller.webhookMode=enabled"},
		slices.Concat(platform("controller"), platform("speaker"))...),
	"pod-overrides": {"loadBalancerClass={a.example/one,b.example/two}", "imagePullSecrets[0].name=registry", "controller.image.repository=registry.example/controller", "controller.image.tag=v9", "controller.replicas=1", "controller.nodeSelector.role=infra", "controller.tolerations[0].operator=Exists", "controller.priorityClassName=system-cluster-critical", "controller.labels.team=network", "controller.podAnnotations.note=hello", "controller.resources.limits.memory=128Mi", "controller.extraArgs={--log-level=debug}"},
}

// platform are values that the pods of both components have.
func platform(component string) (out []string) {
	for _, v := range []string{"extraEnv[0].name=HTTPS_PROXY", "extraEnv[0].value=proxy.example", "extraVolumes[0].name=ca", "extraVolumes[0].configMap.name=ca",
		"extraVolumeMounts[0].name=ca", "extraVolumeMounts[0].mountPath=/ca", "hostAliases[0].ip=192.0.2.1", "hostAliases[0].hostnames={api.example}",
		"dnsPolicy=Default", "dnsConfig.nameservers={192.0.2.2}", "containerSecurityContext.readOnlyRootFilesystem=false",
		"containerSecurityContext.seLinuxOptions.type=spc_t", "terminationGracePeriodSeconds=60", "resources.limits.memory=64Mi"} {
		out = append(out, component+"."+v)
	}
	return out
}

func TestGolden(t *testing.T) {
	for name, values := range matrix {
		t.Run(name, func(t *testing.T) {
			args := []string{"template", "fairlead", folder, "--namespace", "metallb-system", "--set", "crds.enabled=false"}
			for _, v := range values {
				args = append(args, "--set", v)
			}
			got := mustHelm(t, args...)
			golden(t, name+".golden.yaml", got)
			assert.NotContains(t, got, "<no value>")
			if !strings.Contains(strings.Join(values, " "), "speaker.enabled=true") {
				for doc := range strings.SplitSeq(got, "\n---\n") {
					if strings.HasPrefix(doc, "# Source: fairlead/templates/rbac-access.yaml") { // what users may read
						continue
					}
					for _, no := range []string{"DaemonSet", "hostNetwork", "NET_RAW", "endpointslices"} {
						assert.NotContains(t, doc, no, "without speakers")
					}
				}
			}
		})
	}
}

// TestNotes: whoever installs is told the next three steps for the chosen backend.
func TestNotes(t *testing.T) {
	for _, values := range []string{"backend=auto", "backend=calico", "backend=cilium", "backend=speaker,speaker.enabled=true", "backend=none", "bgpBackend=none,backend=cilium", "backend=calico,speaker.enabled=true", "backend=speaker,l2Backend=none,speaker.enabled=true"} {
		name := "notes-" + strings.NewReplacer("=", "-", ",", "-", ".", "-").Replace(values)
		t.Run(name, func(t *testing.T) {
			out := mustHelm(t, "install", "fairlead", folder, "--namespace", "metallb-system", "--dry-run=client", "--set", values, "--set", "crds.enabled=false")
			_, notes, found := strings.Cut(out, "\nNOTES:\n")
			require.True(t, found, out)
			golden(t, name+".golden.txt", notes)
		})
	}
}

// golden compares got with a file, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run 'go test ./integration/chart -update' and look at the difference")
}

// TestRefused: values that mean nothing, or contradict each other, are refused with a message that says what to do.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"backnd=calico", "additional properties 'backnd' not allowed"},
		{"speaker.memberlist.port=7946", "additional properties 'port' not allowed"},
		{"controller.replicas=two", "at '/controller/replicas': got string, want integer"},
		{"backend=metallb", "at '/backend': value must be one of 'auto', 'calico', 'cilium', 'speaker', 'none'"},
		{"controller.webhookMode=on", "at '/controller/webhookMode': value must be one of 'enabled', 'disabled'"},
		{"speaker.bgpShutdownWait=5", "at '/speaker/bgpShutdownWait'"},
		{"backend=speaker", "backend is speaker, but no speakers run: set speaker.enabled to true"},
		{"l2Backend=speaker", "l2Backend is speaker, but no speakers run"},
		{"bgpBackend=speaker", "bgpBackend is speaker, but no speakers run"},
		{"l2Backend=calico", "Calico announces nothing on layer 2"},
		{"speaker.frr.enabled=true", "Fairlead has no FRR: leave it out"},
		{"frrk8s.enabled=true", "Fairlead has no FRR: leave it out"},
		{"speaker.memberlist.enabled=false", "speakers agree by it on who announces an address"},
		{"prometheus.podMonitor.enabled=true,prometheus.serviceMonitor.enabled=true", "counts everything twice"},
		{"prometheus.podMonitor.enabled=true,prometheus.metricsPort=0", "set it to 7472"},
		{"prometheus.rbacPrometheus=true", "set prometheus.serviceAccount and prometheus.namespace"},
		{"speaker.enabled=true,speaker.memberlist.mlBindPort=7472", "speaker.memberlist.mlBindPort and prometheus.metricsPort are the same port of a node"},
		{"rbac.create=false,rbac.extraBackends={calico}", "rbac.extraBackends has no effect"},
		{"prometheus.metricsPort=17472", "prometheus.metricsPort and controller.healthPort are the same port of a pod: change one"},
		{"controller.webhookMode=enabled,controller.webhookPort=7472", "prometheus.metricsPort and controller.webhookPort are the same port of a pod: change one"},
		{"speaker.enabled=true,speaker.healthPort=7946", "speaker.memberlist.mlBindPort and speaker.healthPort are the same port of a node: change one"},
		{"speaker.enabled=true,speaker.bgpListenPort=7472", "prometheus.metricsPort and speaker.bgpListenPort are the same port of a node: change one"},
		{"controller.healthPort=0", "at '/controller/healthPort': minimum: got 0, want 1"},
		{"prometheus.secureMetrics=true,prometheus.podMonitor.enabled=true", "use serviceMonitor, or set prometheus.podMonitor.authorization"},
		{"prometheus.secureMetrics=true,prometheus.metricsPort=0", "prometheus.secureMetrics has no effect with prometheus.metricsPort 0"},
		{"tls.speakerMetricsTLSSecret=x", "tls.speakerMetricsTLSSecret has no effect without prometheus.secureMetrics"},
		{"tls.minVersion=1.3", "at '/tls/minVersion'"},
		{"controller.extraEnv[0].name=FAIRLEAD_NAMESPACE,controller.extraEnv[0].value=x", "controller.extraEnv sets FAIRLEAD_NAMESPACE, which the chart sets itself"},
		{"controller.extraEnv[0].name=X,controller.extraEnv[0].val=x", "at '/controller/extraEnv/0': additional properties 'val' not allowed"},
		{"speaker.extraVolumes[0].name=memberlist", "speaker.extraVolumes has a volume memberlist, which is a name of the chart: choose another"},
		{"speaker.extraContainers[0].name=speaker", "speaker.extraContainers has a container speaker"},
		{"controller.hostAliases[0].hostnames={x}", "at '/controller/hostAliases/0': missing property 'ip'"},
		{"controller.dnsPolicy=Cluster", "at '/controller/dnsPolicy': value must be one of"},
		{"controller.containerSecurityContext.readOnlyRootFileSystem=false", "additional properties 'readOnlyRootFileSystem' not allowed"},
		{"commonLabels.a=true", "at '/commonLabels/a': got boolean, want string"},
		{`commonLabels.app\.kubernetes\.io/instance=x`, "commonLabels sets app.kubernetes.io/instance, by which the pods are found: leave it out"},
		{"extraObject[0]=x", "additional properties 'extraObject' not allowed"},
		{"speaker.bgpShutdownWait=60s,speaker.terminationGracePeriodSeconds=30", "set it to 65 or more, or leave it out"},
		{"controller.terminationGracePeriodSeconds=1", "at '/controller/terminationGracePeriodSeconds': minimum: got 1, want 5"},
		{"global.imageRegistry=true", "at '/global/imageRegistry': got boolean, want string"},
		{"controller.image.digest=abc", "at '/controller/image/digest': 'abc' does not match pattern"},
		{`controller.labels.app\.kubernetes\.io/name=x`, "controller.labels sets app.kubernetes.io/name, by which the pods are found: leave it out"},
		{`speaker.labels.app\.kubernetes\.io/component=x`, "speaker.labels sets app.kubernetes.io/component, by which the pods are found: leave it out"},
	} {
		t.Run(c.values, func(t *testing.T) {
			out, err := helm(t, "template", "fairlead", folder, "--set", c.values)
			require.Error(t, err, out)
			assert.Contains(t, out, c.want)
		})
	}
}
