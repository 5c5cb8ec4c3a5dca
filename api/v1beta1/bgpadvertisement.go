package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPAdvertisement has the addresses of pools advertised to BGP peers.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="IPAddressPools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="IPAddressPool Selectors",type=string,JSONPath=`.spec.ipAddressPoolSelectors`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.spec.peers`
// +kubebuilder:printcolumn:name="Node Selectors",type=string,JSONPath=`.spec.nodeSelectors`,priority=10
type BGPAdvertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +optional
	Spec BGPAdvertisementSpec `json:"spec,omitempty"`

	// Status is what has been observed.
	// +optional
	Status BGPAdvertisementStatus `json:"status,omitempty"`
}

// BGPAdvertisementSpec says which addresses are advertised, from which nodes, to which peers, and how.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || ((!has(self.aggregationLength) || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))`,message="serviceSelectors need whole addresses: leave aggregationLength at 32 and aggregationLengthV6 at 128",fieldPath=".serviceSelectors"
type BGPAdvertisementSpec struct {
	// AggregationLength is the length in bits of the IPv4 prefix that is advertised for an address: 32 is the address itself.
	// Default: 32.
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	// +optional
	AggregationLength *int32 `json:"aggregationLength,omitempty"`

	// AggregationLengthV6 is the same for IPv6: 128 is the address itself. Default: 128.
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=128
	// +optional
	AggregationLengthV6 *int32 `json:"aggregationLengthV6,omitempty"`

	// LocalPref is the LOCAL_PREF attribute of the routes; peers of the same AS prefer the higher value. Default: 0.
	// +kubebuilder:validation:Minimum=0
	// +optional
	LocalPref uint32 `json:"localPref,omitempty"`

	// Communities are set on the routes: 64512:100 (two 16-bit numbers), large:64512:1:2 (three 32-bit numbers), or the name of
	// an alias of a Community object. Any text that does not look like numbers is taken as a name. At most 63.
	// +kubebuilder:validation:MaxItems=63
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule=`!self.contains(':') || !self.matches('^(large:|[0-9:]*$)') || self.matches('^(0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4}):0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})|large(:0*(429496729[0-5]|42949672[0-8][0-9]|4294967[01][0-9]{2}|429496[0-6][0-9]{3}|42949[0-5][0-9]{4}|4294[0-8][0-9]{5}|429[0-3][0-9]{6}|42[0-8][0-9]{7}|4[01][0-9]{8}|[1-3]?[0-9]{1,9})){3})$')`,messageExpression=`'"' + self + '" is not a BGP community: use two numbers up to 65535 like 64512:100, or large:64512:1:2 with numbers up to 4294967295, or the name of a Community alias'`
	// +kubebuilder:validation:XValidation:rule=`self.all(a, self.exists_one(b, a == b))`,message="a community is listed twice: list each one once"
	// +optional
	Communities []string `json:"communities,omitempty"`

	// IPAddressPools names the pools whose addresses are advertised, besides those picked by ipAddressPoolSelectors.
	// Default, if both are empty: all pools.
	// +optional
	IPAddressPools []string `json:"ipAddressPools,omitempty"`

	// IPAddressPoolSelectors picks pools by their labels; a pool needs to match one of the selectors.
	// +optional
	IPAddressPoolSelectors []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// NodeSelectors picks the nodes that advertise; a node needs to match one of the selectors. Default: all nodes.
	// +optional
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// ServiceSelectors picks the Services whose addresses are advertised; a Service needs to match one of the selectors.
	// Default: all Services. Not to be combined with aggregation.
	// +optional
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`

	// Peers names the BGPPeer objects that hear the routes. Default: all peers.
	// +optional
	Peers []string `json:"peers,omitempty"`
}

// BGPAdvertisementStatus is empty; the kind keeps it so that older clients can write it.
type BGPAdvertisementStatus struct{}

// BGPAdvertisementList is a list of BGPAdvertisement objects.
//
// +kubebuilder:object:root=true
type BGPAdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPAdvertisement `json:"items"`
}
