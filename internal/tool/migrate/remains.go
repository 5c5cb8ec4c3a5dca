package migrate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kind is one that MetalLB's charts and manifests have objects of.
type kind struct {
	schema.GroupVersionKind
	resource string // as kubectl takes it
	cluster  bool
	// unlabelled are the names of those that carry no label of MetalLB: the charts and manifests of 0.13.12, 0.14.9, 0.15.3 and 0.16.1.
	unlabelled []string
	// byName is set if labels do not tell: users put them on objects of this kind, too.
	byName bool
}

func kindOf(group, version, name, resource string) kind {
	return kind{GroupVersionKind: schema.GroupVersionKind{Group: group, Version: version, Kind: name}, resource: resource}
}

func (k kind) named(names ...string) kind {
	k.unlabelled = names
	return k
}

func (k kind) only() kind {
	k.byName = true
	return k
}

func (k kind) everywhere() kind {
	k.cluster = true
	return k
}

// The kinds in the order in which their objects are removed: first what would refuse changes, then what runs, last what it needs.
// Roles and ClusterRoles come after the bindings, which tell whose they are.
const (
	monitoring = "monitoring.coreos.com"
	rbac       = "rbac.authorization.k8s.io"
	frrk8s     = "frrk8s.metallb.io"
)

var kinds = []kind{
	kindOf("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfiguration").everywhere(),
	kindOf("apps", "v1", "Deployment", "deployment"),
	kindOf("apps", "v1", "DaemonSet", "daemonset"),
	kindOf("", "v1", "Service", "service").named("webhook-service", "metallb-webhook-service", "frr-k8s-webhook-service",
		"frr-k8s-metrics-service",
		"controller-monitor-service", "speaker-monitor-service"),
	kindOf(monitoring, "v1", "ServiceMonitor", "servicemonitors.monitoring.coreos.com").named("controller-monitor", "speaker-monitor",
		"frr-k8s-metrics-monitor"),
	kindOf(monitoring, "v1", "PodMonitor", "podmonitors.monitoring.coreos.com"),
	kindOf(monitoring, "v1", "PrometheusRule", "prometheusrules.monitoring.coreos.com"),
	kindOf("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicy"),
	kindOf("", "v1", "ConfigMap", "configmap").named("metallb-excludel2", "frr-startup", "frr-k8s-frr-startup").only(),
	kindOf("", "v1", "Secret", "secret").named("webhook-server-cert", "metallb-webhook-cert", "frr-k8s-webhook-server-cert").only(),
	kindOf("", "v1", "ServiceAccount", "serviceaccount").named("frr-k8s-daemon"),
	kindOf(rbac, "v1", "RoleBinding", "rolebinding"),
	kindOf(rbac, "v1", "Role", "role"),
	kindOf(rbac, "v1", "ClusterRoleBinding", "clusterrolebinding").everywhere(),
	kindOf(rbac, "v1", "ClusterRole", "clusterrole").named("frr-k8s-metrics-reader").everywhere(),
	kindOf("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinition").everywhere(),
}

// remains are what is left of MetalLB in the cluster.
type remains struct {
	*Migration
	objects map[string][]*unstructured.Unstructured // by resource
	used    map[string]string                       // what others use, as resource/name, and who
	kept    []string
	unseen  []string // kinds that may not be listed
}

// remains looks for them. What it may not list, it remembers.
func (m *Migration) remains(ctx context.Context) *remains {
	r := &remains{Migration: m, objects: map[string][]*unstructured.Unstructured{}, used: map[string]string{}}
	r.findUsers(ctx)
	for _, k := range kinds {
		for _, o := range r.list(ctx, k.GroupVersionKind, k.cluster) {
			if !r.of(k, o) {
				continue
			}
			if user := r.used[k.resource+"/"+o.GetName()]; user != "" {
				r.kept = append(r.kept, fmt.Sprintf("%s/%s, which %s uses", k.resource, o.GetName(), user))
				continue
			}
			r.objects[k.resource] = append(r.objects[k.resource], o)
		}
	}
	r.keepShared(ctx)
	return r
}

