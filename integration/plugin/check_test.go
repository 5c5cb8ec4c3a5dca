package plugin

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/check"
)

// kubelet says of each pod of check in a namespace that it ended with these words, until the test ends; it returns the pods.
func (i *installation) kubelet(said string) *[]corev1.Pod {
	i.t.Helper()
	w, err := bed.Client.Watch(context.WithoutCancel(i.t.Context()), &corev1.PodList{}, client.InNamespace(i.namespace))
	require.NoError(i.t, err)
	var seen []corev1.Pod
	done := make(chan struct{})
	i.t.Cleanup(func() {
		w.Stop()
		<-done
	})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok || e.Type != watch.Added {
				continue
			}
			seen = append(seen, *p.DeepCopy())
			p.Status.Phase = corev1.PodSucceeded
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "check", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: said}}}}
			assert.NoError(i.t, bed.Client.Status().Update(context.WithoutCancel(i.t.Context()), p))
		}
	}()
	return &seen
}

// TestCheckFromPod: a pod tries, with no rights, and is gone afterwards; what is broken is named.
func TestCheckFromPod(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.76.0.0/28")
	i.start("--backend=none")
	web := i.service("web")
	testbed.Eventually(t, "an address", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(web), web); err != nil || len(web.Status.LoadBalancer.Ingress) == 0 {
			return assert.AnError
		}
		return nil
	})
	pods := i.kubelet("0 1 3000 -\n")
	args := []string{"check", "service", "web", "-n", i.namespace, "--system-namespace", i.namespace, "--from-pod", "--image", "registry.example/busybox"}
	r := read[check.Report](i, 2, args...)
	require.Len(t, r.Results, 1)
	assert.Equal(t, check.StepEndpoint, r.Results[0].Broken, "the first step that is broken")
	last := r.Results[0].Steps[len(r.Results[0].Steps)-1]
	assert.Equal(t, check.StepConnect+" "+check.Broken, last.Step+" "+last.State)
	require.Len(t, *pods, 1)
	p := (*pods)[0]
	assert.True(t, strings.HasPrefix(p.Name, "fairlead-check-"))
	assert.Equal(t, "registry.example/busybox", p.Spec.Containers[0].Image)
	assert.Contains(t, p.Spec.Containers[0].Command[2], "nc -w 3 -z 10.76.0.")
	assert.False(t, *p.Spec.AutomountServiceAccountToken)
	var left corev1.PodList
	require.NoError(t, bed.Client.List(t.Context(), &left, client.InNamespace(i.namespace)))
	assert.Empty(t, left.Items)

	got := i.plugin("check", "service", "nothing", "-n", i.namespace)
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.stderr, "serves no Service of type LoadBalancer with nothing")
	got = i.plugin("check")
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.stderr, "say what to check")
}
