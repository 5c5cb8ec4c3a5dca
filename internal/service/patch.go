package service

import (
	"encoding/json"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
)

// Patch returns the merge patch (RFC 7386) of the status subresource from svc to want, or nil if they are equal.
func Patch(svc, want *corev1.Service) []byte {
	metadata := map[string]any{}
	status := map[string]any{}
	mark := func(field, key string, from, to map[string]string) {
		before, had := from[key]
		after, has := to[key]
		switch {
		case has && (!had || before != after):
			metadata[field] = map[string]any{key: after}
		case had && !has:
			metadata[field] = map[string]any{key: nil}
		}
	}
	mark("labels", LabelPool, svc.Labels, want.Labels)
	mark("annotations", AnnotationFromPool, svc.Annotations, want.Annotations)
	if !equality.Semantic.DeepEqual(svc.Status.LoadBalancer.Ingress, want.Status.LoadBalancer.Ingress) {
		status["loadBalancer"] = map[string]any{"ingress": want.Status.LoadBalancer.Ingress}
	}
	if !equality.Semantic.DeepEqual(svc.Status.Conditions, want.Status.Conditions) {
		status["conditions"] = want.Status.Conditions
	}
	if len(metadata)+len(status) == 0 {
		return nil
	}
	metadata["resourceVersion"] = svc.ResourceVersion
	patch := map[string]any{"metadata": metadata}
	if len(status) > 0 {
		patch["status"] = status
	}
	b, err := json.Marshal(patch)
	if err != nil {
		panic("service: a status patch does not marshal: " + err.Error())
	}
	return b
}

// TakeBack removes from svc everything that was written here, and unless foreign is set, because somebody else wrote them, the addresses.
// It returns the addresses that it removed.
func TakeBack(svc *corev1.Service, foreign bool) []netip.Addr {
	delete(svc.Annotations, AnnotationFromPool)
	unmark(svc)
	had := ShownAddresses(svc)
	if len(had) == 0 || foreign {
		return nil
	}
	SetIngress(svc, nil)
	return had
}

// unmark removes the label and the conditions.
func unmark(svc *corev1.Service) {
	delete(svc.Labels, LabelPool)
	meta.RemoveStatusCondition(&svc.Status.Conditions, ConditionAllocated)
	meta.RemoveStatusCondition(&svc.Status.Conditions, ConditionAdvertised)
}

// Leave returns the merge patch with which an installation that serves classes leaves a Service: its marks and conditions go, and with
// release the addresses, too, unless somebody else wrote them. It returns nil if there is nothing to do.
func Leave(svc *corev1.Service, classes []string, release bool) []byte {
	_, labelled := svc.Labels[LabelPool]
	if !labelled && meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated) == nil || !Serves(svc, classes) {
		return nil
	}
	want := svc.DeepCopy()
	if release {
		TakeBack(want, Overwritten(svc, ShownAddresses(svc)))
	} else {
		unmark(want)
	}
	return Patch(svc, want)
}
