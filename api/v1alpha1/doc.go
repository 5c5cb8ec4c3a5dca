// Package v1alpha1 holds the Go types of the fairlead.io/v1alpha1 API, which Fairlead writes for its users to read.
//
// +kubebuilder:object:generate=true
// +groupName=fairlead.io
package v1alpha1
