package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	slim "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// ciliumKinds are the objects that are written for Cilium, with the names of their resources.
var ciliumKinds = []struct {
	kind     schema.GroupVersionKind
	plural   string
	describe func(map[string]any) ([]string, error)
}{
	{v2.SchemeGroupVersion.WithKind(v2.BGPAKindDefinition), v2.BGPAPluralName, describer(describeAdvertisement)},
	{v2.SchemeGroupVersion.WithKind(v2.BGPPCKindDefinition), v2.BGPPCPluralName, describer(describePeer)},
	{v2.SchemeGroupVersion.WithKind(v2.BGPCCKindDefinition), v2.BGPCCPluralName, describer(describeCluster)},
	{v2alpha1.SchemeGroupVersion.WithKind(v2alpha1.L2AnnouncementKindDefinition), v2alpha1.L2AnnouncementPluralName,
		describer(describePolicy)},
}

func ciliumResources() []string {
	var out []string
	for _, k := range ciliumKinds {
		out = append(out, k.plural+"."+k.kind.Group)
	}
	return out
}

func (d *demo) ciliumStory() story {
	return story{fmt.Sprintf(cniProblem, "Cilium"), slices.Concat([]step{
		{"start etcd and kube-apiserver", startWhy, d.startCluster},
		{"install the CRDs of metallb.io, fairlead.io and Cilium", "", d.installCRDs(localcluster.CiliumCRDs)},
		{"start the controller with --backend=cilium", controllerWhy, d.startController},
		{"apply pools, a peer and advertisements", applyWhy, d.apply("cilium.yaml")},
		{"create Services and wait for their addresses", servicesWhy, d.createServices("services.yaml")},
		{"look at what Cilium is told to advertise", fmt.Sprintf(toldWhy, "Cilium"), d.showCilium},
	}, d.learn(), d.routerSteps(ciliumSpeaks))}
}

// showCilium prints the objects as they are written, and fails if they do not become what the scenario asks for.
func (d *demo) showCilium(ctx context.Context) error {
	b, err := manifests.ReadFile("manifests/cilium-objects.txt")
	if err != nil {
		return err
	}
	want, got := string(b), ""
	err = d.until(ctx, "Cilium's objects to be what the scenario asks for", func(ctx context.Context) (bool, error) {
		now, err := d.ciliumObjects(ctx)
		if err != nil {
			return false, err
		}
		got = now
		return got == want, nil
	})
	d.indent(got)
	if err != nil {
		fmt.Fprintln(d.Out, "      They are to be:")
		d.indent(want)
	}
	return err
}

// ciliumObjects returns what the objects say, one after the other, in words.
func (d *demo) ciliumObjects(ctx context.Context) (string, error) {
	var out strings.Builder
	for _, k := range ciliumKinds {
		var list unstructured.UnstructuredList
		list.SetGroupVersionKind(k.kind)
		if err := d.client.List(ctx, &list); err != nil {
			return "", err
		}
		for _, u := range list.Items {
			lines, err := k.describe(u.Object)
			if err != nil {
				return "", fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
			}
			fmt.Fprintf(&out, "%s %s\n", u.GetKind(), u.GetName())
			for _, line := range lines {
				fmt.Fprintf(&out, "  %s\n", line)
			}
		}
	}
	return out.String(), nil
}

// describer makes one of f, which describes objects of one type.
func describer[T any](f func(*T) []string) func(map[string]any) ([]string, error) {
	return func(object map[string]any) ([]string, error) {
		var typed T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &typed); err != nil {
			return nil, err
		}
		return f(&typed), nil
	}
}

func describeAdvertisement(o *v2.CiliumBGPAdvertisement) []string {
	var out []string
	for _, label := range slices.Sorted(maps.Keys(o.Labels)) {
		if strings.HasPrefix(label, "to.fairlead.io/") { // by which a CiliumBGPPeerConfig selects it
			out = append(out, "label "+label+"="+o.Labels[label])
		}
	}
	for _, a := range o.Spec.Advertisements {
		line := string(a.AdvertisementType)
		if a.Service != nil {
			line += fmt.Sprintf(" %v", a.Service.Addresses)
		}
		out = append(out, line+" where "+strings.Join(selector(a.Selector), ", "))
		if a.Attributes != nil && a.Attributes.Communities != nil {
			out = append(out, fmt.Sprintf("communities %v", a.Attributes.Communities.Standard))
		}
	}
	return out
}

func describePeer(o *v2.CiliumBGPPeerConfig) []string {
	var out []string
	for _, f := range o.Spec.Families {
		out = append(out, fmt.Sprintf("CiliumBGPAdvertisements for %s/%s where", f.Afi, f.Safi))
		out = append(out, below(selector(f.Advertisements))...)
	}
	if t := o.Spec.Timers; t != nil {
		out = append(out, fmt.Sprintf("hold time %d s", value(t.HoldTimeSeconds)))
	}
	return out
}

func describeCluster(o *v2.CiliumBGPClusterConfig) []string {
	out := append([]string{"nodes where"}, below(selector(o.Spec.NodeSelector))...)
	for _, i := range o.Spec.BGPInstances {
		for _, p := range i.Peers {
			out = append(out, fmt.Sprintf("AS %d with %s: %s, AS %d", value(i.LocalASN), p.Name, value(p.PeerAddress), value(p.PeerASN)))
			if p.PeerConfigRef != nil {
				out = append(out, below([]string{"CiliumBGPPeerConfig " + p.PeerConfigRef.Name})...)
			}
		}
	}
	return out
}

func describePolicy(o *v2alpha1.CiliumL2AnnouncementPolicy) []string {
	var what []string
	if o.Spec.LoadBalancerIPs {
		what = append(what, "LoadBalancerIPs")
	}
	if o.Spec.ExternalIPs {
		what = append(what, "ExternalIPs")
	}
	out := []string{fmt.Sprintf("%v of Services where %s", what, strings.Join(selector(o.Spec.ServiceSelector), ", ")), "nodes where"}
	return append(out, below(selector(o.Spec.NodeSelector))...)
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

// selector returns the requirements of a selector as kubectl takes them.
func selector(s *slim.LabelSelector) []string {
	l, err := slim.LabelSelectorAsSelector(s)
	if err != nil {
		return []string{err.Error()}
	}
	requirements, _ := l.Requirements()
	var out []string
	for _, r := range requirements {
		out = append(out, r.String())
	}
	return out
}

// below indents lines.
func below(lines []string) []string {
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	return lines
}
