package v1beta2

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPPeer is a router to which the nodes hold BGP sessions.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
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
// A peerASN of 0 and an empty text count as not set.
//
// +kubebuilder:validation:XValidation:rule=`(has(self.peerASN) && self.peerASN != 0) || has(self.dynamicASN)`,message="set peerASN (1 to 4294967295), or dynamicASN to internal or external",fieldPath=".peerASN",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule=`!has(self.peerASN) || self.peerASN == 0 || !has(self.dynamicASN)`,message="set either peerASN or dynamicASN, not both",fieldPath=".dynamicASN"
// +kubebuilder:validation:XValidation:rule=`(has(self.peerAddress) && self.peerAddress.size() > 0) || (has(self.interface) && self.interface.size() > 0)`,message="set peerAddress, or interface for an unnumbered session",fieldPath=".peerAddress",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule=`!has(self.peerAddress) || self.peerAddress.size() == 0 || !has(self.interface) || self.interface.size() == 0`,message="set either peerAddress or interface, not both",fieldPath=".interface"
// +kubebuilder:validation:XValidation:rule=`!has(self.password) || self.password.size() == 0 || !has(self.passwordSecret) || !has(self.passwordSecret.name) || self.passwordSecret.name.size() == 0`,message="set either password or passwordSecret, not both",fieldPath=".passwordSecret"
// +kubebuilder:validation:XValidation:rule=`!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.peerASN) || self.peerASN != self.myASN`,message="ebgpMultiHop is for peers of another AS: remove it, or correct peerASN or myASN",fieldPath=".ebgpMultiHop"
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

	// PeerASN is the AS number expected of the peer. Either this or dynamicASN is needed.
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	// +optional
	PeerASN uint32 `json:"peerASN,omitempty"`

	// DynamicASN accepts a peer without knowing its AS number: internal takes a peer of the AS myASN, external one of any other AS.
	// +optional
	DynamicASN DynamicASNMode `json:"dynamicASN,omitempty"`

	// LocalASN is shown to this peer in place of myASN, which stays hidden from it. Default: myASN is shown.
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	// +optional
	LocalASN uint32 `json:"localASN,omitempty"`

	// PeerAddress is the IP address to connect to. Either this or interface is needed.
	// +kubebuilder:validation:XValidation:rule=`self.size() == 0 || isIP(self.lowerAscii().replace(':ffff:', ':fffe:'))`,messageExpression=`'"' + self + '" is not an IP address: use one like 192.0.2.1 or 2001:db8::1'`
	// +optional
	PeerAddress string `json:"peerAddress,omitempty"`

	// Interface is the network interface behind which the peer is found by itself (an unnumbered session).
	// +kubebuilder:validation:XValidation:rule=`!self.contains('\n') && !self.contains('\r')`,message="interface must be a single line"
	// +optional
	Interface string `json:"interface,omitempty"`

	// SourceAddress is the local IP address to connect from. Default: chosen by the node.
	// +kubebuilder:validation:XValidation:rule=`self.size() == 0 || isIP(self.lowerAscii().replace(':ffff:', ':fffe:'))`,messageExpression=`'"' + self + '" is not an IP address: use one like 192.0.2.1 or 2001:db8::1'`
	// +optional
	SourceAddress string `json:"sourceAddress,omitempty"`

	// PeerPort is the TCP port of the peer. Default: 179.
	// +kubebuilder:default=179
	// +kubebuilder:validation:Minimum=1
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

	// ConnectTime is how long to wait before the next attempt to connect, in whole seconds from 1s to 65535s.
	// Default: the speaker's own.
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[-+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)([nuµμm]?s|[mh]))+)$')`,messageExpression=`'"' + self + '" is not a duration: use a number and a unit, like 10s'`
	// +kubebuilder:validation:XValidation:rule=`duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535`,message="connectTime must be from 1s to 65535s"
	// +kubebuilder:validation:XValidation:rule=`duration(self).getMilliseconds() % 1000 == 0`,message="connectTime must be in whole seconds"
	// +optional
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`

	// RouterID is the BGP identifier of this side, written as an IPv4 address. Default: an address of the node.
	// +kubebuilder:validation:XValidation:rule=`self.size() == 0 || (isIP(self) ? ip(self).family() == 4 : isIP(self.lowerAscii().replace(':ffff:', ':fffe:')))`,messageExpression=`'"' + self + '" is not a router ID: use an IPv4 address like 192.0.2.1'`
	// +optional
	RouterID string `json:"routerID,omitempty"`

	// NodeSelectors picks the nodes that connect to the peer; a node needs to match one of the selectors. Default: all nodes.
	// +optional
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// Password protects the session by TCP MD5. Either this or passwordSecret can be set. Default: none.
	// +kubebuilder:validation:XValidation:rule=`!self.contains('\n') && !self.contains('\r')`,message="password must be a single line"
	// +optional
	Password string `json:"password,omitempty"`

	// PasswordSecret names a Secret of type kubernetes.io/basic-auth in the install namespace; its key password is the TCP MD5 password.
	// +optional
	PasswordSecret corev1.SecretReference `json:"passwordSecret,omitempty"`

	// BFDProfile names the BFDProfile for a BFD session beside the BGP session. Default: no BFD.
	// +optional
	BFDProfile string `json:"bfdProfile,omitempty"`

	// EnableGracefulRestart has the peer keep the routes while a speaker restarts (RFC 4724). It cannot be changed later. Default: off.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="enableGracefulRestart cannot be changed: delete the peer and create it again"
	// +optional
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// EBGPMultiHop allows a peer of another AS that is more than one hop away. Default: off.
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// VRFName is the VRF in which the session runs. Default: the main routing table.
	// +kubebuilder:validation:XValidation:rule=`!self.contains('\n') && !self.contains('\r')`,message="vrf must be a single line"
	// +optional
	VRFName string `json:"vrf,omitempty"`

	// DisableMP has no effect.
	//
	// Deprecated: use dualStackAddressFamily.
	// +kubebuilder:default=false
	// +optional
	DisableMP bool `json:"disableMP,omitempty"`

	// DualStackAddressFamily carries IPv4 and IPv6 routes over this one session. Default: each session carries the routes of its own family.
	// +kubebuilder:default=false
	// +optional
	DualStackAddressFamily bool `json:"dualStackAddressFamily,omitempty"`
}

// BGPPeerStatus is empty; the kind keeps it so that older clients can write it.
type BGPPeerStatus struct{}

// DynamicASNMode says which AS numbers a peer may have.
//
// +kubebuilder:validation:Enum=internal;external
type DynamicASNMode string

const (
	// InternalASN takes a peer of the same AS.
	InternalASN DynamicASNMode = "internal"

	// ExternalASN takes a peer of any other AS.
	ExternalASN DynamicASNMode = "external"
)

// BGPPeerList is a list of BGPPeer objects.
//
// +kubebuilder:object:root=true
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPPeer `json:"items"`
}
