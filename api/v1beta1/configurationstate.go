package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConfigurationState tells whether one process, the controller or the speaker of a node, could use the configuration.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="ErrorSummary",type=string,JSONPath=`.status.errorSummary`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ConfigurationState struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Status is what has been observed.
	// +optional
	Status ConfigurationStateStatus `json:"status,omitempty"`
}

// ConfigurationStateStatus is what one process found.
type ConfigurationStateStatus struct {
	// Result sums up the conditions: Valid, Invalid, or Unknown as long as nothing has been read.
	// +optional
	Result ConfigurationResult `json:"result,omitempty"`

	// ErrorSummary names what is wrong; empty when the result is Valid.
	// +optional
	ErrorSummary string `json:"errorSummary,omitempty"`

	// Conditions has an entry for each part of the process that reads the configuration.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConfigurationResult says whether the configuration could be used.
//
// +kubebuilder:validation:Enum=Valid;Invalid;Unknown
type ConfigurationResult string

const (
	// ConfigurationValid means that the whole configuration is in use.
	ConfigurationValid ConfigurationResult = "Valid"

	// ConfigurationInvalid means that some of the configuration is set aside.
	ConfigurationInvalid ConfigurationResult = "Invalid"

	// ConfigurationUnknown means that the configuration has not been judged.
	ConfigurationUnknown ConfigurationResult = "Unknown"
)

// ConfigurationStateList is a list of ConfigurationState objects.
//
// +kubebuilder:object:root=true
type ConfigurationStateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ConfigurationState `json:"items"`
}
