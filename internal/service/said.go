package service

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the message of ReasonForeignStatus says and, after a restart, is read again: nothing else survives.
const (
	// InOurPool says that a pool has the addresses, and that they are left alone all the same.
	InOurPool = ", although it lies in pool "
	// KeptMark follows the addresses that the Service had before, and has again when the other writer gives way.
	KeptMark = " is kept for the Service"
)

// Kept returns the addresses that were kept for a Service whose status is somebody else's.
func Kept(svc *corev1.Service) []netip.Addr {
	said := meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated)
	if said == nil || said.Reason != ReasonForeignStatus {
		return nil
	}
	before, _, found := strings.Cut(said.Message, KeptMark)
	if !found {
		return nil
	}
	var out []netip.Addr
	for s := range strings.SplitSeq(before[strings.LastIndex(before, ". ")+1:], ",") {
		addr, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return nil
		}
		out = append(out, addr)
	}
	return OnePerFamily(out)
}

// Overwritten reports whether somebody else replaced the addresses in the status of svc while no controller ran: they are not
// those that our own condition, which went with our last write, speaks of.
func Overwritten(svc *corev1.Service, shown []netip.Addr) bool {
	said := meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated)
	if WriterOf(svc) == "" || said == nil {
		return false
	}
	return said.Reason == ReasonForeignStatus && !SameAddresses(shown, Kept(svc)) ||
		said.Status == metav1.ConditionTrue && !Names(said.Message, shown)
}

// Names reports whether a message names all of the addresses.
func Names(message string, addrs []netip.Addr) bool {
	words := strings.Fields(strings.ReplaceAll(message, ",", " "))
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !slices.Contains(words, a.String()) })
}

// OnePerFamily returns the first address of each family.
func OnePerFamily(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, addr := range addrs {
		if !slices.ContainsFunc(out, func(t netip.Addr) bool { return t.Unmap().Is4() == addr.Unmap().Is4() }) {
			out = append(out, addr)
		}
	}
	return out
}

// SameAddresses reports whether both hold the same addresses, in any order.
func SameAddresses(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}
