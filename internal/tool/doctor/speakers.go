package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

type container = corev1.Container

// speakersCheck looks at the speakers, if they serve anything.
func speakersCheck(f *Facts, c *check) {
	alive, _ := f.Speakers()
	set := f.speakerSet()
	if !f.usesSpeakers() {
		if set != nil && set.Status.DesiredNumberScheduled > 0 && f.ChoiceKnown {
			command := f.command(change{values: "--set speaker.enabled=false"})
			if command == "" {
				command = fmt.Sprintf("kubectl -n %s delete daemonset %s", f.Namespace, set.Name)
			}
			c.add(Info, Finding{What: fmt.Sprintf("speakers run (DaemonSet %s) and serve no advertisement", set.Name), Command: command})
		}
		return
	}
	if f.MemberlistKnown && !f.Memberlist {
		c.add(Error, Finding{
			What: "the Secret of the speakers is missing",
			Why:  "the controller makes it when the speakers are to serve anything; their pods wait for it",
			Command: fmt.Sprintf("kubectl -n %s create secret generic %s --from-literal=secretkey=\"$(openssl rand -base64 128)\"", f.Namespace,
				memberlistSecret),
		})
	}
	f.speakersRun(c, set, len(alive))
	for _, node := range slices.Sorted(maps.Keys(alive)) {
		if f.SpeakerPods != nil && !f.SpeakerPods[node] {
			c.add(Warning, Finding{
				What:    fmt.Sprintf("the speaker of node %q says that it runs, and no pod of it does", node),
				Why:     "it has ended without a word; others answer for its addresses",
				Command: fmt.Sprintf("kubectl -n %s get pods -o wide", f.Namespace),
			})
		}
	}
	for _, node := range slices.Sorted(maps.Keys(f.Silent)) {
		c.add(Warning, Finding{
			What: fmt.Sprintf("the speaker of node %q has given no sign of life for %s", node, f.At.Sub(f.Silent[node]).Round(time.Second)),
			Why:  "what it has told is not believed any more; others answer for its addresses", Command: "kubectl get node " + node,
		})
	}
	if f.Lacks("Nodes") {
		return
	}
	nodes := f.AnnounceNodes()
	for _, node := range slices.Sorted(maps.Keys(alive)) {
		n, known := nodes[node]
		switch {
		case !known:
			c.add(Warning, Finding{What: fmt.Sprintf("a speaker runs as node %q, and there is no such Node", node), Why: "it announces nothing",
				Command: "kubectl get nodes"})
		case n.NetworkUnavailable:
			c.add(Warning, Finding{What: fmt.Sprintf("node %q has the condition NetworkUnavailable", node), Why: "its speaker announces nothing",
				Command: "kubectl describe node " + node})
		}
	}
}

func (f *Facts) speakerSet() *appsv1.DaemonSet {
	for i := range f.DaemonSets {
		d := &f.DaemonSets[i]
		if d.Namespace == f.Namespace && d.Labels["app.kubernetes.io/name"] == "fairlead" &&
			d.Labels["app.kubernetes.io/component"] == "speaker" {
			return d
		}
	}
	return nil
}

const nobodyAnnounces = "nobody announces the addresses that the speakers are to serve"

// speakersRun tells of speakers that do not run, and what keeps them from it.
func (f *Facts) speakersRun(c *check, set *appsv1.DaemonSet, alive int) {
	pods := fmt.Sprintf("kubectl -n %s get pods -l app.kubernetes.io/name=fairlead,app.kubernetes.io/component=speaker -o wide", f.Namespace)
	silent := alive == 0 && !f.Lacks("SpeakerLeases")
	switch {
	case set == nil && silent && f.Lacks("DaemonSets"):
		c.add(Error, Finding{What: "no speaker says that it runs", Why: nobodyAnnounces +
			"; whether there is a DaemonSet of them is not to be seen", Command: pods})
	case set == nil && silent:
		c.add(Error, Finding{What: "no speaker runs: there is no DaemonSet of them", Why: nobodyAnnounces, Command: f.enableSpeakers()})
	case set == nil:
	case set.Status.DesiredNumberScheduled == 0 && silent:
		what, command := f.noNode(set)
		c.add(Error, Finding{What: "no speaker runs: " + what, Why: nobodyAnnounces, Command: command})
	case set.Status.NumberReady < set.Status.DesiredNumberScheduled:
		severity, why := Warning, "nodes without a speaker announce nothing"
		if set.Status.NumberReady == 0 {
			severity, why = Error, nobodyAnnounces
		}
		what := fmt.Sprintf("%d of %d speakers are ready", set.Status.NumberReady, set.Status.DesiredNumberScheduled)
		trouble, command := f.podTrouble(set)
		if trouble != "" {
			what += ": " + trouble
		}
		if command == "" {
			command = pods
		}
		c.add(severity, Finding{What: what, Why: why, Command: command})
	case silent && len(f.Silent) == 0:
		c.add(Error, Finding{
			What: "no speaker says that it runs, although their pods are ready", Why: nobodyAnnounces,
			Command: fmt.Sprintf("kubectl -n %s logs daemonset/%s", f.Namespace, set.Name),
		})
	}
}

