package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Annotations of an IPAddressPool whose addresses somebody else gives out. MetalLB ignores them.
const (
	AnnotationAllocator     = "fairlead.io/allocator"
	AnnotationAllocatorPool = "fairlead.io/allocator-pool"
)

// The values of AnnotationAllocator.
const (
	AllocatorBuiltin    = "builtin"
	AllocatorClusterAPI = "cluster-api"
)

// Allocators are the values that AnnotationAllocator can have.
var Allocators = []string{AllocatorBuiltin, AllocatorClusterAPI}

// poolOfAllocator is kind.group/name or kind.group/namespace/name.
var poolOfAllocator = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+(/[a-z0-9]([-.a-z0-9]*[a-z0-9])?){1,2}$`)

// allocatorOf returns who gives out the addresses of a pool with these annotations, and from which pool of its own; both are empty for the
// built-in engine.
func allocatorOf(annotations map[string]string, add func(field, problem string)) (name, pool string) {
	name, named := annotations[AnnotationAllocator]
	pool, pooled := annotations[AnnotationAllocatorPool]
	of := func(annotation string) string { return fmt.Sprintf("metadata.annotations[%s]", annotation) }
	const right = "write kind.group/name, as GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services"
	switch {
	case name == AllocatorBuiltin, !named && !pooled:
		return "", ""
	case !named:
		add(of(AnnotationAllocatorPool), fmt.Sprintf("%.100q is the pool of an allocator, and %s names none; write %s there, or remove both",
			pool, AnnotationAllocator, AllocatorClusterAPI))
	case name != AllocatorClusterAPI:
		add(of(AnnotationAllocator), fmt.Sprintf("%.100q is no allocator; use one of %s", name, strings.Join(Allocators, ", ")))
	case !pooled:
		add(of(AnnotationAllocatorPool), fmt.Sprintf("it is missing; %s needs the pool to take addresses from: %s", name, right))
	case !poolOfAllocator.MatchString(pool):
		add(of(AnnotationAllocatorPool), fmt.Sprintf("%.100q names no pool; %s", pool, right))
	}
	return name, pool
}
