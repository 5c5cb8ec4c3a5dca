package handover

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Source is a load balancer that Services are taken over from.
type Source struct {
	// Name is how users call it.
	Name string
	// Finalizers are those that it leaves on Services.
	Finalizers []string

	wrote   func(*survey.Survey, *corev1.Service) bool
	asked   func(*corev1.Service) []netip.Addr
	running func(context.Context, client.Reader) ([]Running, error)
	advice  []string // how to stop it, beside the commands
}

// Running is a part of the other load balancer that is not stopped.
type Running struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Stop is the command that stops it; empty if no command does.
	Stop string `json:"stop,omitempty"`
}

// cleanup is the finalizer that the service controller of every cloud provider puts on a Service, those of k3s and kube-vip included. Once
// the controller is gone, a Service that has it cannot be deleted.
const cleanup = "service.kubernetes.io/load-balancer-cleanup"

var ofServiceLB = []string{cleanup, "svccontroller.k3s.cattle.io/daemonset", "svccontroller.rke2.cattle.io/daemonset"}

// ServiceLB is the load balancer of k3s and RKE2, which writes the addresses of nodes (k3s: pkg/cloudprovider/servicelb.go).
var ServiceLB = &Source{
	Name:       "servicelb",
	Finalizers: ofServiceLB,
	wrote:      wroteServiceLB,
	asked:      func(*corev1.Service) []netip.Addr { return nil },
	running:    runningServiceLB,
	advice: []string{
		"On every server of k3s, put this into /etc/rancher/k3s/config.yaml, or start it with --disable=servicelb, and restart it:",
		"  disable: [servicelb]",
		"It removes its DaemonSets itself then. One that is only deleted, it makes again.",
	},
}

// KubeVIP announces what its cloud provider, or a user, has put into spec.loadBalancerIP or its annotation.
var KubeVIP = &Source{
	Name: "kube-vip", Finalizers: []string{cleanup}, wrote: wroteKubeVIP, asked: askedKubeVIP, running: runningKubeVIP,
	advice: []string{"With svc_enable=false, kube-vip goes on with the address of the control plane, and leaves Services alone."},
}

// writers returns the field managers apart from us that wrote the addresses of a Service.
func writers(svc *corev1.Service) []string {
	out := []string{}
	for _, e := range svc.ManagedFields {
		if e.Subresource == "status" && e.Manager != service.FieldManager && e.FieldsV1 != nil &&
			strings.Contains(e.FieldsV1.GetRawString(), `"f:ingress"`) {
			out = append(out, e.Manager)
		}
	}
	return out
}

// isPart reports whether an object is one of servicelb's: named after the Service by labels, or by its name in old versions.
func isPart(o client.Object) bool {
	for key := range o.GetLabels() {
		if strings.HasPrefix(key, "svccontroller.") && strings.HasSuffix(key, ".cattle.io/svcname") {
			return true
		}
	}
	return strings.HasPrefix(o.GetName(), "svclb-")
}

func wroteServiceLB(s *survey.Survey, svc *corev1.Service) bool {
	if wroteKubeVIP(s, svc) {
		return false
	}
	by, shown := writers(svc), service.ShownAddresses(svc)
	if slices.ContainsFunc(by, func(w string) bool {
		return w == "k3s" || w == "rke2" || strings.HasPrefix(w, "k3s-") || strings.Contains(w, "servicelb") || strings.Contains(w, "klipper")
	}) {
		return true
	}
	finalized := slices.ContainsFunc(svc.Finalizers, func(f string) bool { return slices.Contains(ofServiceLB, f) })
	if finalized && len(by) == 0 {
		return true // what it has written is gone, or Fairlead has replaced it; the finalizer is left
	}
	if len(by) == 0 || len(shown) == 0 {
		return false
	}
	var nodes []netip.Addr
	for i := range s.Nodes {
		nodes = append(nodes, service.NodeAddressesOf(&s.Nodes[i])...)
	}
	return !slices.ContainsFunc(shown, func(a netip.Addr) bool { return !slices.Contains(nodes, a) })
}

func runningServiceLB(ctx context.Context, c client.Reader) (out []Running, err error) {
	sets, pods := &appsv1.DaemonSetList{}, &metav1.PartialObjectMetadataList{}
	pods.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	if err := c.List(ctx, sets); err != nil {
		return nil, fmt.Errorf("look for the DaemonSets of servicelb: %w", err)
	}
	for i := range sets.Items {
		if o := &sets.Items[i]; isPart(o) {
			out = append(out, Running{Kind: "DaemonSet", Namespace: o.Namespace, Name: o.Name})
		}
	}
	if err := c.List(ctx, pods); err != nil {
		return nil, fmt.Errorf("look for the pods of servicelb: %w", err)
	}
	for i := range pods.Items {
		if o := &pods.Items[i]; isPart(o) {
			out = append(out, Running{Kind: "Pod", Namespace: o.Namespace, Name: o.Name})
		}
	}
	return out, nil
}

