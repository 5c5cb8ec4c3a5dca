package clusterapi

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead/fairlead/allocator"
)

// Lister lists the objects of a kind in a namespace, in all if that is empty.
type Lister func(ctx context.Context, kind schema.GroupVersionKind, namespace string, with labels.Selector) ([]unstructured.Unstructured, error)

// Found is a claim as it is on an API server. Its ID is its name.
type Found struct {
	allocator.Claimed
	Namespace string
	// Cluster and ClusterUID are those of the cluster that has made it.
	Cluster, ClusterUID string
	Object              unstructured.Unstructured
}

// Look returns the claims that have some labels, with what their providers say. The error is meta.NoKindMatchError if the API server does
// not have the kind.
func Look(ctx context.Context, list Lister, namespace string, with map[string]string) ([]Found, error) {
	var err error
	for _, version := range Versions {
		kind := schema.GroupVersionKind{Group: Group, Version: version, Kind: "IPAddressClaim"}
		var claims []unstructured.Unstructured
		claims, err = list(ctx, kind, namespace, labels.SelectorFromSet(with))
		if meta.IsNoMatchError(err) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("list IPAddressClaims: %w", err)
		}
		kind.Kind = "IPAddress"
		addresses, err := list(ctx, kind, namespace, labels.Everything())
		if err != nil {
			return nil, fmt.Errorf("list IPAddresses: %w", err)
		}
		return found(claims, addresses), nil
	}
	return nil, err
}

func found(claims, addresses []unstructured.Unstructured) []Found {
	type key struct{ namespace, claim string }
	of := map[key][]*unstructured.Unstructured{}
	for i := range addresses {
		k := key{addresses[i].GetNamespace(), claimOf(&addresses[i])}
		of[k] = append(of[k], &addresses[i])
	}
	out := make([]Found, 0, len(claims))
	for i := range claims {
		o := &claims[i]
		answer := answerOf(o, oldestFirst(of[key{o.GetNamespace(), o.GetName()}]))
		out = append(out, Found{
			Claimed: allocator.Claimed{Claim: Read(o), Answer: answer}, Namespace: o.GetNamespace(),
			Cluster: o.GetLabels()[LabelCluster], ClusterUID: o.GetAnnotations()[AnnotationClusterUID], Object: *o,
		})
	}
	return out
}

// StateOf returns what a pool of a provider says of itself.
func StateOf(pool *unstructured.Unstructured) allocator.PoolState { return counts(pool) }
