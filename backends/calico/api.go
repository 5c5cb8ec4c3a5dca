package calico

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const (
	resource    = "bgpconfigurations"
	defaultName = "default" // the only BGPConfiguration whose serviceLoadBalancerIPs count
)

// api reads and writes the BGPConfiguration "default" through one of the groups.
type api struct {
	group   schema.GroupVersion
	client  dynamic.ResourceInterface
	manager string
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
		return nil, a.failed("read", err)
	}
	return a.decode(u)
}

func (a *api) decode(u *unstructured.Unstructured) (*configuration, error) {
	var c configuration
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &c.BGPConfiguration); err != nil {
		return nil, a.failed("read", err)
	}
	var err error
	c.fields, _, err = unstructured.NestedMap(u.Object, "spec")
	return &c, err
}

func (a *api) failed(what string, err error) error {
	return fmt.Errorf("%s BGPConfiguration %q (%s): %w", what, defaultName, a.group, err)
}

// aggregation returns the value that is set, empty if the field is absent.
func (c *configuration) aggregation() v3.ServiceLoadBalancerAggregation {
	if c.Spec.ServiceLoadBalancerAggregation == nil {
		return ""
	}
	return *c.Spec.ServiceLoadBalancerAggregation
}

// onlyDefaults reports whether the configuration says nothing apart from what is filled in without being asked.
func (c *configuration) onlyDefaults() bool {
	for field, value := range c.fields {
		switch {
		case field == "logSeverityScreen":
		case field == fieldAggregation && value == string(v3.ServiceLoadBalancerAggregationEnabled):
		default:
			return false
		}
	}
	return true
}

// after returns the configuration as a patch would leave it.
func (c *configuration) after(spec map[string]any) *configuration {
	out := &configuration{BGPConfiguration: c.BGPConfiguration, fields: maps.Clone(c.fields)}
	if out.fields == nil {
		out.fields = map[string]any{}
	}
	for field, value := range spec {
		if value == nil {
			delete(out.fields, field)
		} else {
			out.fields[field] = value
		}
	}
	return out
}

// create makes the configuration with nothing but spec: Calico's defaults are those of an absent object
// (confd/pkg/backends/calico/client.go), so nothing else changes.
func (a *api) create(ctx context.Context, spec map[string]any) (*configuration, error) {
	b, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(b, &u.Object); err != nil {
		return nil, err
	}
	u.SetGroupVersionKind(a.group.WithKind(v3.KindBGPConfiguration))
	u.SetName(defaultName)
	u, err = a.client.Create(ctx, u, metav1.CreateOptions{FieldManager: a.manager, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return nil, a.failed("create", err)
	}
	return a.decode(u)
}

// patch changes fields of spec, provided that c is still the newest version.
func (a *api) patch(ctx context.Context, c *configuration, spec map[string]any) (*configuration, error) {
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": c.ResourceVersion}, "spec": spec})
	if err != nil {
		return nil, err
	}
	u, err := a.client.Patch(ctx, defaultName, types.MergePatchType, b, metav1.PatchOptions{FieldManager: a.manager,
		FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return nil, a.failed("write", err)
	}
	return a.decode(u)
}

// lacksAggregation reports whether a write shows that this Calico has no spec.serviceLoadBalancerAggregation: the API server
// refuses the field, or it is gone from what was stored.
func lacksAggregation(spec map[string]any, stored *configuration, err error) bool {
	value, asked := spec[fieldAggregation]
	if !asked || value == nil {
		return false
	}
	if err != nil {
		return strings.Contains(err.Error(), `unknown field "spec.serviceLoadBalancerAggregation"`)
	}
	return stored.aggregation() == ""
}
