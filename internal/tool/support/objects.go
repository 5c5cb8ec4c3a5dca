package support

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// list is all objects of a resource that are taken.
type list struct {
	schema.GroupVersionResource
	items   []unstructured.Unstructured
	foreign bool
}

// own are the groups of our kinds.
var own = []string{"metallb.io", "fairlead.io"}

// foreign are the resources of others that backends and allocators write or look at, by group.
var foreign = map[string][]string{
	"projectcalico.org":     calico,
	"crd.projectcalico.org": calico,
	"cilium.io": {
		"ciliumbgpadvertisements", "ciliumbgppeerconfigs", "ciliumbgpclusterconfigs", "ciliumbgpnodeconfigs", "ciliuml2announcementpolicies",
		"ciliumloadbalancerippools",
	},
	clusterapi.Group: {"ipaddressclaims"},
}

var calico = []string{"bgpconfigurations", "bgppeers", "bgpfilters", "ippools", "clusterinformations", "kubecontrollersconfigurations", "caliconodestatuses"}

var (
	services    = corev1.SchemeGroupVersion.WithResource("services")
	events      = corev1.SchemeGroupVersion.WithResource("events")
	nodes       = corev1.SchemeGroupVersion.WithResource("nodes")
	pods        = corev1.SchemeGroupVersion.WithResource("pods")
	slicesOf    = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	daemonsets  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	leases      = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
)

// chart selects what the chart has made.
const chart = "app.kubernetes.io/name=fairlead"

// lists reads all objects, trims them, and masks the passwords in them.
func (b *bundle) lists(ctx context.Context) []*list {
	var out []*list
	read := func(r schema.GroupVersionResource, namespace string, o metav1.ListOptions) *list {
		l := &list{GroupVersionResource: r, items: b.read(ctx, r, namespace, o)}
		out = append(out, l)
		return l
	}
	for _, x := range b.kinds() {
		namespace := ""
		if x.namespaced && !x.foreign {
			namespace = b.Options.Namespace
		}
		read(x.GroupVersionResource, namespace, metav1.ListOptions{}).foreign = x.foreign
	}
	balanced := read(services, "", metav1.ListOptions{})
	balanced.keep(func(u *unstructured.Unstructured) bool {
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
		return kind == string(corev1.ServiceTypeLoadBalancer)
	})
	ours := map[types.NamespacedName]bool{}
	for _, u := range balanced.items {
		ours[types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()}] = true
	}
	read(slicesOf, "", metav1.ListOptions{}).keep(func(u *unstructured.Unstructured) bool {
		return ours[types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetLabels()[discoveryv1.LabelServiceName]}]
	})
	for _, u := range read(nodes, "", metav1.ListOptions{}).items {
		trimNode(&u)
	}
	for _, r := range []schema.GroupVersionResource{deployments, daemonsets, pods} {
		for _, u := range read(r, b.Options.Namespace, metav1.ListOptions{LabelSelector: chart}).items {
			trimPods(&u)
		}
	}
	read(leases, b.Options.Namespace, metav1.ListOptions{})
	read(events, "", metav1.ListOptions{}).keep(func(u *unstructured.Unstructured) bool { return b.concerns(u, ours) })
	for _, l := range out {
		for i := range l.items {
			b.take(&l.items[i], l.foreign)
		}
	}
	return out
}

// concerns reports whether an event is of an object that is taken.
func (b *bundle) concerns(event *unstructured.Unstructured, ours map[types.NamespacedName]bool) bool {
	about := func(field string) string {
		s, _, _ := unstructured.NestedString(event.Object, "involvedObject", field)
		return s
	}
	group, _, _ := strings.Cut(about("apiVersion"), "/")
	_, others := foreign[group]
	return event.GetNamespace() == b.Options.Namespace || slices.Contains(own, group) || others || about("kind") == "Node" ||
		about("kind") == "Service" && ours[types.NamespacedName{Namespace: about("namespace"), Name: about("name")}]
}

// kind is a resource to be read.
type kind struct {
	schema.GroupVersionResource
	namespaced, foreign bool
}

