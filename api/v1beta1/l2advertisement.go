package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// L2Advertisement has the addresses of pools announced on the local network by ARP and NDP.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="IPAddressPools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="IPAddressPool Selectors",type=string,JSONPath=`.spec.ipAddressPoolSelectors`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.spec.interfaces`
// +kubebuilder:printcolumn:name="Node Selectors",type=string,JSONPath=`.spec.nodeSelectors`,priority=10
type L2Advertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +optional
	Spec L2AdvertisementSpec `json:"spec,omitempty"`

	// Status is what has been observed.
	// +optional
	Status L2AdvertisementStatus `json:"status,omitempty"`
}

// L2AdvertisementSpec says which addresses are announced, from which nodes and on which interfaces.
type L2AdvertisementSpec struct {
	// IPAddressPools names the pools whose addresses are announced, besides those picked by ipAddressPoolSelectors.
	// Default, if both are empty: all pools.
	// +optional
	IPAddressPools []string `json:"ipAddressPools,omitempty"`

	// IPAddressPoolSelectors picks pools by their labels; a pool needs to match one of the selectors.
	// +optional
	IPAddressPoolSelectors []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// NodeSelectors picks the nodes that may announce; a node needs to match one of the selectors. Default: all nodes.
	// +optional
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// PreferredNodeSelectors weighs the nodes that may announce: the highest sum of matching weights wins. Default: all are equal.
	// +optional
	PreferredNodeSelectors []PreferredNodeSelector `json:"preferredNodeSelectors,omitempty"`

	// Interfaces names the network interfaces to announce on. Default: all interfaces.
	// +optional
	Interfaces []string `json:"interfaces,omitempty"`

	// ServiceSelectors picks the Services whose addresses are announced; a Service needs to match one of the selectors.
	// Default: all Services.
	// +optional
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// L2AdvertisementStatus is empty; the kind keeps it so that older clients can write it.
type L2AdvertisementStatus struct{}

// PreferredNodeSelector gives a weight to the nodes that match.
type PreferredNodeSelector struct {
	// Weight is added for a node that matches, from 1 to 100.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +required
	Weight int32 `json:"weight"`

	// Preference is the selector that the node's labels are matched with.
	// +required
	Preference metav1.LabelSelector `json:"preference"`
}

// L2AdvertisementList is a list of L2Advertisement objects.
//
// +kubebuilder:object:root=true
type L2AdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []L2Advertisement `json:"items"`
}
