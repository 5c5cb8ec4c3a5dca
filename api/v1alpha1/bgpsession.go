package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPSession tells of one BGP session of a speaker: there is one object for each node and BGPPeer, in the installation's namespace. The
// speaker of the node writes it when the state changes, and the counters once a minute at most.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=bgpsessions,scope=Namespaced
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Peer",type=string,JSONPath=`.status.peer`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.address`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="BFD",type=string,JSONPath=`.status.bfd`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.status.since`
// +kubebuilder:printcolumn:name="Prefixes",type=integer,JSONPath=`.status.prefixesSent`
// +kubebuilder:printcolumn:name="Last Error",type=string,JSONPath=`.status.lastError`
type BGPSession struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Status is what has been observed.
	// +optional
	Status BGPSessionStatus `json:"status,omitempty"`
}

// BGPSessionStatus is how a session is doing.
type BGPSessionStatus struct {
	// Node is the node of the speaker.
	// +optional
	Node string `json:"node,omitempty"`

	// Peer is the name of the BGPPeer.
	// +optional
	Peer string `json:"peer,omitempty"`

	// Address is the address of the peer, or the interface on which it is looked for.
	// +optional
	Address string `json:"address,omitempty"`

	// State is the state of the session (RFC 4271, 8.2.2): Idle, Connect, Active, OpenSent, OpenConfirm or Established.
	// +optional
	State string `json:"state,omitempty"`

	// Since is when the session was established, or lost.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`

	// BFD is the state of the BFD session (RFC 5880, 6.2): AdminDown, Down, Init or Up; empty without BFD.
	// +optional
	BFD string `json:"bfd,omitempty"`

	// PrefixesSent is how many prefixes are advertised to the peer.
	// +optional
	PrefixesSent int64 `json:"prefixesSent"`

	// LastError says why the session was lost, or could not be established, the last time.
	// +optional
	LastError string `json:"lastError,omitempty"`
}

// BGPSessionList is a list of BGPSession objects.
//
// +kubebuilder:object:root=true
type BGPSessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPSession `json:"items"`
}