func (r *remains) list(ctx context.Context, gvk schema.GroupVersionKind, cluster bool) []*unstructured.Unstructured {
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(gvk)
	var in []client.ListOption
	if !cluster {
		in = append(in, client.InNamespace(r.Namespace))
	}
	if err := r.client.List(ctx, all, in...); err != nil {
		if !meta.IsNoMatchError(err) {
			r.unseen = append(r.unseen, fmt.Sprintf("%s: %v", gvk.Kind, err))
		}
		return nil
	}
	out := make([]*unstructured.Unstructured, len(all.Items))
	for i := range all.Items {
		out[i] = &all.Items[i]
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}

// isMetalLB reports whether the labels of MetalLB's chart, of its manifests or of FRR-K8s are on an object.
func isMetalLB(labels map[string]string) bool {
	for _, key := range []string{"app.kubernetes.io/name", "app"} {
		if v := labels[key]; v == "metallb" || v == "frr-k8s" {
			return true
		}
	}
	return false
}

// isCharts reports whether the labels are those that the charts of MetalLB and FRR-K8s give their objects.
func isCharts(labels map[string]string) bool {
	chart := labels["helm.sh/chart"]
	return strings.HasPrefix(chart, "metallb-") || strings.HasPrefix(chart, "frr-k8s-")
}

// of reports whether an object is MetalLB's, and that of this installation.
func (r *remains) of(k kind, o *unstructured.Unstructured) bool {
	labels, notes := o.GetLabels(), o.GetAnnotations()
	owned := notes[helmRelease] != ""
	mine := owned && r.state.Release != "" && notes[helmRelease] == r.state.Release && notes[helmNamespace] == r.Namespace
	switch {
	case labels["app.kubernetes.io/name"] == "fairlead", owned && notes[helmRelease] == r.Release && notes[helmNamespace] == r.Namespace &&
		!mine:
		return false
	case k.Kind == "CustomResourceDefinition":
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		return group == frrk8s && len(r.objects["daemonset"]) > 0 && slices.ContainsFunc(r.objects["daemonset"], isFRR)
	case mine:
		return true
	case k.byName:
		return slices.Contains(k.unlabelled, o.GetName()) || isMetalLB(labels) && isCharts(labels)
	case k.cluster:
		return r.concerns(k, o)
	case isMetalLB(labels), slices.Contains(k.unlabelled, o.GetName()):
		return true
	}
	switch k.Kind {
	case "NetworkPolicy":
		selected, _, _ := unstructured.NestedStringMap(o.Object, "spec", "podSelector", "matchLabels")
		return isMetalLB(selected)
	case "RoleBinding":
		return r.binds(o)
	case "Role":
		return looksLikeMetalLB(o) && r.isBound(o)
	}
	return false
}

// concerns reports whether an object of the cluster has to do with this installation: it calls or binds what is in its namespace.
func (r *remains) concerns(k kind, o *unstructured.Unstructured) bool {
	switch k.Kind {
	case "ValidatingWebhookConfiguration":
		hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
		for _, h := range hooks {
			at, _, _ := unstructured.NestedString(h.(map[string]any), "clientConfig", "service", "namespace")
			if at != r.Namespace {
				return false
			}
		}
		return len(hooks) > 0 && looksLikeMetalLB(o)
	case "ClusterRoleBinding":
		return looksLikeMetalLB(o) && r.binds(o)
	case "ClusterRole":
		return looksLikeMetalLB(o) && r.isBound(o) || slices.Contains(k.unlabelled, o.GetName()) &&
			slices.ContainsFunc(r.objects["daemonset"], isFRR)
	}
	return false
}

func looksLikeMetalLB(o *unstructured.Unstructured) bool {
	return isMetalLB(o.GetLabels()) || strings.Contains(o.GetName(), "metallb") || strings.Contains(o.GetName(), "frr-k8s")
}

func isFRR(o *unstructured.Unstructured) bool {
	return o.GetLabels()["app.kubernetes.io/name"] == "frr-k8s" || o.GetLabels()["app"] == "frr-k8s"
}

// binds reports whether a binding gives rights to MetalLB's ServiceAccounts, and to nobody else.
func (r *remains) binds(o *unstructured.Unstructured) bool {
	subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
	for _, s := range subjects {
		s := s.(map[string]any)
		if s["kind"] != "ServiceAccount" || s["namespace"] != r.Namespace ||
			!slices.ContainsFunc(r.objects["serviceaccount"], func(a *unstructured.Unstructured) bool { return a.GetName() == s["name"] }) {
			return false
		}
	}
	return len(subjects) > 0
}

// isBound reports whether one of MetalLB's bindings refers to a Role or ClusterRole.
func (r *remains) isBound(role *unstructured.Unstructured) bool {
	for _, b := range append(slices.Clone(r.objects["rolebinding"]), r.objects["clusterrolebinding"]...) {
		if refers(b, role) {
			return true
		}
	}
	return false
}

func refers(binding, role *unstructured.Unstructured) bool {
	ref, _, _ := unstructured.NestedStringMap(binding.Object, "roleRef")
	return ref["kind"] == role.GetKind() && ref["name"] == role.GetName()
}

// findUsers remembers which Secrets, ConfigMaps and ServiceAccounts of the namespace somebody else than MetalLB needs: pods of others, the
// webhook of Fairlead, and BGPPeers.
func (r *remains) findUsers(ctx context.Context) {
	for _, k := range []string{"Deployment", "DaemonSet", "StatefulSet"} {
		for _, o := range r.list(ctx, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: k}, false) {
			if isMetalLB(o.GetLabels()) {
				continue
			}
			pod, _, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
			r.usedBy(strings.ToLower(k)+"/"+o.GetName(), pod)
		}
	}
	for _, o := range r.list(ctx, schema.GroupVersionKind{Group: "metallb.io", Version: "v1beta2", Kind: "BGPPeer"}, false) {
		if name, _, _ := unstructured.NestedString(o.Object, "spec", "passwordSecret", "name"); name != "" {
			r.used["secret/"+name] = "bgppeer/" + o.GetName()
		}
	}
}

