package chart

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// release is an installation of the chart in a namespace of its own, named like it. It serves the Services of a class of its own.
type release struct {
	t    testing.TB
	name string // of the release and of its namespace
}

// install installs the chart without the CRDs, which the cluster has, and removes it when the test ends.
func install(t testing.TB, values ...string) *release {
	t.Helper()
	r := &release{t: t, name: bed.Namespace(t)}
	r.helm("install", append([]string{"loadBalancerClass=" + r.class()}, values...)...)
	t.Cleanup(func() {
		mustHelm(t, "uninstall", r.name, "--namespace", r.name, "--no-hooks", "--ignore-not-found")
		require.NoError(t, bed.Client.DeleteAllOf(context.WithoutCancel(t.Context()), &v1alpha1.Backend{}))
	})
	return r
}

func (r *release) class() string { return "example.org/" + r.name }

// helm runs "helm install" or "helm upgrade".
func (r *release) helm(verb string, values ...string) string {
	r.t.Helper()
	return mustHelm(r.t, r.args(verb, values...)...)
}

func (r *release) args(verb string, values ...string) []string {
	args := []string{verb, r.name, folder, "--namespace", r.name, "--set", "crds.enabled=false,nameOverride=fairlead"}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	return args
}

// object is a namespaced object of the release.
func (r *release) object(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: r.name, Name: name}
}

func (r *release) create(o client.Object) {
	r.t.Helper()
	require.NoError(r.t, bed.Client.Create(r.t.Context(), o))
}

// account writes a kubeconfig with which one is a ServiceAccount of the release, that of a component, and returns its path. server is
// another address of the API server, with its CA; empty for the real one.
func (r *release) account(component, server string, ca []byte) string {
	r.t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: r.object(r.name + "-fairlead-" + component)}
	require.NoError(r.t, bed.Client.Get(r.t.Context(), client.ObjectKeyFromObject(sa), sa))
	token := &authenticationv1.TokenRequest{}
	require.NoError(r.t, bed.Client.SubResource("token").Create(r.t.Context(), sa, token))
	config, err := clientcmd.Load(bed.Kubeconfig)
	require.NoError(r.t, err)
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	for _, c := range config.Clusters {
		if server != "" {
			c.Server, c.CertificateAuthority, c.CertificateAuthorityData = server, "", ca
		}
	}
	path := filepath.Join(r.t.TempDir(), component)
	require.NoError(r.t, clientcmd.WriteToFile(*config, path))
	return path
}

// arguments returns those of a container, with its environment filled in.
func arguments(c corev1.Container, env map[string]string) []string {
	var out []string
	for _, a := range c.Args {
		for name, value := range env {
			a = strings.ReplaceAll(a, "$("+name+")", value)
		}
		out = append(out, a)
	}
	return out
}

// controller returns the arguments with which the release's Deployment runs the controller, but with no ports of the machine in use.
func (r *release) controller() []string {
	r.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: r.object(r.name + "-fairlead-controller")}
	require.NoError(r.t, bed.Client.Get(r.t.Context(), client.ObjectKeyFromObject(d), d))
	c := d.Spec.Template.Spec.Containers[0]
	require.Equal(r.t, []string{"/controller"}, c.Command)
	return append(arguments(c, map[string]string{"FAIRLEAD_NAMESPACE": r.name}), "--metrics-bind-address=0", "--health-probe-bind-address=0")
}

// start runs the controller as the release's ServiceAccount.
func (r *release) start(kubeconfig string, args ...string) *testbed.Process {
	r.t.Helper()
	return bed.Start(r.t, r.name, append(append([]string{"--kubeconfig", kubeconfig}, r.controller()...), args...)...)
}

// service creates a Service of the release's class.
func (r *release) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	r.t.Helper()
	class := r.class()
	s := &corev1.Service{ObjectMeta: r.object(name), Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	for _, c := range change {
		c(s)
	}
	r.create(s)
	return s
}

// addressed waits until a Service has an address.
func addressed(t testing.TB, s *corev1.Service) {
	t.Helper()
	testbed.Eventually(t, "an address of "+s.Name, func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if len(s.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

// exists waits until an object is there, or is not.
func exists(t testing.TB, o client.Object, want bool) {
	t.Helper()
	testbed.Eventually(t, o.GetName()+" to come or go", func(ctx context.Context) error {
		err := bed.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		if !want && err == nil {
			return errors.New("it is still there")
		}
		if !want {
			return client.IgnoreNotFound(err)
		}
		return err
	})
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, content, 0o644)) //nolint:gosec // speakers run as other users
}
