package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPPeer is a router to which the nodes hold BGP sessions.
// The stored version is v1beta2; every field of this one has the same name there.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:deprecatedversion:warning="metallb.io/v1beta1 BGPPeer is deprecated, use metallb.io/v1beta2: the fields keep their names"
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.peerAddress`
// +kubebuilder:printcolumn:name="ASN",type=string,JSONPath=`.spec.peerASN`
// +kubebuilder:printcolumn:name="BFD Profile",type=string,JSONPath=`.spec.bfdProfile`
// +kubebuilder:printcolumn:name="Multi Hops",type=string,JSONPath=`.spec.ebgpMultiHop`
type BGPPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +optional
	Spec BGPPeerSpec `json:"spec,omitempty"`

	// Status is what has been observed.
	// +optional
	Status BGPPeerStatus `json:"status,omitempty"`
}

// BGPPeerSpec says whom to connect to, as whom, and with which settings.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.ebgpMultiHop) || !self.ebgpMultiHop || self.peerASN != self.myASN`,message="ebgpMultiHop is for peers of another AS: remove it, or correct peerASN or myASN",fieldPath=".ebgpMultiHop"
// +kubebuilder:validation:XValidation:rule=`!has(self.holdTime) || !has(self.keepaliveTime) || !self.holdTime.matches('^[-+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)([nuµμm]?s|[mh]))+)$') || !self.keepaliveTime.matches('^[-+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)([nuµμm]?s|[mh]))+)$') || duration(self.keepaliveTime) <= duration(self.holdTime)`,messageExpression=`'keepaliveTime ' + self.keepaliveTime + ' is longer than holdTime ' + self.holdTime + ': use a third of the hold time or less'`,fieldPath=".keepaliveTime"
// +kubebuilder:validation:XValidation:rule=`has(self.holdTime) || !has(self.keepaliveTime) || !self.keepaliveTime.matches('^[-+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)([nuµμm]?s|[mh]))+)$') || duration(self.keepaliveTime).getMilliseconds() >= 1000 || duration(self.keepaliveTime).getMilliseconds() * 3 / 1000 == 0`,message="without holdTime the hold time is three times keepaliveTime, which must be at least 1s",fieldPath=".keepaliveTime"
type BGPPeerSpec struct {
	// MyASN is the AS number of this side.
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	// +kubebuilder:validation:XValidation:rule=`self > 0`,message="myASN must be the AS number of this side, 1 to 4294967295"
	// +required
	MyASN uint32 `json:"myASN"`

	// PeerASN is the AS number expected of the peer.
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	// +kubebuilder:validation:XValidation:rule=`self > 0`,message="peerASN must be the AS number of the peer, 1 to 4294967295"
	// +required
	PeerASN uint32 `json:"peerASN"`

	// PeerAddress is the IP address to connect to.
	// +kubebuilder:validation:XValidation:rule=`isIP(self.lowerAscii().replace(':ffff:', ':fffe:'))`,messageExpression=`'"' + self + '" is not an IP address: use one like 192.0.2.1 or 2001:db8::1'`
	// +required
	PeerAddress string `json:"peerAddress"`

	// SourceAddress is the local IP address to connect from. Default: chosen by the node.
	// +kubebuilder:validation:XValidation:rule=`self.size() == 0 || isIP(self.lowerAscii().replace(':ffff:', ':fffe:'))`,messageExpression=`'"' + self + '" is not an IP address: use one like 192.0.2.1 or 2001:db8::1'`
	// +optional
	SourceAddress string `json:"sourceAddress,omitempty"`

	// PeerPort is the TCP port of the peer. Default: 179. 0 stands for the default.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16384
	// +optional
	PeerPort uint16 `json:"peerPort,omitempty"`

	// HoldTime is how long the session lives without a message, as a duration in whole seconds: at least 3s, or 0s for no limit;
	// fractions of a second are dropped. Default: three times keepaliveTime if that is set, else the speaker's own.
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[-+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)([nuµμm]?s|[mh]))+)$')`,messageExpression=`'"' + self + '" is not a duration: use a number and a unit, like 90s'`
	// +kubebuilder:validation:XValidation:rule=`!self.matches('^[-+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)([nuµμm]?s|[mh]))+)$') || duration(self).getSeconds() == 0 || duration(self).getSeconds() >= 3`,messageExpression=`'hold time "' + self + '" is too short: use 0s, which turns it off, or at least 3s'`
	// +optional
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`

	// KeepaliveTime is the time between keepalive messages, not longer than holdTime. Default: a third of holdTime.
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[-+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)([nuµμm]?s|[mh]))+)$')`,messageExpression=`'"' + self + '" is not a duration: use a number and a unit, like 30s'`
	// +optional
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`

	// RouterID is the BGP identifier of this side, written as an IPv4 address. Default: an address of the node.
	// +kubebuilder:validation:XValidation:rule=`self.size() == 0 || (isIP(self) ? ip(self).family() == 4 : isIP(self.lowerAscii().replace(':ffff:', ':fffe:')))`,messageExpression=`'"' + self + '" is not a router ID: use an IPv4 address like 192.0.2.1'`
	// +optional
	RouterID string `json:"routerID,omitempty"`

	// NodeSelectors picks the nodes that connect to the peer; a node needs to match one of the selectors. Default: all nodes.
	// +optional
	NodeSelectors []NodeSelector `json:"nodeSelectors,omitempty"`

	// Password protects the session by TCP MD5. Default: none.
	// +kubebuilder:validation:XValidation:rule=`!self.contains('\n') && !self.contains('\r')`,message="password must be a single line"
	// +optional
	Password string `json:"password,omitempty"`

	// BFDProfile names the BFDProfile for a BFD session beside the BGP session. Default: no BFD.
	// +optional
	BFDProfile string `json:"bfdProfile,omitempty"`

	// EBGPMultiHop allows a peer of another AS that is more than one hop away. Default: off.
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`
}

// BGPPeerStatus is empty; the kind keeps it so that older clients can write it.
type BGPPeerStatus struct{}

// NodeSelector matches nodes by their labels; all that it holds must be met.
type NodeSelector struct {
	// MatchLabels are labels that the node must carry with these values.
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`

	// MatchExpressions are further conditions on labels.
	// +optional
	MatchExpressions []MatchExpression `json:"matchExpressions,omitempty"`
}

// MatchExpression is one condition on a label.
type MatchExpression struct {
	// Key is the name of the label.
	Key string `json:"key"`

	// Operator relates the key to the values: In, NotIn, Exists or DoesNotExist.
	Operator string `json:"operator"`

	// Values are what the operator compares the label with; at least one, also where the operator does not look at it.
	// +kubebuilder:validation:MinItems=1
	Values []string `json:"values"`
}

// BGPPeerList is a list of BGPPeer objects.
//
// +kubebuilder:object:root=true
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPPeer `json:"items"`
}
