package clusterapi

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/allocator"
)

// Reasons of a claim's condition Ready that refuse it (api/ipam/v1beta2/ipaddressclaim_types.go of Cluster API).
const (
	conditionReady         = "Ready"
	reasonPoolExhausted    = "PoolExhausted"
	reasonAllocationFailed = "AllocationFailed"
)

// answerOf returns what a provider says to a claim; addresses are the IPAddresses that refer to it.
func answerOf(claim *unstructured.Unstructured, addresses []*unstructured.Unstructured) allocator.Answer {
	if ref := addressRef(claim); ref != "" {
		for _, a := range addresses {
			if a.GetName() == ref {
				return addressOf(a)
			}
		}
		return allocator.Answer{Why: fmt.Sprintf("IPAddress %q, which the claim names, is gone", ref)}
	}
	ready := condition(claim, conditionReady)
	if ready.Status != metav1.ConditionFalse {
		return allocator.Answer{}
	}
	why := cmp.Or(ready.Reason, conditionReady+" is False")
	if ready.Message != "" {
		why += ": " + ready.Message
	}
	switch ready.Reason {
	case reasonPoolExhausted:
		return allocator.Answer{Refusal: allocator.RefusedExhausted, Why: why}
	case reasonAllocationFailed:
		return allocator.Answer{Refusal: allocator.RefusedOther, Why: why}
	}
	return allocator.Answer{Why: why}
}

// addressRef returns the name of the IPAddress that a claim was answered with; empty: none.
func addressRef(claim *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(claim.Object, "status", "addressRef", "name")
	return name
}

// addressOf returns the address that an IPAddress gives.
func addressOf(o *unstructured.Unstructured) allocator.Answer {
	refuse := func(format string, args ...any) allocator.Answer {
		return allocator.Answer{Refusal: allocator.RefusedInvalid, Why: fmt.Sprintf("IPAddress %q: "+format, append([]any{o.GetName()}, args...)...)}
	}
	text, _, _ := unstructured.NestedString(o.Object, "spec", "address")
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.IsUnspecified() {
		return refuse("spec.address: %.100q is not an IP address; it should be one like 192.0.2.10", text)
	}
	addr = addr.Unmap()
	prefix, found, err := unstructured.NestedInt64(o.Object, "spec", "prefix")
	switch {
	case err != nil || found && (prefix < 0 || prefix > int64(addr.BitLen())):
		return refuse("spec.prefix: %d is no length of a prefix of %s", prefix, addr)
	case found && prefix == int64(addr.BitLen()-1):
		return refuse("spec.prefix: %s/%d is a link between two routers (RFC 3021, RFC 6164), not the network of an address for a Service", addr, prefix)
	}
	return allocator.Answer{Addr: addr}
}

// condition returns a condition of a claim; the zero value if it has none. v1beta2 keeps those of providers that write v1beta1 apart.
func condition(o *unstructured.Unstructured, kind string) metav1.Condition {
	for _, path := range [][]string{{"status", "conditions"}, {"status", "deprecated", "v1beta1", "conditions"}} {
		list, _, _ := unstructured.NestedSlice(o.Object, path...)
		for _, x := range list {
			c, _ := x.(map[string]any)
			text := func(field string) string { s, _ := c[field].(string); return s }
			if text("type") == kind {
				return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(text("status")), Reason: text("reason"), Message: text("message")}
			}
		}
	}
	return metav1.Condition{}
}

// oldestFirst orders IPAddresses, so that which of two answers counts does not depend on who comes first.
func oldestFirst(list []*unstructured.Unstructured) []*unstructured.Unstructured {
	slices.SortFunc(list, func(a, b *unstructured.Unstructured) int {
		at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return cmp.Or(at.Compare(bt.Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	return list
}
