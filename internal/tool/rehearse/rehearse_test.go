package rehearse

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

func secret(name, value string, labels map[string]string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"a": value}}}
	u.SetNamespace("default")
	u.SetName(name)
	u.SetLabels(labels)
	return u
}

// TestCluster: who writes reads what it wrote, the real cluster sees nothing of it, and the writes are told.
func TestCluster(t *testing.T) {
	resource := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	real := fake.NewSimpleDynamicClient(clientgoscheme.Scheme, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "one", Labels: map[string]string{"x": "y"}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "two"}})
	c := newCluster(real)
	ctx := t.Context()
	r := c.Resource(resource).Namespace("default")

	_, err := r.Create(ctx, secret("three", "v", map[string]string{"x": "y"}), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = r.Create(ctx, secret("one", "v", nil), metav1.CreateOptions{})
	require.True(t, apierrors.IsAlreadyExists(err), "%v", err)
	_, err = r.Patch(ctx, "one", types.MergePatchType, []byte(`{"metadata":{"labels":{"x":null,"z":"w"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, r.Delete(ctx, "two", metav1.DeleteOptions{}))

	_, err = r.Get(ctx, "two", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	_, err = r.Update(ctx, secret("two", "", nil), metav1.UpdateOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	one, err := r.Get(ctx, "one", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"z": "w"}, one.GetLabels())
	for selector, want := range map[string]int{"": 2, "x=y": 1, "z": 1} {
		list, err := r.List(ctx, metav1.ListOptions{LabelSelector: selector})
		require.NoError(t, err)
		assert.Len(t, list.Items, want, selector)
	}

	var got []string
	for _, w := range c.Writes() {
		got = append(got, w.Verb+" "+w.Kind+" "+w.Namespace+"/"+w.Name)
		assert.Nil(t, w.Before)
		assert.Nil(t, w.After, "what is in a Secret is shown to nobody")
	}
	assert.Equal(t, []string{"update Secret default/one", "create Secret default/three", "delete Secret default/two"}, got)

	c.Mark()
	_, err = r.Update(ctx, one, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Empty(t, c.Writes(), "it is as it was at the mark")

	for _, a := range real.Actions() {
		assert.Contains(t, []string{"get", "list"}, a.GetVerb(), "%v reached the cluster", a)
	}
	for _, write := range []func() error{
		func() error { _, err := r.UpdateStatus(ctx, one, metav1.UpdateOptions{}); return err },
		func() error { return r.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}) },
		func() error { _, err := r.Apply(ctx, "one", one, metav1.ApplyOptions{}); return err },
		func() error { _, err := r.ApplyStatus(ctx, "one", one, metav1.ApplyOptions{}); return err },
		func() error {
			_, err := r.Patch(ctx, "one", types.JSONPatchType, []byte(`[]`), metav1.PatchOptions{})
			return err
		},
	} {
		require.ErrorContains(t, write(), "rehearsed")
	}
}
