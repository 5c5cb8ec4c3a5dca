package clusterapi

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/allocator"
)

func object(name string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: content}
	o.SetName(name)
	return o
}

func ipAddress(name string, spec map[string]any) *unstructured.Unstructured {
	return object(name, map[string]any{"spec": spec})
}

func ready(status, reason, message string) map[string]any {
	return map[string]any{"type": "Ready", "status": status, "reason": reason, "message": message}
}

func TestAnswer(t *testing.T) {
	answered := map[string]any{"status": map[string]any{"addressRef": map[string]any{"name": "a"}}}
	says := func(conditions ...any) map[string]any {
		return map[string]any{"status": map[string]any{"conditions": conditions}}
	}
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name    string
		claim   map[string]any
		address map[string]any // of the IPAddress "a"; nil: there is none
		want    allocator.Answer
	}{
		{name: "nothing yet", claim: map[string]any{}},
		{name: "an address that the claim does not name yet", claim: map[string]any{}, address: map[string]any{"address": "192.0.2.1"}},
		{name: "an address", claim: answered, address: map[string]any{"address": "192.0.2.1", "prefix": int64(24)}, want: allocator.Answer{Addr: addr("192.0.2.1")}},
		{name: "without a prefix", claim: answered, address: map[string]any{"address": "2001:db8::1"}, want: allocator.Answer{Addr: addr("2001:db8::1")}},
		{name: "of its own", claim: answered, address: map[string]any{"address": "192.0.2.1", "prefix": int64(32)}, want: allocator.Answer{Addr: addr("192.0.2.1")}},
		{name: "mapped", claim: answered, address: map[string]any{"address": "::ffff:192.0.2.1"}, want: allocator.Answer{Addr: addr("192.0.2.1")}},
		{name: "gone", claim: answered, want: allocator.Answer{Why: `IPAddress "a", which the claim names, is gone`}},
		{
			name: "a link of two routers", claim: answered, address: map[string]any{"address": "2001:db8::1", "prefix": int64(127)},
			want: allocator.Answer{Refusal: allocator.RefusedInvalid, Why: `IPAddress "a": spec.prefix: 2001:db8::1/127 is a link between two routers ` +
				"(RFC 3021, RFC 6164), not the network of an address for a Service"},
		},
		{
			name: "a prefix that is none", claim: answered, address: map[string]any{"address": "192.0.2.1", "prefix": int64(33)},
			want: allocator.Answer{Refusal: allocator.RefusedInvalid, Why: `IPAddress "a": spec.prefix: 33 is no length of a prefix of 192.0.2.1`},
		},
		{
			name: "a prefix for an address", claim: answered, address: map[string]any{"address": "192.0.2.0/24"},
			want: allocator.Answer{Refusal: allocator.RefusedInvalid, Why: `IPAddress "a": spec.address: "192.0.2.0/24" is not an IP address; it should be one like 192.0.2.10`},
		},
		{
			name: "a zone", claim: answered, address: map[string]any{"address": "fe80::1%eth0"},
			want: allocator.Answer{Refusal: allocator.RefusedInvalid, Why: `IPAddress "a": spec.address: "fe80::1%eth0" is not an IP address; it should be one like 192.0.2.10`},
		},
		{name: "no string", claim: answered, address: map[string]any{"address": int64(7)}, want: allocator.Answer{
			Refusal: allocator.RefusedInvalid, Why: `IPAddress "a": spec.address: "" is not an IP address; it should be one like 192.0.2.10`,
		}},
		{name: "exhausted", claim: says(ready("False", "PoolExhausted", "full")), want: allocator.Answer{Refusal: allocator.RefusedExhausted, Why: "PoolExhausted: full"}},
		{name: "failed", claim: says(ready("False", "AllocationFailed", "")), want: allocator.Answer{Refusal: allocator.RefusedOther, Why: "AllocationFailed"}},
		{name: "not ready", claim: says(ready("False", "PoolNotReady", "soon")), want: allocator.Answer{Why: "PoolNotReady: soon"}},
		{name: "no reason", claim: says(ready("False", "", "")), want: allocator.Answer{Why: "Ready is False"}},
		{name: "another condition", claim: says(map[string]any{"type": "Other", "status": "False"}, "garbage")},
		{
			name: "of v1beta1, kept apart", claim: map[string]any{"status": map[string]any{"deprecated": map[string]any{"v1beta1": map[string]any{
				"conditions": []any{ready("False", "PoolExhausted", "full")},
			}}}}, want: allocator.Answer{Refusal: allocator.RefusedExhausted, Why: "PoolExhausted: full"},
		},
	} {
		var addresses []*unstructured.Unstructured
		if tt.address != nil {
			addresses = append(addresses, ipAddress("a", tt.address))
		}
		assert.Equal(t, tt.want, answerOf(object("c", tt.claim), addresses), tt.name)
	}
}

// TestTwoAnswers: of two addresses for one claim the one counts that the claim names, whichever comes first.
func TestTwoAnswers(t *testing.T) {
	claim := object("c", map[string]any{"status": map[string]any{"addressRef": map[string]any{"name": "b"}}})
	a, b := ipAddress("a", map[string]any{"address": "192.0.2.1"}), ipAddress("b", map[string]any{"address": "192.0.2.2"})
	b.SetCreationTimestamp(metav1.NewTime(time.Unix(9, 0)))
	for _, order := range [][]*unstructured.Unstructured{{a, b}, {b, a}} {
		assert.Equal(t, "192.0.2.2", answerOf(claim, oldestFirst(order)).Addr.String())
	}
}

func TestParsePool(t *testing.T) {
	for _, good := range []string{
		"GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services", "InfobloxIPPool.ipam.cluster.x-k8s.io/metallb-system/lb", "Lease.coordination.k8s.io/a.b",
	} {
		p, err := ParsePool(good)
		require.NoError(t, err, good)
		assert.Equal(t, good, p.String())
	}
	for _, bad := range []string{
		"", "/", "services", "Pool/services", ".group/services", "Pool.group/", "Pool.group/a/b/c", "Pool.group/A", "Pool.GROUP/a", "Po ol.group/a",
		"Pool.group/" + strings.Repeat("a", 300), "Pool.group/\x00",
	} {
		_, err := ParsePool(bad)
		assert.ErrorContains(t, err, "write kind.group/name, as GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services", bad)
	}
}

// FuzzPool: whatever an annotation says, it is a pool that is written as it was read, or an error.
func FuzzPool(f *testing.F) {
	f.Add("GlobalInClusterIPPool.ipam.cluster.x-k8s.io/services")
	f.Add("A.b/c/d")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePool(s); err == nil {
			assert.Equal(t, s, p.String())
		}
	})
}
