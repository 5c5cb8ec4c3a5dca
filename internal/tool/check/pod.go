package check

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Pod tries from a pod of its own, which ends by itself and is removed.
type Pod struct {
	Client    client.WithWatch
	Namespace string
	Image     string // it needs sh, and nc and wget as busybox has them
	Timeout   time.Duration
	HTTP      bool
	// Start is how long the pod may take to be scheduled and to pull its image.
	Start time.Duration
	// Progress is told what is waited for.
	Progress func(string)
}

// Where implements Prober.
func (p *Pod) Where() string { return "a pod in namespace " + p.Namespace }

// Neighbour implements Prober: a pod's own link is that of the CNI.
func (*Pod) Neighbour(netip.Addr) (detail string, found, onLink bool) {
	return "not looked at from a pod", false, false
}

// maxTargets is how many targets fit into what a pod can say when it ends: 4096 bytes (TerminationMessagePath).
const maxTargets = 120

// script tries each target, one after the other, and says for each how it went: its number, the exit code of nc, milliseconds, and the exit
// code of wget.
func (p *Pod) script(targets []netip.AddrPort) string {
	seconds := strconv.Itoa(max(1, int(p.Timeout.Seconds())))
	var b strings.Builder
	b.WriteString("now() { echo $(( $(date +%s) * 1000 )); }\nsay() { echo \"$*\" >> /dev/termination-log; }\n")
	for i, t := range targets {
		fmt.Fprintf(&b, "s=$(now); nc -w %s -z %s %d >/dev/null 2>&1; c=$?; e=$(now); h=-\n", seconds, t.Addr(), t.Port())
		if p.HTTP {
			scheme := "http"
			if t.Port() == tlsPort {
				scheme = "https"
			}
			fmt.Fprintf(&b, "[ $c = 0 ] && { wget -q -O /dev/null -T %s --no-check-certificate %s://%s/ >/dev/null 2>&1; h=$?; }\n", seconds, scheme,
				t)
		}
		fmt.Fprintf(&b, "say %d $c $(( e - s )) $h\n", i)
	}
	b.WriteString("exit 0\n")
	return b.String()
}

// Try implements Prober.
func (p *Pod) Try(ctx context.Context, targets []netip.AddrPort) (map[netip.AddrPort]Attempt, error) {
	if len(targets) == 0 {
		return nil, nil
	}
	if len(targets) > maxTargets {
		return nil, fmt.Errorf("a pod can try %d addresses and ports at most, these are %d: name a Service or an address", maxTargets,
			len(targets))
	}
	pod := p.pod(targets)
	if err := p.Client.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("start a pod in namespace %q: %w", p.Namespace, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		now := int64(0)
		if err := p.Client.Delete(ctx, pod, &client.DeleteOptions{GracePeriodSeconds: &now}); client.IgnoreNotFound(err) != nil {
			p.Progress(fmt.Sprintf("pod %s/%s is left: %v", pod.Namespace, pod.Name, err))
		}
	}()
	said, err := p.await(ctx, pod, len(targets))
	if err != nil {
		return nil, err
	}
	return parse(said, targets, p.HTTP)
}

func (p *Pod) pod(targets []netip.AddrPort) *corev1.Pod {
	never, no, nobody := corev1.RestartPolicyNever, false, int64(65534)
	deadline := int64((p.Start + time.Duration(len(targets)*2)*p.Timeout).Seconds()) + 1
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, GenerateName: "fairlead-check-", Labels: map[string]string{"app.kubernetes.io/name": "fairlead",
				"app.kubernetes.io/component": "check"},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: never, ActiveDeadlineSeconds: &deadline, AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: &nobody, RunAsNonRoot: new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "check", Image: p.Image, Command: []string{"sh", "-c", p.script(targets)},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}
}

// await returns what the pod said when it ended.
func (p *Pod) await(ctx context.Context, pod *corev1.Pod, targets int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Start+time.Duration(targets*2)*p.Timeout)
	defer cancel()
	w, err := p.Client.Watch(ctx, &corev1.PodList{}, client.InNamespace(pod.Namespace), client.MatchingFields{"metadata.name": pod.Name})
	if err != nil {
		return "", fmt.Errorf("watch pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer w.Stop()
	state := "it was created"
	for e := range w.ResultChan() {
		now, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		for _, c := range now.Status.ContainerStatuses {
			if t := c.State.Terminated; t != nil {
				if t.ExitCode != 0 {
					return "", fmt.Errorf("the pod's command ended with %d (%s): the image %q needs sh, nc and wget", t.ExitCode, t.Reason, p.Image)
				}
				return t.Message, nil
			}
			if waits := c.State.Waiting; waits != nil && waits.Reason != "" {
				state = waits.Reason
			}
		}
		if now.Status.Phase == corev1.PodFailed {
			return "", fmt.Errorf("the pod failed: %s %s", now.Status.Reason, now.Status.Message)
		}
		for _, c := range now.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				state = c.Message
			}
		}
		p.Progress(fmt.Sprintf("pod %s/%s: %s", pod.Namespace, pod.Name, state))
	}
	return "", fmt.Errorf("pod %s/%s did not end in time: %s", pod.Namespace, pod.Name, state)
}

// parse reads what a pod said.
func parse(said string, targets []netip.AddrPort, http bool) (map[netip.AddrPort]Attempt, error) {
	out := map[netip.AddrPort]Attempt{}
	for line := range strings.Lines(said) {
		f := strings.Fields(line)
		if len(f) != 4 {
			continue
		}
		i, err1 := strconv.Atoi(f[0])
		code, err2 := strconv.Atoi(f[1])
		ms, err3 := strconv.Atoi(f[2])
		if errors.Join(err1, err2, err3) != nil || i < 0 || i >= len(targets) {
			continue
		}
		a := Attempt{Took: time.Duration(ms) * time.Millisecond}
		if code != 0 {
			a.Err = fmt.Sprintf("no connection (nc ended with %d)", code)
		} else if http {
			if a.HTTP = 200; f[3] != "0" {
				a.HTTP, a.HTTPErr = 0, fmt.Sprintf("no page (wget ended with %s)", f[3])
			}
		}
		out[targets[i]] = a
	}
	if len(out) < len(targets) {
		return nil, fmt.Errorf("the pod told of %d of %d addresses and ports: %q", len(out), len(targets), said)
	}
	return out, nil
}
