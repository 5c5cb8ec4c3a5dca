package service

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Annotation returns what svc asks under either prefix, and the full key; the key is empty if it asks nothing.
// Presence decides, not the value: an empty metallb.io/ annotation hides the deprecated one.
func Annotation(svc *corev1.Service, name string) (value, key string) {
	for _, prefix := range []string{Prefix, deprecatedPrefix} {
		if v, ok := svc.Annotations[prefix+name]; ok {
			return v, prefix + name
		}
	}
	return "", ""
}

// DeprecatedAnnotations returns the keys of the old prefix that svc asks with.
func DeprecatedAnnotations(svc *corev1.Service) []string {
	var out []string
	for _, name := range []string{AskPool, AskAddresses, AskSharing} {
		if _, key := Annotation(svc, name); strings.HasPrefix(key, deprecatedPrefix) {
			out = append(out, key)
		}
	}
	return out
}

// Ask is one thing that a Service asks for.
type Ask struct {
	// Field is where it asks: "metadata.annotations[metallb.io/address-pool]".
	Field string
	Value string
	// Hidden is set if it does not count, because the same is asked under the prefix metallb.io/.
	Hidden bool
}

// Asked returns what svc asks for by annotations and by spec.loadBalancerIP, those that count first.
func Asked(svc *corev1.Service) []Ask {
	var out, hidden []Ask
	field := func(key string) string { return "metadata.annotations[" + key + "]" }
	for _, name := range []string{AskPool, AskAddresses, AskSharing} {
		value, key := Annotation(svc, name)
		if key != "" {
			out = append(out, Ask{Field: field(key), Value: value})
		}
		if old, ok := svc.Annotations[deprecatedPrefix+name]; ok && key != deprecatedPrefix+name {
			hidden = append(hidden, Ask{Field: field(deprecatedPrefix + name), Value: old, Hidden: true})
		}
	}
	for _, key := range []string{AnnotationPools, AnnotationHold, AnnotationShareWith} {
		if value, ok := svc.Annotations[key]; ok {
			out = append(out, Ask{Field: field(key), Value: value})
		}
	}
	if svc.Spec.LoadBalancerIP != "" {
		out = append(out, Ask{Field: "spec.loadBalancerIP", Value: svc.Spec.LoadBalancerIP})
	}
	return append(out, hidden...)
}

// Class returns the spec.loadBalancerClass of svc, empty if it has none.
func Class(svc *corev1.Service) string {
	if svc.Spec.LoadBalancerClass == nil {
		return ""
	}
	return *svc.Spec.LoadBalancerClass
}

// Serves reports whether svc is of the type that is served and of one of the classes; an empty one stands for Services without a class.
func Serves(svc *corev1.Service, classes []string) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && slices.Contains(classes, Class(svc))
}

// Shares reports whether svc asks to share its addresses.
func Shares(svc *corev1.Service) bool {
	_, key := Annotation(svc, AskSharing)
	return key != ""
}
