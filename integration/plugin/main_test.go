// Package plugin tests the binary of kubectl fairlead on a real API server with the real controller, from outside.
package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/document/documenttest"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

var (
	bed    *testbed.Bed
	plugin string // path of the binary
)

func TestMain(m *testing.M) {
	os.Exit(testbed.MainWith(m, &bed, func(b *testbed.Bed) error {
		var g errgroup.Group
		g.Go(func() (err error) {
			plugin, err = b.Build("kubectl-fairlead")
			return err
		})
		g.Go(func() error { return installCNIs(b) })
		return g.Wait()
	}))
}

// installCNIs installs the CRDs of Calico and Cilium that matter, which takes a while.
func installCNIs(b *testbed.Bed) error {
	needed := []string{
		"bgpconfigurations", "bgppeers", "bgpfilters", "ippools", "clusterinformations", "kubecontrollersconfigurations", "caliconodestatuses",
		"ciliumbgpadvertisements", "ciliumbgppeerconfigs", "ciliumbgpclusterconfigs", "ciliumbgpnodeconfigs", "ciliumloadbalancerippools", "ciliuml2announcementpolicies",
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, folder := range []string{localcluster.CalicoCRDs, localcluster.CiliumCRDs} {
		crds, err := localcluster.ReadCRDs(folder, testbed.Folder("bin"))
		if err != nil {
			return err
		}
		all = append(all, crds...)
	}
	return b.InstallCRDs(slices.DeleteFunc(all, func(crd *apiextensionsv1.CustomResourceDefinition) bool {
		return !slices.Contains(needed, crd.Spec.Names.Plural)
	})...)
}

// result is how a run of the plugin ended.
type result struct {
	code           int
	stdout, stderr string
}

// run runs the plugin with a kubeconfig.
func run(t *testing.T, kubeconfig string, args ...string) result {
	t.Helper()
	return runAsIs(t, append(args, "--kubeconfig", kubeconfig)...)
}

func runAsIs(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), plugin, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil {
		require.True(t, errors.As(err, &exit), "%v", err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// installation is a namespace with pools, and a loadBalancerClass of its own, so that tests do not meet.
type installation struct {
	t         *testing.T
	namespace string
	class     string
	config    string // path of the admin's kubeconfig
}

func install(t *testing.T) *installation {
	ns := bed.Namespace(t)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(config, bed.Kubeconfig, 0o600))
	return &installation{t: t, namespace: ns, class: "example.org/" + ns, config: config}
}

// agents has a stand-in for the agents of both CNIs say that a node of this installation's has sessions of both families.
func (i *installation) agents() {
	i.t.Helper()
	routers := testbed.Routers{netip.MustParseAddr("192.0.2.1"): true, netip.MustParseAddr("2001:db8::1"): true}
	bed.CalicoAgent(i.t, i.namespace, func() testbed.Routers { return routers })
	bed.CiliumAgent(i.t, i.namespace, routers)
}

func (i *installation) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: i.namespace, Name: name}
}

func (i *installation) create(o client.Object) {
	i.t.Helper()
	require.NoError(i.t, bed.Client.Create(i.t.Context(), o))
}

func (i *installation) pool(name string, change func(*v1beta1.IPAddressPool), addresses ...string) {
	i.t.Helper()
	p := &v1beta1.IPAddressPool{ObjectMeta: i.meta(name), Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}}
	if change != nil {
		change(p)
	}
	i.create(p)
}

func (i *installation) start(args ...string) *testbed.Process {
	return bed.Start(i.t, i.namespace, append([]string{"--lb-class", i.class}, args...)...)
}

// define returns a Service of the installation's class; it does not create it.
func (i *installation) define(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: i.meta(name)}
	s.Annotations = map[string]string{}
	s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &i.class, Ports: []corev1.ServicePort{{Port: 80}}}
	for _, c := range change {
		c(s)
	}
	return s
}

// service creates a Service and waits until the controller has judged it.
func (i *installation) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	i.t.Helper()
	s := i.define(name, change...)
	i.create(s)
	testbed.Eventually(i.t, "the verdict on "+name, func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if meta.FindStatusCondition(s.Status.Conditions, service.ConditionAllocated) == nil {
			return errors.New("there is none")
		}
		return nil
	})
	return s
}

func annotated(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[key] = value }
}

// has says whether a Service has exactly these addresses.
func (i *installation) has(name string, want ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		var s corev1.Service
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: name}, &s); err != nil {
			return err
		}
		var got []string
		for _, in := range s.Status.LoadBalancer.Ingress {
			got = append(got, in.IP)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("it has %q, want %q", got, want)
		}
		return nil
	}
}

// plugin runs the plugin for the installation, as admin.
func (i *installation) plugin(args ...string) result {
	i.t.Helper()
	return run(i.t, i.config, append(args, "--namespace", i.namespace, "--system-namespace", i.namespace)...)
}

// read runs the plugin with -o json, holds what it prints against its schema, and decodes it.
func read[T any](i *installation, wantCode int, args ...string) T {
	i.t.Helper()
	r := i.plugin(append(args, "-o", "json")...)
	require.Equal(i.t, wantCode, r.code, "%s%s", r.stdout, r.stderr)
	var out T
	_, text := documenttest.Validate(i.t, "../..", []byte(r.stdout))
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(i.t, d.Decode(&out), "%s", r.stdout)
	return out
}

// versions returns what tells whether the plugin has written anything: the resourceVersions of Services and ConfigMaps, and of objects
// whose status the controller keeps writing, the generations.
func versions(t *testing.T) string {
	t.Helper()
	list := func(kinds, field string) string {
		return bed.Kubectl(t, "get", kinds, "-A", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.`+field+`}{"\n"}{end}`)
	}
	out := list("services,configmaps", "resourceVersion") + list("ipaddresspools,bgpadvertisements,l2advertisements,backends.fairlead.io,addressreservations", "generation")
	lines := strings.Split(out, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
