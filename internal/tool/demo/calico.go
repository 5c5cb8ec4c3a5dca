package demo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// blocks are what Calico must be told to advertise in the end.
var blocks = []string{"10.10.0.0/24", "10.20.0.0/24"}

func (d *demo) calicoStory() story {
	return story{fmt.Sprintf(cniProblem, "Calico"), slices.Concat([]step{
		{"start etcd and kube-apiserver", startWhy, d.startCluster},
		{"install the CRDs of metallb.io, fairlead.io and Calico", "", d.installCRDs(localcluster.CalicoCRDs)},
		{"start the controller with --backend=calico", controllerWhy, d.startController},
		{"apply pools, a peer and advertisements", applyWhy, d.apply("calico.yaml")},
		{"create Services and wait for their addresses", servicesWhy, d.createServices("services.yaml")},
		{"look at what Calico is told to advertise", fmt.Sprintf(toldWhy, "Calico"), d.showCalico},
	}, d.learn(), []step{{"ask whether anything is wrong", "", d.doctor}}, d.failoverSteps(), d.routerSteps(calicoSpeaks))}
}

func (d *demo) showCalico(ctx context.Context) error { return d.showCalicoList(ctx, blocks...) }

// showCalicoList shows Calico's list when it holds these blocks.
func (d *demo) showCalicoList(ctx context.Context, blocks ...string) error {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "BGPConfiguration"})
	err := d.until(ctx, "BGPConfiguration/default to hold "+strings.Join(blocks, ", "), func(ctx context.Context) (bool, error) {
		if err := d.client.Get(ctx, types.NamespacedName{Name: "default"}, u); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		return slices.Equal(cidrs(u), blocks), nil
	})
	if err != nil {
		return err
	}
	shown := map[string]any{
		"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(),
		"metadata": map[string]any{"name": u.GetName()}, "spec": u.Object["spec"],
	}
	b, err := yaml.Marshal(shown)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		fmt.Fprintf(d.Out, "      %s", line)
	}
	return nil
}

// cidrs returns the blocks that Calico is told to advertise, by address.
func cidrs(u *unstructured.Unstructured) []string {
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "serviceLoadBalancerIPs")
	var out []netip.Prefix
	for _, item := range list {
		block, _ := item.(map[string]any)
		s, _ := block["cidr"].(string)
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	text := make([]string, len(out))
	for i, p := range out {
		text[i] = p.String()
	}
	return text
}
