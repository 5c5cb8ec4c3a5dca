// Package v1beta1 holds the Go types of the metallb.io/v1beta1 API: address pools, advertisements, BGP settings and the status objects.
//
// Every manifest that MetalLB accepts is accepted here unchanged. The rules that need one object only are
// part of the CRD; the rules across objects are the controller's.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta1
