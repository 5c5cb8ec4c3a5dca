package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Community gives names to BGP communities.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
type Community struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +optional
	Spec CommunitySpec `json:"spec,omitempty"`

	// Status is what has been observed.
	// +optional
	Status CommunityStatus `json:"status,omitempty"`
}

// CommunitySpec holds the aliases.
type CommunitySpec struct {
	// The rule on double names compares each pair, which at run time is too dear for a long list of long names: above 128 entries
	// the controller looks for them.

	// Communities gives names to BGP communities, each name once. At most 256.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule=`self.size() > 128 || self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))`,message="an alias name is used twice: give each community its own name"
	// +optional
	Communities []CommunityAlias `json:"communities,omitempty"`
}

// CommunityStatus is empty; the kind keeps it so that older clients can write it.
type CommunityStatus struct{}

// CommunityAlias is a name for a BGP community.
//
// +kubebuilder:validation:XValidation:rule=`has(self.value)`,message="value is missing: use two numbers like 64512:100, or large:64512:1:2",fieldPath=".value",reason=FieldValueRequired
type CommunityAlias struct {
	// Name is what BGPAdvertisement objects use for the value. At most 253 characters.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Name string `json:"name,omitempty"`

	// Value is the community: 64512:100 (two 16-bit numbers) or large:64512:1:2 (three 32-bit numbers).
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^(0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4}):0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})|large(:0*(429496729[0-5]|42949672[0-8][0-9]|4294967[01][0-9]{2}|429496[0-6][0-9]{3}|42949[0-5][0-9]{4}|4294[0-8][0-9]{5}|429[0-3][0-9]{6}|42[0-8][0-9]{7}|4[01][0-9]{8}|[1-3]?[0-9]{1,9})){3})$')`,messageExpression=`'"' + self + '" is not a BGP community: use two numbers up to 65535 like 64512:100, or large:64512:1:2 with numbers up to 4294967295'`
	// +optional
	Value string `json:"value,omitempty"`
}

// CommunityList is a list of Community objects.
//
// +kubebuilder:object:root=true
type CommunityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Community `json:"items"`
}
