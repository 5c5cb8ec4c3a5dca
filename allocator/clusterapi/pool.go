package clusterapi

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// PoolRef names a pool of a provider.
type PoolRef struct {
	schema.GroupKind
	Namespace string // empty: the pool's kind has none, or it is that of the claims
	Name      string
}

const rightPool = "write kind.group/name, as GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services, " +
	"or kind.group/namespace/name where the kind has a namespace"

// ParsePool reads what a user writes for a pool: "kind.group/name" or "kind.group/namespace/name".
func ParsePool(s string) (PoolRef, error) {
	parts := strings.Split(s, "/")
	kind, group, ok := strings.Cut(parts[0], ".")
	if !ok || kind == "" || len(parts) < 2 || len(parts) > 3 {
		return PoolRef{}, fmt.Errorf("%q names no pool; %s", s, rightPool)
	}
	bad := validation.IsDNS1123Subdomain(group)
	if len(bad) == 0 {
		bad = validation.IsDNS1035Label(strings.ToLower(kind))
	}
	for _, name := range parts[1:] {
		if len(bad) == 0 {
			bad = validation.IsDNS1123Subdomain(name)
		}
	}
	if len(bad) > 0 {
		return PoolRef{}, fmt.Errorf("%q names no pool: %s; %s", s, bad[0], rightPool)
	}
	p := PoolRef{GroupKind: schema.GroupKind{Group: group, Kind: kind}, Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		p.Namespace = parts[1]
	}
	return p, nil
}

// String returns what ParsePool reads.
func (p PoolRef) String() string {
	name := p.Name
	if p.Namespace != "" {
		name = p.Namespace + "/" + name
	}
	return p.Kind + "." + p.Group + "/" + name
}

// adopts reports whether the provider of such a pool takes an IPAddress that is there before it looks at its claim for the claim's answer.
// Of Cluster API's contract this is no part; cluster-api-ipam-provider-in-cluster does (internal/controllers/ipaddressclaim_address.go,
// EnsureAddress).
func (p PoolRef) adopts() bool {
	return p.Group == Group && slices.Contains([]string{"GlobalInClusterIPPool", "InClusterIPPool"}, p.Kind)
}