// usedBy looks through the spec of a pod for what it needs.
func (r *remains) usedBy(user string, in any) {
	switch x := in.(type) {
	case []any:
		for _, e := range x {
			r.usedBy(user, e)
		}
	case string:
		if x == "--webhook=enabled" {
			r.used["secret/metallb-webhook-cert"], r.used["service/metallb-webhook-service"] = user, user
		}
	case map[string]any:
		for key, value := range x {
			resource, field := "", "name"
			switch key {
			case "secret":
				resource, field = "secret", "secretName"
			case "secretKeyRef", "secretRef":
				resource = "secret"
			case "configMap", "configMapKeyRef", "configMapRef":
				resource = "configmap"
			case "serviceAccountName":
				r.used[fmt.Sprintf("serviceaccount/%v", value)] = user
			}
			if ref, ok := value.(map[string]any); ok && resource != "" {
				name := ref[field]
				if name == nil {
					name = ref["name"] // of a projected volume
				}
				r.used[fmt.Sprintf("%s/%v", resource, name)] = user
			}
			r.usedBy(user, value)
		}
	}
}

// keepShared takes back what another installation needs, too: the CRDs of an FRR-K8s in another namespace, and ClusterRoles that others
// are bound to.
func (r *remains) keepShared(ctx context.Context) {
	const crds, roles = "customresourcedefinition", "clusterrole"
	if len(r.objects[crds]) > 0 {
		for _, o := range r.list(ctx, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"}, true) {
			if isFRR(o) && o.GetNamespace() != r.Namespace {
				r.kept = append(r.kept, fmt.Sprintf("the CRDs of %s, which the FRR-K8s in namespace %s uses", frrk8s, o.GetNamespace()))
				delete(r.objects, crds)
				break
			}
		}
	}
	if len(r.objects[roles]) == 0 {
		return
	}
	ours := map[types.UID]bool{}
	for _, b := range append(slices.Clone(r.objects["rolebinding"]), r.objects["clusterrolebinding"]...) {
		ours[b.GetUID()] = true
	}
	for _, k := range []string{"RoleBinding", "ClusterRoleBinding"} {
		for _, b := range r.list(ctx, schema.GroupVersionKind{Group: rbac, Version: "v1", Kind: k}, true) {
			if ours[b.GetUID()] {
				continue
			}
			r.objects[roles] = slices.DeleteFunc(r.objects[roles], func(role *unstructured.Unstructured) bool {
				if !refers(b, role) {
					return false
				}
				r.kept = append(r.kept, fmt.Sprintf("clusterrole/%s, which %s %s uses", role.GetName(), k, client.ObjectKeyFromObject(b)))
				return true
			})
		}
	}
}

