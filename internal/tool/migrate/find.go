package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config/ranges"
)

// found is what there is of MetalLB.
type found struct {
	controller *appsv1.Deployment
	speakers   []appsv1.DaemonSet
	release    string // of Helm
	version    string
	class      string
	crds       []apiextensionsv1.CustomResourceDefinition
	webhook    *admissionregistrationv1.ValidatingWebhookConfiguration
	addresses  map[string][]string // by Service
	told       []string            // Services that its speakers tell they announce
	writers    map[string]int      // field managers, and how many statuses they wrote
	pending    int
	unowned    []string // Services whose addresses are in no pool
}

// MetalLB's own objects. Its manifests use the labels app and component, its chart those of Kubernetes.
const (
	fromPool    = "metallb.io/ip-allocated-from-pool"
	webhookName = "metallb-webhook-configuration"
)

// part reports whether an object is a part of MetalLB: its controller, or what announces.
func part(o client.Object) string {
	l := o.GetLabels()
	switch {
	case l["app"] == "metallb":
		return l["component"]
	case l["app.kubernetes.io/name"] == "metallb":
		return l["app.kubernetes.io/component"]
	case l["app.kubernetes.io/name"] == "frr-k8s" || l["app"] == "frr-k8s":
		return "speaker" // it holds the sessions that MetalLB's speakers ask for
	}
	return ""
}

// find looks at the cluster, and refuses what cannot be changed over.
func (m *Migration) find(ctx context.Context) (*found, error) {
	f := &found{}
	if err := m.findWorkloads(ctx, f); err != nil {
		return nil, err
	}
	if err := m.findCRDs(ctx, f); err != nil {
		return nil, err
	}
	hook := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	switch err := m.client.Get(ctx, client.ObjectKey{Name: webhookName}, hook); {
	case err == nil:
		hook.ObjectMeta = metav1.ObjectMeta{Name: hook.Name, Labels: hook.Labels, Annotations: hook.Annotations}
		f.webhook = hook
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("look for MetalLB's webhook: %w", err)
	}
	all, err := releases(ctx, m.client, m.Namespace, nil)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.Chart.Metadata.Name == "metallb" {
			f.release, f.version = r.Name, r.Chart.Metadata.Version
		}
	}
	if f.told, err = m.told(ctx); err != nil {
		return nil, err
	}
	return f, m.findServices(ctx, f)
}

func (m *Migration) findWorkloads(ctx context.Context, f *found) error {
	deployments := &appsv1.DeploymentList{}
	if err := m.client.List(ctx, deployments, client.InNamespace(m.Namespace)); err != nil {
		return fmt.Errorf("look for MetalLB's controller: %w", err)
	}
	for i := range deployments.Items {
		if d := &deployments.Items[i]; part(d) == "controller" {
			f.controller = d
		}
	}
	if f.controller == nil {
		return fmt.Errorf("namespace %q has no MetalLB: no Deployment there has the labels of its controller. Name its namespace by --namespace",
			m.Namespace)
	}
	if owner := metav1.GetControllerOf(f.controller); owner != nil {
		return fmt.Errorf("the Deployment %s/%s belongs to %s %q, which would start again what is stopped here: stop its operator first, and take the owner references away", m.Namespace, f.controller.Name, owner.Kind, owner.Name)
	}
	for _, c := range f.controller.Spec.Template.Spec.Containers {
		for _, a := range c.Args {
			if class, ok := strings.CutPrefix(a, "--lb-class="); ok {
				f.class = class
			}
		}
	}
	sets := &appsv1.DaemonSetList{}
	if err := m.client.List(ctx, sets, client.InNamespace(m.Namespace)); err != nil {
		return fmt.Errorf("look for MetalLB's speakers: %w", err)
	}
	for _, d := range sets.Items {
		if part(&d) == "speaker" {
			f.speakers = append(f.speakers, d)
		}
	}
	return nil
}

func (m *Migration) findCRDs(ctx context.Context, f *found) error {
	all := &apiextensionsv1.CustomResourceDefinitionList{}
	if err := m.client.List(ctx, all); err != nil {
		return fmt.Errorf("look for MetalLB's CRDs: %w", err)
	}
	served := map[string]bool{}
	for _, crd := range all.Items {
		if crd.Spec.Group != "metallb.io" {
			continue
		}
		for _, v := range crd.Spec.Versions {
			served[crd.Name+" "+v.Name] = v.Served
		}
		if crd.Name == "addresspools.metallb.io" {
			old := &metav1.PartialObjectMetadataList{}
			old.SetGroupVersionKind(v1beta1.GroupVersion.WithKind("AddressPoolList"))
			if err := m.client.List(ctx, old); err != nil && !meta.IsNoMatchError(err) {
				return fmt.Errorf("look for AddressPools: %w", err)
			}
			if n := len(old.Items); n > 0 {
				return fmt.Errorf("there are %d AddressPools, such as %s/%s: MetalLB 0.14 dropped this kind. Make IPAddressPools and advertisements of them first "+
					"(kubectl fairlead convert)",
					n, old.Items[0].Namespace, old.Items[0].Name)
			}
			continue
		}
		f.crds = append(f.crds, crd)
	}
	for _, need := range []string{"ipaddresspools.metallb.io v1beta1", "bgppeers.metallb.io v1beta2", "bgpadvertisements.metallb.io v1beta1",
		"l2advertisements.metallb.io v1beta1"} {
		if !served[need] {
			return fmt.Errorf("the CRD %s is not served: this MetalLB is older than 0.13.2. Upgrade it first, or convert its ConfigMap (kubectl fairlead convert)", need)
		}
	}
	return nil
}

