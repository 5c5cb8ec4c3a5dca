package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// IPAddressClaims are the claims by which allocators are asked.
const IPAddressClaims = "IPAddressClaims"

// ListWith returns what lists objects by a reader.
func ListWith(c client.Reader) clusterapi.Lister {
	return func(ctx context.Context, kind schema.GroupVersionKind, namespace string, with labels.Selector) ([]unstructured.Unstructured, error) {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		err := c.List(ctx, list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: with})
		return list.Items, err
	}
}

// readClaims reads what allocators are asked, if any pool names one.
func (s *Survey) readClaims(ctx context.Context, c client.Reader) error {
	pools := s.external()
	set := s.Controller.Settings
	if len(pools) == 0 && set["allocators"] == "" {
		return nil
	}
	if set["allocator-kubeconfig"] != "" {
		s.Gaps = append(s.Gaps, Gap{What: IPAddressClaims, Why: fmt.Sprintf("they are on another API server, in namespace %q, under the name %q "+
			"(--allocator-kubeconfig of the controller)", set["allocator-namespace"], set["cluster-name"])})
		return nil
	}
	namespace := s.Namespace
	if in := set["allocator-namespace"]; in != "" {
		namespace = in
	}
	claims, err := clusterapi.Look(ctx, ListWith(c), namespace, backends.OwnLabels(s.Namespace))
	if err != nil {
		return s.gap(IPAddressClaims, err)
	}
	s.Claims, s.ClaimsKnown = claims, true
	for i := range s.Claims {
		if x := &s.Claims[i]; x.Cluster != "" {
			x.ID = strings.TrimPrefix(x.ID, x.Cluster+"-")
		}
	}
	s.AllocatorPools = map[string]allocator.PoolState{}
	for _, name := range pools {
		if state, ok := readPool(ctx, c, namespace, name); ok {
			s.AllocatorPools[name] = state
		}
	}
	return nil
}

// external returns the names that allocators have for the pools that pools name, each once.
func (s *Survey) external() []string {
	var out []string
	for i := range s.Config.Pools {
		a := s.Config.Pools[i].Annotations
		if name := a[config.AnnotationAllocatorPool]; a[config.AnnotationAllocator] == config.AllocatorClusterAPI && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// readPool reads a pool of a provider. What cannot be read is not known.
func readPool(ctx context.Context, c client.Reader, namespace, name string) (state allocator.PoolState, known bool) {
	ref, err := clusterapi.ParsePool(name)
	mapper, ok := c.(interface{ RESTMapper() meta.RESTMapper })
	if err != nil || !ok {
		return state, false
	}
	m, err := mapper.RESTMapper().RESTMapping(ref.GroupKind)
	switch {
	case meta.IsNoMatchError(err):
		return allocator.PoolState{Refusal: allocator.RefusedPool, Why: fmt.Sprintf("the API server has no kind %q in group %q", ref.Kind, ref.Group)}, true
	case err != nil:
		return state, false
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(m.GroupVersionKind)
	key := types.NamespacedName{Name: ref.Name}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		key.Namespace = namespace
	}
	switch err := c.Get(ctx, key, o); {
	case client.IgnoreNotFound(err) != nil:
		return state, false
	case err != nil:
		return allocator.PoolState{Refusal: allocator.RefusedPool, Why: ref.String() + " does not exist"}, true
	}
	return clusterapi.StateOf(o), true
}

// orphanedAfter is how old a claim is at least that nobody needs and that its controller should have released.
const orphanedAfter = time.Minute

// Orphans returns the claims whose address nobody holds and whose Service does not exist.
func (m *Model) Orphans() []clusterapi.Found {
	var out []clusterapi.Found
	for _, x := range m.Claims {
		held := x.Answer.Addr.IsValid() && (len(m.Assigner.Holders(x.Answer.Addr)) > 0 || len(m.Assigner.Reserved(x.Answer.Addr)) > 0)
		if held || m.Service(x.Owner.Namespace, x.Owner.Name) != nil || m.At.Sub(x.Object.GetCreationTimestamp().Time) < orphanedAfter {
			continue
		}
		out = append(out, x)
	}
	return out
}
