package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServiceBGPStatus tells to which peers one node advertises the addresses of one Service.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Service Name",type=string,JSONPath=`.status.serviceName`
// +kubebuilder:printcolumn:name="Service Namespace",type=string,JSONPath=`.status.serviceNamespace`
type ServiceBGPStatus struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +optional
	Spec ServiceBGPStatusSpec `json:"spec,omitempty"`

	// Status is what has been observed.
	// +optional
	Status ServiceBGPStatusStatus `json:"status,omitempty"`
}

// ServiceBGPStatusSpec is empty: nothing can be asked of this kind.
type ServiceBGPStatusSpec struct{}

// ServiceBGPStatusStatus is written by the speakers.
type ServiceBGPStatusStatus struct {
	// Node is the node that advertises. It cannot be changed.
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

	// Peers names the BGPPeer objects for which the routes are configured, sorted; a listed session need not be up.
	// +optional
	Peers []string `json:"peers,omitempty"`
}

// ServiceBGPStatusList is a list of ServiceBGPStatus objects.
//
// +kubebuilder:object:root=true
type ServiceBGPStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceBGPStatus `json:"items"`
}
