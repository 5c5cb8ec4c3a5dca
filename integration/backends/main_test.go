// Package backends tests the backends of cluster scope against a real API server with the CNIs' own CRDs.
package backends

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/backends/backendtest"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// cluster is the API server that all tests of this package share. One CNI's CRDs are there at a time.
var (
	cluster *localcluster.Cluster
	kube    client.Client     // for what tests do themselves
	objects dynamic.Interface // the same, without types
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

func start() error {
	assets, err := localcluster.Assets(testbed.Folder("bin"))
	if err != nil {
		return err
	}
	if cluster, err = localcluster.Start(assets); err != nil {
		return err
	}
	cluster.Config.QPS = -1
	cluster.Config.WarningHandler = rest.NoWarnings{} // of deprecated versions
	kube, err1 := client.New(cluster.Config, client.Options{Scheme: testbed.Scheme()})
	dyn, err2 := dynamic.NewForConfig(cluster.Config)
	setClients(kube, dyn)
	return errors.Join(err1, err2)
}

func setClients(k client.Client, d dynamic.Interface) { kube, objects = k, d }

// connect returns clients whose requests go through r.
func connect(t testing.TB, r *backendtest.Recorder) (*discovery.DiscoveryClient, dynamic.Interface) {
	t.Helper()
	h, err := rest.HTTPClientFor(cluster.Config)
	require.NoError(t, err)
	wrapped := *h
	r.Next = h.Transport
	wrapped.Transport = r
	dc, err := discovery.NewDiscoveryClientForConfigAndClient(cluster.Config, &wrapped)
	require.NoError(t, err)
	d, err := dynamic.NewForConfigAndClient(cluster.Config, &wrapped)
	require.NoError(t, err)
	return dc, d
}

// install installs CRDs for the time of a test.
func install(t testing.TB, list []*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	require.NoError(t, cluster.InstallCRDs(list...))
	t.Cleanup(func() { remove(t, list) })
}

// schemaIsServed waits until the API server publishes the schemas of kinds, which happens a moment after it serves them.
func schemaIsServed(t testing.TB, gv schema.GroupVersion, kinds ...string) {
	t.Helper()
	dc, err := discovery.NewDiscoveryClientForConfig(cluster.Config)
	require.NoError(t, err)
	testbed.Eventually(t, "the schema", func(context.Context) error {
		paths, err := dc.OpenAPIV3().Paths()
		if err != nil {
			return err
		}
		group, ok := paths["apis/"+gv.String()]
		if !ok {
			return errors.New("none yet")
		}
		b, err := group.Schema("application/json")
		for _, kind := range kinds {
			if err == nil && !strings.Contains(string(b), `"`+kind+`"`) {
				err = errors.New(kind + " is not in it yet")
			}
		}
		return err
	})
}

func remove(t testing.TB, list []*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	ctx := context.Background()
	for _, crd := range list {
		require.NoError(t, client.IgnoreNotFound(kube.Delete(ctx, crd.DeepCopy())))
	}
	for _, crd := range list {
		testbed.AwaitCRDGone(t, kube, crd.Name)
	}
	// The API server takes the group out of discovery a moment later.
	dc, err := discovery.NewDiscoveryClientForConfig(cluster.Config)
	require.NoError(t, err)
	testbed.Eventually(t, "discovery to forget the CRDs", func(context.Context) error {
		for _, crd := range list {
			for _, v := range crd.Spec.Versions {
				found, err := dc.ServerResourcesForGroupVersion(crd.Spec.Group + "/" + v.Name)
				if client.IgnoreNotFound(err) != nil {
					return err
				}
				if err == nil && slices.ContainsFunc(found.APIResources, func(r metav1.APIResource) bool { return r.Name == crd.Spec.Names.Plural }) {
					return fmt.Errorf("%s is still served", crd.Name)
				}
			}
		}
		return nil
	})
}

// namespace makes a namespace with that name, if it is not there.
func namespace(t testing.TB, name string) {
	t.Helper()
	err := kube.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	require.NoError(t, client.IgnoreAlreadyExists(err))
}

// all returns every object of a resource.
func all(t testing.TB, r schema.GroupVersionResource, ns string) []unstructured.Unstructured {
	t.Helper()
	list, err := objects.Resource(r).Namespace(ns).List(context.WithoutCancel(t.Context()), metav1.ListOptions{})
	require.NoError(t, err)
	return list.Items
}

// dump returns objects as YAML, without what the API server adds.
func dump(t testing.TB, list []unstructured.Unstructured) string {
	t.Helper()
	var out strings.Builder
	for _, u := range list {
		u = *u.DeepCopy()
		for _, field := range []string{"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"} {
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}
		b, err := yaml.Marshal(u.Object)
		require.NoError(t, err)
		fmt.Fprintf(&out, "---\n%s", b)
	}
	return out.String()
}

// versions names each object with its resourceVersion.
func versions(list []unstructured.Unstructured) string {
	var out strings.Builder
	for _, u := range list {
		fmt.Fprintf(&out, "%s %s %s\n", u.GetKind(), u.GetName(), u.GetResourceVersion())
	}
	return out.String()
}

// wipe deletes every object of a resource.
func wipe(t testing.TB, r schema.GroupVersionResource, ns, selector string) {
	t.Helper()
	require.NoError(t, objects.Resource(r).Namespace(ns).DeleteCollection(context.WithoutCancel(t.Context()), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: selector}))
}
