package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Backend tells about one way in which addresses are made reachable: which advertisements it serves, through which API,
// what it has written, and whether it works. The controller writes it; nothing needs to be set by hand.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=backends,scope=Cluster
// +kubebuilder:printcolumn:name="Serves",type=string,JSONPath=`.status.serves`
// +kubebuilder:printcolumn:name="API",type=string,JSONPath=`.status.apiVersion`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Backend struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +optional
	Spec BackendSpec `json:"spec,omitempty"`

	// Status is what has been observed.
	// +optional
	Status BackendStatus `json:"status,omitempty"`
}

// BackendSpec is empty: nothing can be asked of this kind.
type BackendSpec struct{}

// BackendStatus is what the controller found out, and what it did.
type BackendStatus struct {
	// Serves lists the kinds of advertisement that this backend makes reachable: bgp, layer2.
	// +optional
	// +listType=set
	Serves []string `json:"serves,omitempty"`

	// APIVersion is the group and version of the CNI's objects that are written, like projectcalico.org/v3.
	// Empty for a backend that writes none.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Detected is what was found out about the CNI.
	// +optional
	// +listType=map
	// +listMapKey=name
	Detected []DetectedFact `json:"detected,omitempty"`

	// Owned records what this backend has written, so that it can be taken back completely.
	// +optional
	Owned OwnedObjects `json:"owned,omitempty"`

	// Conditions tells how the backend is doing. Ready is always among them; the others are there only while they are true:
	// BackendInactive, ConfigFrozen, Contended, CoveredByExisting, HandingOver, IPAMConflict, PeerExists, SharedAddress, UnsupportedField.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DetectedFact is one thing that was found out about the CNI.
type DetectedFact struct {
	// Name of the fact, like bgp.
	Name string `json:"name"`

	// Value is what was found, like on.
	// +optional
	Value string `json:"value,omitempty"`

	// Source is where it was found, like ConfigMap kube-system/cilium-config.
	// +optional
	Source string `json:"source,omitempty"`
}

// OwnedObjects records what a backend has written into the CNI's objects.
type OwnedObjects struct {
	// APIVersion is the group and version through which the objects were written.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// CreatedDefault is true if the controller created the BGPConfiguration "default" itself.
	// +optional
	CreatedDefault bool `json:"createdDefault,omitempty"`

	// Prefixes are the prefixes that were added.
	// +optional
	// +listType=map
	// +listMapKey=prefix
	Prefixes []OwnedPrefix `json:"prefixes,omitempty"`

	// Communities are the communities that were added, by prefix.
	// +optional
	// +listType=atomic
	Communities []OwnedCommunities `json:"communities,omitempty"`

	// Aggregation is set while serviceLoadBalancerAggregation of the BGPConfiguration "default" is not as it was found.
	// +optional
	Aggregation *OwnedAggregation `json:"aggregation,omitempty"`

	// Objects are the CNI's objects that were made, as Kind/name or Kind/namespace/name.
	// +optional
	// +listType=set
	Objects []string `json:"objects,omitempty"`
}

// OwnedCommunities are communities that a backend has written.
type OwnedCommunities struct {
	// Prefix is the prefix in CIDR form.
	Prefix string `json:"prefix"`

	// Communities are the communities of its routes.
	// +optional
	// +listType=atomic
	Communities []string `json:"communities,omitempty"`
}

// OwnedAggregation is a setting that a backend has changed.
type OwnedAggregation struct {
	// Before is the value that was found, empty if there was none.
	// +optional
	Before string `json:"before,omitempty"`

	// Set is the value that was written.
	Set string `json:"set"`
}

// OwnedPrefix is a prefix that a backend has written.
type OwnedPrefix struct {
	// Prefix is the prefix in CIDR form.
	Prefix string `json:"prefix"`

	// Pool is the name of the IPAddressPool that the prefix comes from.
	// +optional
	Pool string `json:"pool,omitempty"`
}

// BackendList is a list of Backend objects.
//
// +kubebuilder:object:root=true
type BackendList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Backend `json:"items"`
}