// commands returns the lines that remove what is left, in this order.
func (r *remains) commands(ctx context.Context) (out []string) {
	for _, o := range r.orphans(ctx) {
		out = append(out, fmt.Sprintf(`kubectl -n %s patch secret/%s --type=merge -p '{"metadata":{"ownerReferences":null}}'`, r.Namespace, o))
	}
	for _, k := range kinds {
		names := ""
		for _, o := range r.objects[k.resource] {
			names += " " + k.resource + "/" + o.GetName()
		}
		if names == "" {
			continue
		}
		at := " -n " + r.Namespace
		if k.cluster {
			at = ""
		}
		out = append(out, fmt.Sprintf("kubectl%s delete%s", at, names))
	}
	return out
}

// orphans returns the names of the Secrets that would go with MetalLB's controller, which made them, although Fairlead uses them.
func (r *remains) orphans(ctx context.Context) (out []string) {
	for _, s := range r.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, false) {
		if r.used["secret/"+s.GetName()] == "" {
			continue
		}
		if slices.ContainsFunc(s.GetOwnerReferences(), func(ref metav1.OwnerReference) bool {
			return slices.ContainsFunc(r.objects["deployment"], func(d *unstructured.Unstructured) bool { return d.GetUID() == ref.UID })
		}) {
			out = append(out, s.GetName())
		}
	}
	return out
}

// keepers returns who would make the objects again: Flux and Argo CD mark what they apply.
func (r *remains) keepers() (out []string) {
	for _, k := range kinds {
		for _, o := range r.objects[k.resource] {
			l, a := o.GetLabels(), o.GetAnnotations()
			who := ""
			if name := l["helm.toolkit.fluxcd.io/name"]; name != "" {
				who = fmt.Sprintf("Flux' HelmRelease %s/%s", l["helm.toolkit.fluxcd.io/namespace"], name)
			} else if name := l["kustomize.toolkit.fluxcd.io/name"]; name != "" {
				who = fmt.Sprintf("Flux' Kustomization %s/%s", l["kustomize.toolkit.fluxcd.io/namespace"], name)
			} else if id := a["argocd.argoproj.io/tracking-id"]; id != "" {
				app, _, _ := strings.Cut(id, ":")
				who = fmt.Sprintf("Argo CD's Application %s", app)
			} else if app := l["argocd.argoproj.io/instance"]; app != "" {
				who = fmt.Sprintf("Argo CD's Application %s", app)
			}
			if who != "" && !slices.Contains(out, who) {
				out = append(out, who)
			}
		}
	}
	return out
}

// sayRemains tells how to remove what is left of MetalLB.
func (m *Migration) sayRemains(ctx context.Context) {
	r := m.remains(ctx)
	for _, who := range r.keepers() {
		m.say("These objects belong to %s. Take MetalLB out of git first, without deleting anything: docs/migrate-gitops.md.", who)
	}
	for _, c := range r.commands(ctx) {
		m.say("  %s", c)
	}
	for _, k := range r.kept {
		m.say("Not removed: %s.", k)
	}
	for _, u := range r.unseen {
		m.say("Not looked for: %s", u)
	}
}
