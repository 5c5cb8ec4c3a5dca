// Package surveytest has clusters for tests, written as manifests.
package surveytest

import (
	"bytes"
	_ "embed"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Namespace is that of the installation in all manifests.
const Namespace = survey.DefaultNamespace

// At is when all surveys are made.
var At = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Shop is a cluster with two nodes whose speakers serve a shop: "shop/web" is announced on the local network and by BGP, "shop/lost" asks
// for a pool that does not exist, "shop/wide" wants more than is left.
//
//go:embed shop.yaml
var Shop []byte

// Client returns a client of a cluster with the objects of manifests.
func Client(t testing.TB, manifests ...[]byte) client.WithWatch {
	t.Helper()
	var objects []client.Object
	for _, m := range manifests {
		for doc := range bytes.SplitSeq(m, []byte("\n---\n")) {
			if strings.TrimSpace(string(doc)) == "" {
				continue
			}
			u := &unstructured.Unstructured{}
			require.NoError(t, yaml.UnmarshalStrict(doc, &u.Object), "%s", doc)
			objects = append(objects, u)
		}
	}
	return fake.NewClientBuilder().WithScheme(survey.NewScheme()).WithObjects(objects...).
		WithIndex(&corev1.Event{}, "reason", func(o client.Object) []string { return []string{o.(*corev1.Event).Reason} }).Build()
}

// Survey returns the survey of a cluster with the objects of manifests, changed as asked.
func Survey(t testing.TB, manifests []byte, change ...func(*survey.Survey)) *survey.Survey {
	t.Helper()
	s, err := survey.ReadAt(t.Context(), Client(t, manifests), Namespace, At)
	require.NoError(t, err)
	for _, c := range change {
		c(s)
	}
	return s
}

// Model returns the model of such a survey.
func Model(t testing.TB, manifests []byte, change ...func(*survey.Survey)) *survey.Model {
	t.Helper()
	m, err := Survey(t, manifests, change...).Model()
	require.NoError(t, err)
	return m
}