// noNode says why no node is to run a speaker.
func (f *Facts) noNode(set *appsv1.DaemonSet) (what, command string) {
	spec := &set.Spec.Template.Spec
	command = fmt.Sprintf("kubectl -n %s describe daemonset %s", set.Namespace, set.Name)
	switch {
	case set.Status.ObservedGeneration == 0:
		return fmt.Sprintf("Kubernetes has not looked at DaemonSet %s yet", set.Name), command
	case len(spec.NodeSelector) > 0:
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
			labels = append(labels, key+"="+spec.NodeSelector[key])
		}
		return fmt.Sprintf("no node has the labels of nodeSelector of DaemonSet %s: %s", set.Name, strings.Join(labels, ", ")),
			"kubectl get nodes --show-labels"
	}
	return fmt.Sprintf("no node suits affinity and tolerations of DaemonSet %s", set.Name), command
}

// podTrouble says what keeps pods of the speakers from being ready, and returns the command that shows or changes it; both are empty if
// that is not to be seen.
func (f *Facts) podTrouble(set *appsv1.DaemonSet) (what, command string) {
	if f.Refused != "" {
		what = "their pods are refused: " + f.Refused
		if strings.Contains(f.Refused, "PodSecurity") {
			return what, fmt.Sprintf("kubectl label namespace %s pod-security.kubernetes.io/enforce=privileged --overwrite", f.Namespace)
		}
		return what, fmt.Sprintf("kubectl -n %s describe daemonset %s", f.Namespace, set.Name)
	}
	for i := range f.Pods {
		p := &f.Pods[i]
		if why := waitsFor(p); why != "" {
			where := ""
			if p.Spec.NodeName != "" {
				where = fmt.Sprintf(" on node %q", p.Spec.NodeName)
			}
			command = fmt.Sprintf("kubectl -n %s describe pod %s", p.Namespace, p.Name)
			if strings.HasPrefix(why, "CrashLoopBackOff") {
				command = fmt.Sprintf("kubectl -n %s logs %s --previous", p.Namespace, p.Name)
			}
			return fmt.Sprintf("pod %s%s: %s", p.Name, where, why), command
		}
	}
	level := f.Namespaces[f.Namespace]["pod-security.kubernetes.io/enforce"]
	if len(f.Pods) == 0 && !f.Lacks("Pods") && level != "" && level != "privileged" {
		return fmt.Sprintf("there are no pods of them, and the namespace admits only pods of the level %q", level),
			fmt.Sprintf("kubectl label namespace %s pod-security.kubernetes.io/enforce=privileged --overwrite", f.Namespace)
	}
	return "", ""
}

// waitsFor says why a pod is not ready; empty: it is, or it does not say.
func waitsFor(p *corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "" && s.State.Waiting.Message != "":
			return s.State.Waiting.Reason + ": " + s.State.Waiting.Message
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			return s.State.Waiting.Reason
		case s.State.Terminated != nil && s.State.Terminated.ExitCode != 0:
			return fmt.Sprintf("container %s has ended with exit code %d", s.Name, s.State.Terminated.ExitCode)
		}
	}
	for _, x := range p.Status.Conditions {
		if x.Type == corev1.PodScheduled && x.Status == corev1.ConditionFalse {
			return x.Reason + ": " + x.Message
		}
	}
	for _, x := range p.Status.Conditions {
		if x.Type == corev1.PodReady && x.Status == corev1.ConditionFalse && x.Reason != "" {
			return strings.TrimSuffix(x.Reason+": "+x.Message, ": ")
		}
	}
	return ""
}