func (m *Migration) findServices(ctx context.Context, f *found) error {
	pools := &v1beta1.IPAddressPoolList{}
	if err := m.client.List(ctx, pools, client.InNamespace(m.Namespace)); err != nil {
		return fmt.Errorf("read the IPAddressPools: %w", err)
	}
	var b netipx.IPSetBuilder
	for _, p := range pools.Items {
		for _, a := range p.Spec.Addresses {
			r, err := ranges.Parse(a)
			if err != nil {
				return fmt.Errorf("IPAddressPool %s/%s spec.addresses: %w", p.Namespace, p.Name, err)
			}
			b.AddRange(r)
		}
	}
	inPools, err := b.IPSet()
	if err != nil {
		return err
	}
	services := &corev1.ServiceList{}
	if err := m.client.List(ctx, services); err != nil {
		return fmt.Errorf("list the Services of all namespaces: %w", err)
	}
	f.addresses, f.writers = map[string][]string{}, map[string]int{}
	var lost []error
	for i := range services.Items {
		s := &services.Items[i]
		if !served(s, f.class) {
			continue
		}
		name, addrs := s.Namespace+"/"+s.Name, addressesOf(s)
		if len(addrs) == 0 {
			f.pending++
			continue
		}
		outside := slices.ContainsFunc(addrs, func(a string) bool {
			x, err := netip.ParseAddr(a)
			return err != nil || !inPools.Contains(x)
		})
		if _, ours := s.Annotations[fromPool]; outside && ours {
			lost = append(lost, fmt.Errorf("the Service %s has %s, which is in no IPAddressPool of namespace %s: add it to one first, or it would get another address",
				name, strings.Join(addrs, ", "), m.Namespace))
			continue
		} else if outside {
			f.unowned = append(f.unowned, name)
		}
		f.addresses[name] = addrs
		for _, w := range writersOf(s) {
			f.writers[w]++
		}
	}
	return errors.Join(lost...)
}

// served reports whether MetalLB serves a Service.
func served(s *corev1.Service, class string) bool {
	is := ""
	if s.Spec.LoadBalancerClass != nil {
		is = *s.Spec.LoadBalancerClass
	}
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && is == class
}

// addressesOf returns the addresses of a Service, sorted.
func addressesOf(s *corev1.Service) (out []string) {
	for _, i := range s.Status.LoadBalancer.Ingress {
		out = append(out, i.IP)
	}
	slices.Sort(out)
	return out
}

// writersOf returns the field managers that wrote the addresses of a Service.
func writersOf(s *corev1.Service) (out []string) {
	for _, e := range s.ManagedFields {
		if e.Subresource == "status" && e.FieldsV1 != nil && strings.Contains(e.FieldsV1.GetRawString(), `"f:ingress"`) {
			out = append(out, e.Manager)
		}
	}
	return out
}

// show tells what was found and what will be done.
func (m *Migration) show(f *found) {
	m.say("Found:")
	if f.release != "" {
		m.say("  Helm release %s of MetalLB %s", f.release, f.version)
	}
	m.say("  Deployment %s", f.controller.Name)
	for _, d := range f.speakers {
		m.say("  DaemonSet %s", d.Name)
	}
	m.say("  %d CRDs of metallb.io", len(f.crds))
	if f.webhook != nil {
		m.say("  ValidatingWebhookConfiguration %s", f.webhook.Name)
	}
	m.say("  %s with addresses, %d without", services(len(f.addresses)), f.pending)
	for _, w := range slices.Sorted(maps.Keys(f.writers)) {
		m.say("    %d of the addresses were written by field manager %q", f.writers[w], w)
	}
	for _, s := range f.unowned {
		m.say("    %s has addresses that are in no pool and were not given by MetalLB: they are left alone", s)
	}
	m.say("Plan:")
	for i, s := range steps {
		m.say("  %d. %s", i+1, s.what)
	}
	m.say("After each step, the addresses of all Services are compared with what they are now. MetalLB's speakers are stopped only when Fairlead")
	m.say("announces what they do, and started again if anything is lost with them. --back undoes everything.")
}
