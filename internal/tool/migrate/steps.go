package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// step is one of the change-over. Both functions may be run again after they were interrupted anywhere.
type step struct {
	what     string
	do, undo func(*Migration, context.Context) error
	// waits is set if it is the user who does it.
	waits bool
}

var steps = []step{
	{what: "stop MetalLB's controller, and remove its webhook, which nobody answers any more", do: (*Migration).stopController,
		undo: (*Migration).startController},
	{what: "hand the CRDs over to Fairlead's Helm release", do: (*Migration).handOver, undo: (*Migration).handBack},
	{what: "install Fairlead, and see that it takes every address over and announces it", waits: true, undo: (*Migration).stopOurs},
	{what: "stop MetalLB's speakers", do: (*Migration).stopSpeakers, undo: (*Migration).startSpeakers},
}

// Parked keeps the pods of a DaemonSet from all nodes: no node has this label.
const Parked = "fairlead.io/migrated-from-metallb"

// edit reads an object, changes it and writes it, again if somebody else was faster. An object that is gone is left alone.
func (m *Migration) edit(ctx context.Context, o client.Object, change func()) error {
	return client.IgnoreNotFound(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := m.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change()
		return m.client.Update(ctx, o)
	}))
}

func (m *Migration) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: name}
}

// scale sets the replicas of a Deployment, and waits for its pods to be gone if there are to be none.
func (m *Migration) scale(ctx context.Context, name string, replicas int32) error {
	d := &appsv1.Deployment{ObjectMeta: m.named(name)}
	if err := m.edit(ctx, d, func() { d.Spec.Replicas = &replicas }); err != nil {
		return fmt.Errorf("scale Deployment %s/%s to %d: %w", m.Namespace, name, replicas, err)
	}
	if replicas > 0 || d.Spec.Selector == nil {
		return nil
	}
	return m.ended(ctx, d.Spec.Selector)
}

// ended waits until no pod with a selector is left.
func (m *Migration) ended(ctx context.Context, selector *metav1.LabelSelector) error {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return err
	}
	var left []string
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, m.Timeout, true, func(context.Context) (bool, error) { // a request that was begun may end
		pods := &corev1.PodList{}
		if err := m.client.List(ctx, pods, client.InNamespace(m.Namespace), client.MatchingLabelsSelector{Selector: s}); err != nil {
			return false, err
		}
		left = nil
		for _, p := range pods.Items {
			left = append(left, p.Name)
		}
		return len(left) == 0, nil
	})
	if wait.Interrupted(err) && len(left) > 0 {
		return fmt.Errorf("pods are still there after %v: %s", m.Timeout, strings.Join(left, ", "))
	}
	return err
}

func (m *Migration) stopController(ctx context.Context) error {
	if m.state.Webhook != nil {
		if err := m.client.Delete(ctx, m.state.Webhook.DeepCopy()); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("remove ValidatingWebhookConfiguration %s: %w", m.state.Webhook.Name, err)
		}
	}
	return m.scale(ctx, m.state.Controller, 0)
}

func (m *Migration) startController(ctx context.Context) error {
	if m.state.Webhook != nil {
		if err := m.client.Create(ctx, m.state.Webhook.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make ValidatingWebhookConfiguration %s again: %w", m.state.Webhook.Name, err)
		}
	}
	return m.scale(ctx, m.state.Controller, m.state.Replicas)
}

// What Helm knows its objects by.
const (
	helmRelease   = "meta.helm.sh/release-name"
	helmNamespace = "meta.helm.sh/release-namespace"
	managedBy     = "app.kubernetes.io/managed-by"
)

// handOver makes the CRDs ones that Fairlead's release may take over. The versions of a BGPPeer differ in nothing, so that no webhook
// has to convert them, least of all one that nobody answers.
func (m *Migration) handOver(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(m.state.CRDs)) {
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
		err := m.edit(ctx, crd, func() {
			metav1.SetMetaDataAnnotation(&crd.ObjectMeta, helmRelease, m.Release)
			metav1.SetMetaDataAnnotation(&crd.ObjectMeta, helmNamespace, m.Namespace)
			metav1.SetMetaDataLabel(&crd.ObjectMeta, managedBy, "Helm")
			crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
		})
		if err != nil {
			return fmt.Errorf("hand over CustomResourceDefinition %s: %w", name, err)
		}
	}
	return nil
}

