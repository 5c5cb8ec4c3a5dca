package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAllocator(t *testing.T) {
	const good = "GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services"
	for _, tt := range []struct {
		name                string
		annotations         map[string]string
		allocator, pool     string
		faultField, problem string
	}{
		{name: "none"},
		{name: "builtin", annotations: map[string]string{AnnotationAllocator: "builtin"}},
		{
			name: "builtin, with what is left of another", annotations: map[string]string{AnnotationAllocator: "builtin", AnnotationAllocatorPool: good},
		},
		{
			name:        "cluster-api",
			annotations: map[string]string{AnnotationAllocator: "cluster-api", AnnotationAllocatorPool: good},
			allocator:   "cluster-api", pool: good,
		},
		{
			name:        "with a namespace",
			annotations: map[string]string{AnnotationAllocator: "cluster-api", AnnotationAllocatorPool: "InClusterIPPool.ipam.cluster.x-k8s.io/metallb-system/lb"},
			allocator:   "cluster-api", pool: "InClusterIPPool.ipam.cluster.x-k8s.io/metallb-system/lb",
		},
		{
			name: "unknown", annotations: map[string]string{AnnotationAllocator: "netbox", AnnotationAllocatorPool: good},
			faultField: "metadata.annotations[fairlead.io/allocator]", problem: `"netbox" is no allocator; use one of builtin, cluster-api`,
		},
		{
			name: "empty", annotations: map[string]string{AnnotationAllocator: ""},
			faultField: "metadata.annotations[fairlead.io/allocator]", problem: `"" is no allocator; use one of builtin, cluster-api`,
		},
		{
			name: "no pool", annotations: map[string]string{AnnotationAllocator: "cluster-api"},
			faultField: "metadata.annotations[fairlead.io/allocator-pool]",
			problem: "it is missing; cluster-api needs the pool to take addresses from: write kind.group/name, " +
				"as GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services",
		},
		{
			name: "no allocator", annotations: map[string]string{AnnotationAllocatorPool: good},
			faultField: "metadata.annotations[fairlead.io/allocator-pool]",
			problem:    `"` + good + `" is the pool of an allocator, and fairlead.io/allocator names none; write cluster-api there, or remove both`,
		},
		{
			name: "garbage", annotations: map[string]string{AnnotationAllocator: "cluster-api", AnnotationAllocatorPool: "services"},
			faultField: "metadata.annotations[fairlead.io/allocator-pool]",
			problem:    `"services" names no pool; write kind.group/name, as GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services`,
		},
	} {
		o := pool("p", 1, "192.0.2.0/24")
		o.Annotations = tt.annotations
		p, faults := parsePool(&o)
		if tt.faultField != "" {
			if assert.Len(t, faults, 1, tt.name) {
				assert.Equal(t, tt.faultField, faults[0].Field, tt.name)
				assert.Equal(t, tt.problem, faults[0].Problem, tt.name)
			}
			continue
		}
		if assert.Empty(t, faults, tt.name) {
			assert.Equal(t, tt.allocator, p.Allocator, tt.name)
			assert.Equal(t, tt.pool, p.AllocatorPool, tt.name)
		}
	}
}
