package follow_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/follow"
)

// TestWatch: of a cache that is not filled nothing is waited for, and each change is told as it was and as it is.
func TestWatch(t *testing.T) {
	caches := &informertest.FakeInformers{Scheme: cli.NewScheme()}
	var told []string
	label := func(o client.Object) string {
		if o == nil {
			return "nothing"
		}
		return o.GetLabels()["is"]
	}
	require.NoError(t, follow.Watch(caches, func(was, is client.Object) { told = append(told, label(was)+" "+label(is)) }, &corev1.Node{}))
	informer, err := caches.FakeInformerFor(t.Context(), &corev1.Node{})
	require.NoError(t, err)
	node := func(is string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"is": is}}}
	}
	informer.Add(node("new"))
	informer.Update(node("new"), node("edited"))
	informer.Delete(node("edited"))
	informer.Add(node("back"))
	assert.Equal(t, []string{"nothing new", "new edited", "edited nothing", "nothing back"}, told)
}
