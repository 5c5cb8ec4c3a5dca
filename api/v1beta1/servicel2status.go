package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServiceL2Status tells which node announces the addresses of one Service on the local network.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Allocated Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Service Name",type=string,JSONPath=`.status.serviceName`
// +kubebuilder:printcolumn:name="Service Namespace",type=string,JSONPath=`.status.serviceNamespace`
type ServiceL2Status struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +optional
	Spec ServiceL2StatusSpec `json:"spec,omitempty"`

	// Status is what has been observed.
	// +optional
	Status ServiceL2StatusStatus `json:"status,omitempty"`
}

// ServiceL2StatusSpec is empty: nothing can be asked of this kind.
type ServiceL2StatusSpec struct{}

// ServiceL2StatusStatus is written by the speakers.
type ServiceL2StatusStatus struct {
	// Node is the node that announces. It cannot be changed.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="node cannot be changed"
	// +optional
	Node string `json:"node,omitempty"`

	// ServiceName is the name of the Service. It cannot be changed.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="serviceName cannot be changed"
	// +optional
	ServiceName string `json:"serviceName,omitempty"`

	// ServiceNamespace is the namespace of the Service. It cannot be changed.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="serviceNamespace cannot be changed"
	// +optional
	ServiceNamespace string `json:"serviceNamespace,omitempty"`

	// Interfaces are the network interfaces announced on; empty stands for all.
	// +optional
	Interfaces []InterfaceInfo `json:"interfaces,omitempty"`
}

// InterfaceInfo is a network interface of a node.
type InterfaceInfo struct {
	// Name is the name of the interface on the node.
	// +optional
	Name string `json:"name,omitempty"`
}

// ServiceL2StatusList is a list of ServiceL2Status objects.
//
// +kubebuilder:object:root=true
type ServiceL2StatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceL2Status `json:"items"`
}
