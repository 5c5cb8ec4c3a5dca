package support

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/internal/process/cli"
)

// addPods adds the metrics of the installation's pods, and the logs of their containers.
func (b *bundle) addPods(ctx context.Context, lists []*list) error {
	for _, l := range lists {
		if l.GroupVersionResource != pods {
			continue
		}
		for _, u := range l.items {
			var pod corev1.Pod
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &pod); err != nil {
				b.miss("pod "+u.GetName(), err)
				continue
			}
			if err := b.addPod(ctx, &pod); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bundle) addPod(ctx context.Context, pod *corev1.Pod) error {
	b.Progress("pod " + pod.Name)
	if err := b.addMetrics(ctx, pod); err != nil {
		return err
	}
	restarts := map[string]int32{}
	for _, s := range pod.Status.ContainerStatuses {
		restarts[s.Name] = s.RestartCount
	}
	for _, c := range pod.Spec.Containers {
		if err := b.addLog(ctx, pod.Name, c.Name, false); err != nil {
			return err
		}
		if restarts[c.Name] > 0 {
			if err := b.addLog(ctx, pod.Name, c.Name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// addLog adds the end of the log of a container, or of the one that ran before it.
func (b *bundle) addLog(ctx context.Context, pod, container string, previous bool) error {
	name := container
	if previous {
		name += ".previous"
	}
	ctx, cancel := cli.Within(ctx, b.Patience)
	defer cancel()
	o := &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: &b.LogLines}
	text, err := b.Core.Pods(b.Options.Namespace).GetLogs(pod, o).DoRaw(ctx)
	if err != nil {
		b.miss(fmt.Sprintf("the log of %s of pod %s", name, pod), ofPod(err, "get pods/log"))
		return nil
	}
	return b.add("logs/"+pod+"/"+name+".log", 0, []byte(b.text(string(text))))
}

// addMetrics adds the metrics of a pod, through the API server.
func (b *bundle) addMetrics(ctx context.Context, pod *corev1.Pod) error {
	what := "the metrics of pod " + pod.Name
	port := metricsPort(pod)
	if port == 0 {
		b.miss(what, errors.New(`it has no port that is called "metrics"`))
		return nil
	}
	ctx, cancel := cli.Within(ctx, b.Patience)
	defer cancel()
	var text []byte
	var err error
	for _, scheme := range []string{"http", "https"} {
		text, err = b.Core.Pods(b.Options.Namespace).ProxyGet(scheme, pod.Name, strconv.Itoa(int(port)), "/metrics", nil).DoRaw(ctx)
		if err == nil {
			return b.add("metrics/"+pod.Name+".txt", 0, []byte(b.text(string(text))))
		}
		if apierrors.IsForbidden(err) {
			break
		}
	}
	if apierrors.IsUnauthorized(err) {
		err = errors.New("they are only for those whose token may get /metrics (prometheus.secureMetrics of the chart), and the API server hands no token on")
	}
	b.miss(what, ofPod(err, "get pods/proxy"))
	return nil
}

// metricsPort returns the port at which a pod serves its metrics, 0 if it has none.
func metricsPort(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "metrics" {
				return p.ContainerPort
			}
		}
	}
	return 0
}

// ofPod says which permission is missing, if that is why something of a pod could not be read.
func ofPod(err error, permission string) error {
	if apierrors.IsForbidden(err) {
		return errors.New("you may not " + permission)
	}
	return err
}