func (m *Migration) handBack(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(m.state.CRDs)) {
		was := m.state.CRDs[name]
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
		err := m.edit(ctx, crd, func() {
			crd.Labels, crd.Annotations = maps.Clone(was.Labels), maps.Clone(was.Annotations)
			crd.Spec.Conversion = was.Conversion
		})
		if err != nil {
			return fmt.Errorf("give back CustomResourceDefinition %s: %w", name, err)
		}
	}
	return nil
}

// ours returns Fairlead's controller, nil if it is not installed.
func (m *Migration) ours(ctx context.Context) (*appsv1.Deployment, error) {
	all := &appsv1.DeploymentList{}
	err := m.client.List(ctx, all, client.InNamespace(m.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "fairlead",
		"app.kubernetes.io/component": "controller"})
	if err != nil {
		return nil, fmt.Errorf("look for Fairlead's controller: %w", err)
	}
	if len(all.Items) == 0 {
		return nil, nil
	}
	return &all.Items[0], nil
}

// installed reports whether Fairlead is there and has taken every address over, for which it gets some time.
func (m *Migration) installed(ctx context.Context) (bool, error) {
	if d, err := m.ours(ctx); err != nil || d == nil {
		return false, err
	}
	var missing error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, m.Timeout, true, func(context.Context) (bool, error) { // a request that was begun may end
		missing = nil
		_, err := m.compare(ctx, func(name string, s *corev1.Service) error {
			c := meta.FindStatusCondition(s.Status.Conditions, "fairlead.io/Allocated")
			if c == nil || c.Status != metav1.ConditionTrue && c.Reason != "ForeignStatus" {
				missing = fmt.Errorf("the Service %s has not been taken over by Fairlead (condition fairlead.io/Allocated: %s)", name, toldBy(c))
			}
			return nil
		})
		return missing == nil, err
	})
	if wait.Interrupted(err) && missing != nil {
		return false, fmt.Errorf("after %v: %w. Look at the log of its controller", m.Timeout, missing)
	}
	if err != nil {
		return false, err
	}
	_, err = m.heard(ctx)
	return err == nil, err
}

// heard waits until Fairlead announces what MetalLB did, and returns what it announces. If that is not all, only Force lets it pass.
func (m *Migration) heard(ctx context.Context) ([]string, error) {
	yes, err := m.awaitAnnounced(ctx, nil)
	switch {
	case !errors.Is(err, errSilent):
		return yes, err
	case m.Force:
		m.say("Going on all the same, as --force asks for: %v.", err)
		return yes, nil
	}
	return nil, fmt.Errorf("%w; %s", err, forceHint)
}

func toldBy(c *metav1.Condition) string {
	if c == nil {
		return "missing"
	}
	return c.Reason + ": " + c.Message
}

// stopOurs stops Fairlead's controller, so that MetalLB's can start.
func (m *Migration) stopOurs(ctx context.Context) error {
	d, err := m.ours(ctx)
	if err != nil || d == nil {
		return err
	}
	return m.scale(ctx, d.Name, 0)
}

// stopSpeakers stops MetalLB's speakers once Fairlead announces what they do. If something that it announced is lost with them, it starts
// them again.
func (m *Migration) stopSpeakers(ctx context.Context) error {
	before, err := m.heard(ctx)
	if err != nil {
		return err
	}
	if err := m.parkSpeakers(ctx); err != nil {
		return err
	}
	m.say("MetalLB's speakers are gone. Looking whether Fairlead still announces everything.")
	if _, err := m.awaitAnnounced(ctx, before); err != nil {
		if back := m.startSpeakers(context.WithoutCancel(ctx)); back != nil {
			return errors.Join(err, fmt.Errorf("and MetalLB's speakers could not be started again: %w", back))
		}
		return fmt.Errorf("%w; MetalLB's speakers start again", err)
	}
	return nil
}

// parkSpeakers has no pod of MetalLB's speakers on any node.
func (m *Migration) parkSpeakers(ctx context.Context) error {
	for _, name := range m.state.Speakers {
		d := &appsv1.DaemonSet{ObjectMeta: m.named(name)}
		err := m.edit(ctx, d, func() {
			if d.Spec.Template.Spec.NodeSelector == nil {
				d.Spec.Template.Spec.NodeSelector = map[string]string{}
			}
			d.Spec.Template.Spec.NodeSelector[Parked] = "true"
		})
		if err != nil {
			return fmt.Errorf("stop DaemonSet %s/%s: %w", m.Namespace, name, err)
		}
		if d.Spec.Selector == nil {
			continue
		}
		if err := m.ended(ctx, d.Spec.Selector); err != nil {
			return err
		}
	}
	return nil
}

