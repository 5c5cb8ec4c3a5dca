package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AddressReservation keeps addresses of pools out of automatic assignment. With a Service, it keeps them for that Service, also
// while the Service does not exist; without one, a Service gets such an address only by asking for it. Nobody loses an address
// by a reservation. Only objects in the installation's namespace count.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=addressreservations,scope=Namespaced
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.service.namespace`
// +kubebuilder:printcolumn:name="Service",type=string,JSONPath=`.spec.service.name`
// +kubebuilder:printcolumn:name="Hold",type=string,JSONPath=`.spec.holdAfterDelete`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AddressReservation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +required
	Spec AddressReservationSpec `json:"spec"`

	// Status is what has been observed.
	// +optional
	Status AddressReservationStatus `json:"status,omitempty"`
}

// AddressReservationSpec says which addresses are kept, and for whom.
type AddressReservationSpec struct {
	// Addresses are written as in an IPAddressPool: CIDRs, or ranges of first and last address; or as single addresses.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=100
	// +required
	Addresses []string `json:"addresses"`

	// Service is who the addresses are kept for. Default: nobody.
	// +optional
	Service *ServiceReference `json:"service,omitempty"`

	// HoldAfterDelete is set on reservations that the controller makes for Services with the annotation
	// fairlead.io/hold-address: how long the addresses stay reserved once the Service is gone.
	// +optional
	HoldAfterDelete *metav1.Duration `json:"holdAfterDelete,omitempty"`
}

// ServiceReference names a Service.
type ServiceReference struct {
	// Namespace of the Service.
	// +kubebuilder:validation:MinLength=1
	// +required
	Namespace string `json:"namespace"`

	// Name of the Service.
	// +kubebuilder:validation:MinLength=1
	// +required
	Name string `json:"name"`
}

// AddressReservationStatus tells whether a reservation is in force, and of a hold that is running out.
type AddressReservationStatus struct {
	// ObservedGeneration is the generation of the spec that the conditions are about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions are Ready, and Stalled while an entry cannot be in force. Holds, which the controller makes itself, have none.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ExpiresAt is when a reservation whose Service is gone ends.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// AddressReservationList is a list of AddressReservation objects.
//
// +kubebuilder:object:root=true
type AddressReservationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AddressReservation `json:"items"`
}
