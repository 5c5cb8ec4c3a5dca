package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/document/documenttest"
	"github.com/fairlead/fairlead/internal/tool/support"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// planted are passwords and the like, which are not to be in an archive.
var planted = []string{
	"peer-hunter2", "secret-swordfish", "cni-opensesame", "env-correcthorse", "arg-batterystaple", "note-letmein", "log-trustno1", "bearer-abcdef123456",
}

// unpack returns the files of an archive by their paths without its folder.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	out := map[string]string{}
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		folder, name, _ := strings.Cut(h.Name, "/")
		assert.True(t, strings.HasPrefix(folder, "fairlead-support-"), h.Name)
		assert.Equal(t, path.Clean(h.Name), h.Name)
		text, err := io.ReadAll(in)
		require.NoError(t, err)
		out[name] = string(text)
	}
}

// plantPasswords has passwords in objects, in the copies that kubectl keeps of them, and in what is said of them.
func (i *installation) plantPasswords() {
	t := i.t
	file := i.file("planted.yaml", fmt.Sprintf(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: %[1]s, annotations: {example.org/note: it was peer-hunter2 before}}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, password: peer-hunter2}
---
apiVersion: v1
kind: Secret
metadata: {name: memberlist, namespace: %[1]s}
stringData: {secretkey: secret-swordfish}
---
apiVersion: crd.projectcalico.org/v1
kind: BGPPeer
metadata: {name: %[1]s, annotations: {example.org/router-password: cni-opensesame, example.org/note: see cni-opensesame}}
spec: {peerIP: 192.0.2.9, asNumber: 64513}
`, i.namespace))
	bed.Kubectl(t, "apply", "-f", file)
	t.Cleanup(func() { bed.Kubectl(t, "delete", "--ignore-not-found", "-f", file) })
	i.create(&corev1.Event{
		ObjectMeta: i.meta("planted"), InvolvedObject: corev1.ObjectReference{APIVersion: "metallb.io/v1beta2", Kind: "BGPPeer", Namespace: i.namespace, Name: "tor"},
		Reason: "Refused", Message: "the peer has refused peer-hunter2",
	})
}

// addNode makes a node with a kubelet.
func (i *installation) addNode(kubelet *httptest.Server) {
	t := i.t
	_, kubeletPort := addressOf(t, kubelet)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: i.namespace, Annotations: map[string]string{"k3s.io/node-args": `["--token","secret-swordfish"]`}}}
	i.create(node)
	t.Cleanup(func() { bed.Kubectl(t, "delete", "node", i.namespace) })
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = kubeletPort
	require.NoError(t, bed.Client.Status().Update(t.Context(), node))
}

// addPod makes a pod on that node, with a port of metrics, whose container was started again.
func (i *installation) addPod(name string, labels map[string]string, metrics *httptest.Server) {
	t := i.t
	ip, metricsPort := addressOf(t, metrics)
	pod := &corev1.Pod{ObjectMeta: i.meta(name)}
	pod.Labels = labels
	pod.Spec.NodeName = i.namespace
	pod.Spec.Containers = []corev1.Container{{
		Name: "controller", Image: "example.org/fairlead:v1", Args: []string{"--hub-token", "arg-batterystaple"},
		Env: []corev1.EnvVar{{Name: "HUB_PASSWORD", Value: "env-correcthorse"}}, Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: metricsPort}},
	}}
	i.create(pod)
	t.Cleanup(func() { bed.Kubectl(t, "-n", i.namespace, "delete", "pod", "--force", pod.Name) })
	pod.Status.PodIP, pod.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "controller", RestartCount: 1}}
	require.NoError(t, bed.Client.Status().Update(t.Context(), pod))
}

func addressOf(t *testing.T, s *httptest.Server) (ip string, port int32) {
	t.Helper()
	a, ok := s.Listener.Addr().(*net.TCPAddr)
	require.True(t, ok)
	return a.IP.String(), int32(a.Port)
}

// serveOutside serves, by start, on an address of this machine that is not a loopback one: the API server does not forward to those.
func serveOutside(t *testing.T, start func(*httptest.Server), h http.HandlerFunc) *httptest.Server {
	t.Helper()
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		ip, ok := a.(*net.IPNet)
		if !ok || !ip.IP.IsGlobalUnicast() {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0"))
		if err != nil {
			continue
		}
		s := httptest.NewUnstartedServer(h)
		s.Listener.Close()
		s.Listener = l
		start(s)
		t.Cleanup(s.Close)
		return s
	}
	t.Skip("this machine has no address but loopback ones")
	return nil
}

// TestSupportBundle: an archive has everything that may be read, says what may not, and has no password.
func TestSupportBundle(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.80.0.0/28", "2001:db8:80::/64")
	i.plantPasswords()
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := map[bool]string{true: "before the restart", false: "now"}[r.URL.Query().Get("previous") == "true"]
		fmt.Fprintf(w, "%s %s tail=%s\nmsg=\"session with tor\" password=log-trustno1 retry=5\nAuthorization: Bearer bearer-abcdef123456\ntor has refused peer-hunter2\n",
			r.URL.Path, before, r.URL.Query().Get("tailLines"))
	}))
	t.Cleanup(kubelet.Close)
	i.addNode(kubelet)
	i.addPod("fairlead-controller-0", survey.ControllerLabels, serveOutside(t, (*httptest.Server).Start, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.URL.Path, `fairlead_things{peer="tor"} 5`)
	}))
	i.addPod("fairlead-speaker-0", survey.SpeakerLabels, serveOutside(t, (*httptest.Server).StartTLS, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
	}))
	i.start("--backend=none")
	web := i.service("web", annotated("example.org/api-token", "note-letmein"), annotated("example.org/note", "not note-letmein"))
	i.service("lost", annotated("metallb.io/address-pool", "nowhere"))
	i.create(&corev1.Service{ObjectMeta: i.meta("inside"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}})

	before, file := versions(t), filepath.Join(t.TempDir(), "bundle.tar.gz")
	r := i.plugin("support-bundle", "-o", file, "--log-lines", "77")
	require.Equal(t, 0, r.code, "%s%s", r.stdout, r.stderr)
	assert.Equal(t, before, versions(t), "nothing is written")
	assert.Contains(t, r.stdout, "Wrote "+file)
	assert.Contains(t, r.stderr, "reading services\n")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	archive, err := os.ReadFile(file)
	require.NoError(t, err)
	files := unpack(t, archive)

	for name, text := range files {
		for _, secret := range planted {
			assert.NotContains(t, text, secret, name)
			assert.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte(secret)), name)
		}
		assert.NotContains(t, text, "last-applied-configuration", name)
	}
	kind, text := documenttest.Validate(t, "../..", []byte(files["manifest.json"]))
	assert.Equal(t, document.SupportBundle, kind)
	var m support.Manifest
	require.NoError(t, json.Unmarshal(text, &m))
	assert.Greater(t, m.Masked, 8)
	require.Len(t, m.Missing, 2)
	assert.Contains(t, m.Missing[0].Why, "there is no Deployment of a controller", "it runs outside the cluster")
	assert.Equal(t, "the metrics of pod fairlead-speaker-0", m.Missing[1].What)
	assert.Contains(t, m.Missing[1].Why, "they are only for those whose token may get /metrics")
	listed := []string{"manifest.json"}
	for _, f := range m.Files {
		listed = append(listed, f.Path)
		assert.Len(t, files[f.Path], f.Bytes, f.Path)
	}
	for name := range files {
		assert.Contains(t, listed, name)
	}
	for name, want := range map[string][]string{
		"objects/bgppeers.metallb.io.yaml":                   {"peerAddress: 192.0.2.1", "password: (masked)", "it was (masked) before"},
		"objects/ipaddresspools.metallb.io.yaml":             {"10.80.0.0/28"},
		"objects/bgppeers.crd.projectcalico.org.yaml":        {"192.0.2.9", "see (masked)"},
		"objects/services.yaml":                              {"name: " + web.Name, "fairlead.io/Allocated", "PoolNotFound", "not (masked)"},
		"objects/nodes.yaml":                                 {"name: " + i.namespace},
		"objects/events.yaml":                                {"the peer has refused (masked)"},
		"objects/pods.yaml":                                  {"HUB_PASSWORD", "--hub-token", "example.org/fairlead:v1"},
		"objects/leases.coordination.k8s.io.yaml":            {"fairlead-controller"},
		"logs/fairlead-controller-0/controller.log":          {"now tail=77", "session with tor", "retry=5", "tor has refused (masked)"},
		"logs/fairlead-controller-0/controller.previous.log": {"before the restart"},
		"logs/fairlead-speaker-0/controller.log":             {"session with tor"},
		"metrics/fairlead-controller-0.txt":                  {`/metrics fairlead_things{peer="tor"} 5`},
		"reports/pools.json":                                 {`"kind": "PoolList"`, `"main"`},
		"reports/peers.json":                                 {`"tor"`},
		"reports/backends.json":                              {`"backends"`},
		"reports/doctor.json":                                {"PoolNotFound"},
		"reports/status.json":                                {"lost"},
		"reports/versions.json":                              {`"client"`},
	} {
		for _, part := range want {
			assert.Contains(t, files[name], part, name)
		}
		if strings.HasPrefix(name, "reports/") && files[name] != "" {
			documenttest.Validate(t, "../..", []byte(files[name]))
		}
	}
	assert.NotContains(t, files["objects/services.yaml"], "name: inside", "it is not of type LoadBalancer")
	assert.NotContains(t, files, "objects/secrets.yaml")
	assert.NotContains(t, files["objects/nodes.yaml"], "k3s.io")

	// A file that is there stays as it is.
	r = i.plugin("support-bundle", "-o", file)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "is there already")
	again, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, archive, again)

	// Who may read little gets that, and is told the rest.
	config := i.account("helper", []rbacv1.PolicyRule{rule("metallb.io", "ipaddresspools"), rule("", "services", "pods")}, nil)
	r = run(t, config, "support-bundle", "-n", i.namespace, "-o", "-")
	require.Equal(t, 0, r.code, r.stderr)
	files = unpack(t, []byte(r.stdout))
	_, text = documenttest.Validate(t, "../..", []byte(files["manifest.json"]))
	m = support.Manifest{}
	require.NoError(t, json.Unmarshal(text, &m))
	for _, want := range []support.Missing{
		{What: "nodes", Why: "you may not list nodes"}, {What: "the log of controller of pod fairlead-controller-0", Why: "you may not get pods/log"},
		{What: "the metrics of pod fairlead-controller-0", Why: "you may not get pods/proxy"},
		{What: "bgppeers.metallb.io", Why: fmt.Sprintf("you may not list bgppeers.metallb.io in namespace %q", i.namespace)},
	} {
		assert.True(t, slices.Contains(m.Missing, want), "%v is not in %v", want, m.Missing)
	}
	assert.Contains(t, files["objects/ipaddresspools.metallb.io.yaml"], "10.80.0.0/28")
	assert.NotContains(t, files, "objects/nodes.yaml")
}

// TestSupportBundleInterrupted: nothing is left of an archive that was not finished.
func TestSupportBundleInterrupted(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.82.0.0/28")
	asked := make(chan struct{}, 10)
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(kubelet.Close)
	i.addNode(kubelet)
	i.addPod("fairlead-controller-0", survey.ControllerLabels, serveOutside(t, (*httptest.Server).Start, http.NotFound))
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	cmd := exec.CommandContext(t.Context(), plugin, "support-bundle", "-o", file, "-n", i.namespace, "--kubeconfig", i.config)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		require.Fail(t, "waited in vain for the kubelet to be asked")
	}
	assert.FileExists(t, file)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	assert.Equal(t, 1, exit.ExitCode())
	assert.Contains(t, errs.String(), "the archive is not complete")
	assert.NoFileExists(t, file)
}