// kinds returns our resources and those of others that the API server has, each in the version that it prefers.
func (b *bundle) kinds() []kind {
	all, err := discovery.ServerPreferredResources(b.Discovery)
	if err != nil && len(all) == 0 {
		b.miss("the kinds of the API server", err)
		return nil
	}
	// A group that another server serves is not known while that one does not answer.
	failed, _ := discovery.GroupDiscoveryFailedErrorGroups(err)
	unknown := false // whether our kinds are there
	for _, gv := range slices.SortedFunc(maps.Keys(failed), func(x, y schema.GroupVersion) int { return strings.Compare(x.String(), y.String()) }) {
		if _, others := foreign[gv.Group]; others || slices.Contains(own, gv.Group) {
			b.miss("the kinds of group "+gv.String(), failed[gv])
		}
		unknown = unknown || gv.Group == own[0]
	}
	var out []kind
	for _, group := range all {
		gv, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			continue // the API server does not know it either
		}
		for _, r := range group.APIResources {
			ours, others := slices.Contains(own, gv.Group), slices.Contains(foreign[gv.Group], r.Name)
			if (ours || others) && slices.Contains(r.Verbs, "list") {
				out = append(out, kind{gv.WithResource(r.Name), r.Namespaced, others})
			}
		}
	}
	if !unknown && !slices.ContainsFunc(out, func(k kind) bool { return k.Group == own[0] }) {
		b.Missing = append(b.Missing, Missing{"our kinds", survey.ErrNotInstalled.Error()})
	}
	slices.SortFunc(out, func(x, y kind) int { return strings.Compare(x.GroupResource().String(), y.GroupResource().String()) })
	return out
}

// page is how many objects are asked for at once.
const page = 500

// read reads the objects of a resource in a namespace, or in all.
func (b *bundle) read(ctx context.Context, r schema.GroupVersionResource, namespace string, o metav1.ListOptions) []unstructured.Unstructured {
	what := r.GroupResource().String()
	b.Progress(what)
	out := []unstructured.Unstructured{}
	o.Limit = page
	for {
		reqCtx, cancel := cli.Within(ctx, b.Patience)
		got, err := b.Dynamic.Resource(r).Namespace(namespace).List(reqCtx, o)
		cancel()
		if err != nil {
			b.miss(what, err)
			return out
		}
		out = append(out, got.Items...)
		if o.Continue = got.GetContinue(); o.Continue == "" {
			return out
		}
	}
}

// keep drops all objects but some.
func (l *list) keep(some func(*unstructured.Unstructured) bool) {
	l.items = slices.DeleteFunc(l.items, func(u unstructured.Unstructured) bool { return !some(&u) })
}

// trimNode drops what has nothing to do with addresses, and the annotations of others than the CNIs: a distribution may keep the arguments
// of its agents there.
func trimNode(u *unstructured.Unstructured) {
	for _, field := range []string{"images", "volumesInUse", "volumesAttached", "allocatable", "capacity", "runtimeHandlers", "config"} {
		unstructured.RemoveNestedField(u.Object, "status", field)
	}
	notes := u.GetAnnotations()
	for key := range notes {
		domain, _, _ := strings.Cut(key, "/")
		if !slices.ContainsFunc([]string{"projectcalico.org", "cilium.io", "metallb.io", "fairlead.io"}, func(d string) bool {
			return domain == d || strings.HasSuffix(domain, "."+d)
		}) {
			delete(notes, key)
		}
	}
	u.SetAnnotations(notes)
}

// trimPods drops the volumes of pods, and of what makes pods: they name Secrets, and tell nothing else.
func trimPods(u *unstructured.Unstructured) {
	for _, spec := range [][]string{{"spec"}, {"spec", "template", "spec"}} {
		unstructured.RemoveNestedField(u.Object, append(spec, "volumes")...)
		for _, kind := range []string{"containers", "initContainers"} {
			path := append(slices.Clone(spec), kind)
			containers, found, err := unstructured.NestedSlice(u.Object, path...)
			if !found || err != nil {
				continue
			}
			for _, c := range containers {
				if fields, ok := c.(map[string]any); ok {
					delete(fields, "volumeMounts")
				}
			}
			if err := unstructured.SetNestedSlice(u.Object, containers, path...); err != nil {
				panic(err) // it was one
			}
		}
	}
}

// addLists adds the objects, a file for each resource that has any.
func (b *bundle) addLists(lists []*list) error {
	for _, l := range lists {
		if len(l.items) == 0 {
			continue
		}
		items := make([]any, len(l.items))
		for i := range l.items {
			items[i] = b.strings(l.items[i].Object)
		}
		text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
		if err != nil {
			return fmt.Errorf("write %s of the archive: %w", l.GroupResource(), err)
		}
		if err := b.add("objects/"+l.GroupResource().String()+".yaml", len(items), text); err != nil {
			return err
		}
	}
	return nil
}
