package service

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ingressField is how managed fields name status.loadBalancer.ingress; the list is atomic: who changes one entry owns all.
const ingressField = `"f:ingress"`

// wroteIngress stands for that field in what otherWriters keeps.
var wroteIngress = &metav1.FieldsV1{Raw: []byte(`{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`)}

// otherWriters returns who apart from us wrote to the status, with no more of the fields than whether the addresses were among them.
func otherWriters(in []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var out []metav1.ManagedFieldsEntry
	for _, e := range in {
		if e.Subresource != "status" || e.Manager == FieldManager {
			continue
		}
		kept := metav1.ManagedFieldsEntry{Manager: e.Manager, Subresource: e.Subresource}
		if e.FieldsV1 != nil && strings.Contains(e.FieldsV1.GetRawString(), ingressField) {
			kept.FieldsV1 = wroteIngress
		}
		out = append(out, kept)
	}
	return out
}

// WriterOf returns the field manager that put the addresses in the status of svc there; empty if it is us, or unknown.
func WriterOf(svc *corev1.Service) string {
	for _, e := range otherWriters(svc.ManagedFields) {
		if e.FieldsV1 != nil {
			return e.Manager
		}
	}
	return ""
}

// Suspects returns the field managers apart from us that wrote to the status of svc. One of them may have emptied a list:
// what is gone has no manager.
func Suspects(svc *corev1.Service) []string {
	var out []string
	for _, e := range otherWriters(svc.ManagedFields) {
		if !slices.Contains(out, e.Manager) {
			out = append(out, e.Manager)
		}
	}
	return out
}
