package calico

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// ErrUnavailable: neither of Calico's API groups is served.
var ErrUnavailable = errors.New("neither projectcalico.org/v3 nor crd.projectcalico.org/v1 serves bgpconfigurations; is Calico installed?")

// The two ways to Calico's objects. v3 is served by Calico's API server or by its native CRDs; v1 is the raw storage of
// installations without either. The schemas of BGPConfiguration are equal.
var (
	groupV3 = v3.SchemeGroupVersion
	groupV1 = schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}
)

const (
	resource    = "bgpconfigurations"
	defaultName = "default" // the only BGPConfiguration whose serviceLoadBalancerIPs count
)

// api reads and writes the BGPConfiguration "default" through one of the groups.
type api struct {
	group  schema.GroupVersion
	client dynamic.ResourceInterface
}

// detect finds the group to use: v3 if it lists the resource and answers, else v1, which is the same storage. It is called for
// each Apply, because an API server that is down now may be back the next time, and Calico can be upgraded under us.
func detect(ctx context.Context, d discovery.DiscoveryInterface, c dynamic.Interface) (*api, error) {
	var failed error
	for _, group := range []schema.GroupVersion{groupV3, groupV1} {
		served, err := serves(d, group)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if !served {
			continue
		}
		a := &api{group, c.Resource(group.WithResource(resource))}
		_, err = a.get(ctx)
		if apierrors.IsServiceUnavailable(err) {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", group, err))
			continue
		}
		return a, err
	}
	if failed != nil {
		return nil, failed
	}
	return nil, ErrUnavailable
}

func serves(d discovery.DiscoveryInterface, group schema.GroupVersion) (bool, error) {
	list, err := d.ServerResourcesForGroupVersion(group.String())
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("discover %s: %w", group, err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource }), nil
}

// configuration is the BGPConfiguration "default", as its type and as the fields that are really set: a Calico newer than the type
// may have more of them.
type configuration struct {
	v3.BGPConfiguration
	fields map[string]any // of spec
}

// get returns the configuration, or nil if there is none.
func (a *api) get(ctx context.Context) (*configuration, error) {
	u, err := a.client.Get(ctx, defaultName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read BGPConfiguration %q (%s): %w", defaultName, a.group, err)
	}
	var c configuration
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &c.BGPConfiguration); err != nil {
		return nil, fmt.Errorf("read BGPConfiguration %q (%s): %w", defaultName, a.group, err)
	}
	c.fields, _, err = unstructured.NestedMap(u.Object, "spec")
	return &c, err
}

// onlyDefaults reports whether the configuration says nothing apart from the list and what is filled in without being asked.
func (c *configuration) onlyDefaults() bool {
	for field, value := range c.fields {
		switch {
		case field == "serviceLoadBalancerIPs", field == "logSeverityScreen":
		case field == "serviceLoadBalancerAggregation" && value == string(v3.ServiceLoadBalancerAggregationEnabled):
		default:
			return false
		}
	}
	return true
}

// create makes the configuration with nothing but the list: Calico's defaults are those of an absent object
// (confd/pkg/backends/calico/client.go), so nothing else changes.
func (a *api) create(ctx context.Context, blocks []v3.ServiceLoadBalancerIPBlock, manager string) error {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(a.group.WithKind(v3.KindBGPConfiguration))
	u.SetName(defaultName)
	list := make([]any, len(blocks))
	for i, b := range blocks {
		list[i] = map[string]any{"cidr": b.CIDR}
	}
	if err := unstructured.SetNestedSlice(u.Object, list, "spec", "serviceLoadBalancerIPs"); err != nil {
		return err
	}
	_, err := a.client.Create(ctx, u, metav1.CreateOptions{FieldManager: manager})
	if err != nil {
		return fmt.Errorf("create BGPConfiguration %q (%s): %w", defaultName, a.group, err)
	}
	return nil
}

// setBlocks replaces the list, provided that c is still the newest version.
func (a *api) setBlocks(ctx context.Context, c *configuration, blocks []v3.ServiceLoadBalancerIPBlock, manager string) error {
	spec := map[string]any{"serviceLoadBalancerIPs": blocks}
	if len(blocks) == 0 {
		spec["serviceLoadBalancerIPs"] = nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": c.ResourceVersion}, "spec": spec,
	})
	if err != nil {
		return err
	}
	if _, err := a.client.Patch(ctx, defaultName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("write spec.serviceLoadBalancerIPs of BGPConfiguration %q (%s): %w", defaultName, a.group, err)
	}
	return nil
}

// delete removes the configuration, provided that c is still the newest version.
func (a *api) delete(ctx context.Context, c *configuration) error {
	err := a.client.Delete(ctx, defaultName, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &c.UID, ResourceVersion: &c.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete BGPConfiguration %q (%s): %w", defaultName, a.group, err)
	}
	return nil
}