// What kube-vip and its cloud provider write on Services.
const (
	kubeVIPPrefix  = "kube-vip.io/"
	kubeVIPAsks    = kubeVIPPrefix + "loadbalancerIPs"
	kubeVIPIgnores = kubeVIPPrefix + "ignore"
	kubeVIPClass   = kubeVIPPrefix + "kube-vip-class"
	implementation = "implementation"
)

func wroteKubeVIP(_ *survey.Survey, svc *corev1.Service) bool {
	if slices.ContainsFunc(writers(svc), func(w string) bool { return strings.HasPrefix(w, "kube-vip") }) {
		return true
	}
	if svc.Annotations[kubeVIPIgnores] == "true" {
		return false
	}
	for key := range svc.Annotations {
		if strings.HasPrefix(key, kubeVIPPrefix) {
			return true
		}
	}
	return svc.Labels[implementation] == "kube-vip" || service.Class(svc) == kubeVIPClass
}

// askedKubeVIP returns the addresses that kube-vip was to give a Service; those that stand for DHCP and names are none.
func askedKubeVIP(svc *corev1.Service) (out []netip.Addr) {
	for s := range strings.SplitSeq(svc.Annotations[kubeVIPAsks]+","+svc.Spec.LoadBalancerIP, ",") {
		if a, err := netip.ParseAddr(strings.TrimSpace(s)); err == nil && !a.IsUnspecified() && !slices.Contains(out, a.Unmap()) {
			out = append(out, a.Unmap())
		}
	}
	return out
}

func runningKubeVIP(ctx context.Context, c client.Reader) (out []Running, err error) {
	deployments, stateful, sets, pods := &appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &appsv1.DaemonSetList{}, &corev1.PodList{}
	for what, list := range map[string]client.ObjectList{"Deployments": deployments, "StatefulSets": stateful, "DaemonSets": sets,
		"pods": pods} {
		if err := c.List(ctx, list); err != nil {
			return nil, fmt.Errorf("look for the %s of kube-vip: %w", what, err)
		}
	}
	provider := func(kind string, o client.Object, replicas *int32, pod *corev1.PodSpec) {
		if (replicas == nil || *replicas > 0) && (strings.HasPrefix(o.GetName(), "kube-vip") || runs(pod, "kube-vip-cloud-provider")) {
			out = append(out, Running{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(),
				Stop: fmt.Sprintf("kubectl -n %s scale %s/%s --replicas=0", o.GetNamespace(), strings.ToLower(kind), o.GetName())})
		}
	}
	for i := range deployments.Items {
		o := &deployments.Items[i]
		provider("Deployment", o, o.Spec.Replicas, &o.Spec.Template.Spec)
	}
	for i := range stateful.Items {
		o := &stateful.Items[i]
		provider("StatefulSet", o, o.Spec.Replicas, &o.Spec.Template.Spec)
	}
	for i := range sets.Items {
		o := &sets.Items[i]
		pod := &o.Spec.Template.Spec
		if !strings.HasPrefix(o.Name, "kube-vip") && !runs(pod, "kube-vip") || setting(pod, "svc_enable") == "false" {
			continue
		}
		stop := fmt.Sprintf("kubectl -n %s delete daemonset/%s", o.Namespace, o.Name)
		if v := setting(pod, "cp_enable"); v != "" && v != "false" {
			stop = fmt.Sprintf("kubectl -n %s set env daemonset/%s svc_enable=false", o.Namespace, o.Name)
		}
		out = append(out, Running{Kind: "DaemonSet", Namespace: o.Namespace, Name: o.Name, Stop: stop})
	}
	for i := range pods.Items {
		o := &pods.Items[i]
		if v := setting(&o.Spec, "svc_enable"); !runs(&o.Spec, "kube-vip") || v == "" || v == "false" {
			continue
		}
		r := Running{Kind: "Pod", Namespace: o.Namespace, Name: o.Name}
		if owner := metav1.GetControllerOf(o); owner == nil || owner.Kind == "Node" {
			r.Stop = fmt.Sprintf(`# on node %s, in /etc/kubernetes/manifests/kube-vip.yaml: svc_enable "false"`, o.Spec.NodeName)
		}
		out = append(out, r)
	}
	return out, nil
}

// runs reports whether a pod has a container of an image.
func runs(pod *corev1.PodSpec, image string) bool {
	return slices.ContainsFunc(pod.Containers, func(c corev1.Container) bool {
		name := c.Image[strings.LastIndex(c.Image, "/")+1:]
		name, _, _ = strings.Cut(name, "@")
		name, _, _ = strings.Cut(name, ":")
		return name == image || name == image+"-iptables"
	})
}

// setting returns a variable of the environment of a pod's containers.
func setting(pod *corev1.PodSpec, name string) string {
	for _, c := range pod.Containers {
		for _, e := range c.Env {
			if e.Name == name {
				return strings.ToLower(e.Value)
			}
		}
	}
	return ""
}