func (m *Migration) startSpeakers(ctx context.Context) error {
	for _, name := range m.state.Speakers {
		d := &appsv1.DaemonSet{ObjectMeta: m.named(name)}
		if err := m.edit(ctx, d, func() { delete(d.Spec.Template.Spec.NodeSelector, Parked) }); err != nil {
			return fmt.Errorf("start DaemonSet %s/%s: %w", m.Namespace, name, err)
		}
	}
	return nil
}

// verify returns how many Services have exactly the addresses that they had.
func (m *Migration) verify(ctx context.Context) (int, error) {
	return m.compare(ctx, func(string, *corev1.Service) error { return nil })
}

// compare compares the addresses of Services with those of the snapshot, and calls check for each. Services that were deleted or are
// not LoadBalancers any more are passed over.
func (m *Migration) compare(ctx context.Context, check func(name string, s *corev1.Service) error) (int, error) {
	services := &corev1.ServiceList{}
	if err := m.client.List(ctx, services); err != nil {
		return 0, fmt.Errorf("list the Services of all namespaces: %w", err)
	}
	var changed []error
	n := 0
	for i := range services.Items {
		s := &services.Items[i]
		name := s.Namespace + "/" + s.Name
		had, known := m.state.Addresses[name]
		if !known || !served(s, m.state.Class) {
			continue
		}
		n++
		if has := addressesOf(s); !slices.Equal(had, has) {
			changed = append(changed, fmt.Errorf("the Service %s had %s and has %s", name, strings.Join(had, ", "), strings.Join(has, ", ")))
		}
		changed = append(changed, check(name, s))
	}
	return n, errors.Join(changed...)
}

// instruct tells the user how to install Fairlead.
func (m *Migration) instruct(ctx context.Context) error {
	other, err := m.unusualPorts(ctx)
	if err != nil {
		return err
	}
	values := "--set backend=speaker,speaker.enabled=true"
	if m.state.Class != "" {
		values += " --set loadBalancerClass=" + m.state.Class
	}
	m.say("This is for you to do. Then run this command again.")
	if m.state.Release != "" {
		m.say("  kubectl fairlead convert --release %s --namespace %s --output-dir converted", m.state.Release, m.Namespace)
		values = "--values converted/values.yaml"
	}
	m.say("  helm install %s charts/fairlead --namespace %s %s \\", m.Release, m.Namespace, values)
	m.say("    --set controller.image.repository=REGISTRY/fairlead,controller.image.tag=TAG \\")
	last := "    --set speaker.image.repository=REGISTRY/fairlead,speaker.image.tag=TAG"
	if other != "" {
		last += " \\\n    --set " + other
	}
	m.say("%s", last)
	if other != "" {
		m.say("The last line is for speakers: DaemonSets that run now have the usual ports of the nodes, MetalLB's among them.")
	}
	m.say("To have Calico or Cilium advertise instead, add --backend calico to convert, or --set backend=calico,speaker.enabled=false here.")
	return nil
}

// finished tells what is left of MetalLB, and how not to remove it.
func (m *Migration) finished(ctx context.Context) error {
	usual, err := m.usualPorts(ctx)
	if err != nil {
		return err
	}
	m.say("\nFairlead is in charge. MetalLB assigns and announces nothing any more; going back is possible as long as its objects are there (--back).")
	m.say("To remove them:")
	m.sayRemains(ctx)
	if m.state.Release != "" {
		m.say("  kubectl -n %s delete secret -l owner=helm,name=%s", m.Namespace, m.state.Release)
		m.say("Do NOT run 'helm uninstall %s': it would delete the CRDs, and with them all pools and advertisements.", m.state.Release)
	}
	m.say("  kubectl -n %s delete configmap/%s", m.Namespace, StateName)
	if usual != "" {
		m.say("Then Fairlead's speakers can have the usual ports:")
		m.say("  helm upgrade %s charts/fairlead --namespace %s --reset-then-reuse-values --set %s", m.Release, m.Namespace, usual)
	}
	return nil
}
