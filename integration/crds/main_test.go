// Package crds_test tests the published CRDs on a real API server.
package crds_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/crds"
)

// namespace is where the seeds' manifests live.
const namespace = "metallb-system"

var (
	config *rest.Config

	// kube sends objects as they are and has the API server refuse unknown fields.
	kube client.Client
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run starts an API server with the CRDs in it, runs the tests, and stops it.
func run(m *testing.M) (code int, err error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = filepath.Join("..", "..", "bin")
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(assets, name)); err != nil {
			return 1, fmt.Errorf("run make tools: %w", err)
		}
	}
	all, err := crds.All()
	if err != nil {
		return 1, err
	}
	environment := &envtest.Environment{CRDs: all, BinaryAssetsDirectory: assets}
	config, err = environment.Start()
	defer func() { err = errors.Join(err, environment.Stop()) }()
	if err != nil {
		return 1, fmt.Errorf("start the API server: %w", err)
	}
	plain, err := client.New(config, client.Options{})
	if err != nil {
		return 1, err
	}
	kube = client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	if err := kube.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// object builds an object of the given metallb.io version and kind from the YAML of its spec.
func object(t *testing.T, version, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion("metallb.io/" + version)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName("test")
	if fields := decode(t, []byte(spec)); fields != nil {
		o.Object["spec"] = fields
	}
	return o
}

// decode reads YAML as the API server reads JSON: whole numbers become int64.
func decode(t *testing.T, text []byte) map[string]any {
	t.Helper()
	text, err := yaml.YAMLToJSONStrict(text)
	require.NoError(t, err, "%s", text)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(text, &fields), "%s", text)
	return fields
}

// create stores an object and removes it when the test ends.
func create(t *testing.T, o client.Object) error {
	t.Helper()
	err := kube.Create(t.Context(), o)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, kube.Delete(context.Background(), o)) })
	}
	return err
}

// causes returns the faults that the API server found.
func causes(t *testing.T, err error) []metav1.StatusCause {
	t.Helper()
	var status apierrors.APIStatus
	require.ErrorAs(t, err, &status)
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	return status.Status().Details.Causes
}
