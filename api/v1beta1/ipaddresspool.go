package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IPAddressPool is a set of addresses for Services of type LoadBalancer.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Auto Assign",type=boolean,JSONPath=`.spec.autoAssign`
// +kubebuilder:printcolumn:name="Avoid Buggy IPs",type=boolean,JSONPath=`.spec.avoidBuggyIPs`
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
type IPAddressPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user asks for.
	// +required
	Spec IPAddressPoolSpec `json:"spec"`

	// Status is what has been observed.
	// +optional
	Status IPAddressPoolStatus `json:"status,omitempty"`
}

// IPAddressPoolSpec says which addresses the pool holds and who may have them.
type IPAddressPoolSpec struct {
	// How the rules on Addresses work. CEL refuses IPv4 in IPv6 form (::ffff:192.0.2.1), which MetalLB takes: the syntax rule
	// looks at such an address with fffe in place of ffff, and the family and the order of a range with such an end are left to
	// the controller. CEL knows no order of IP addresses, but it compares strings, so the last rule writes both ends as lists of
	// groups of four digits, which come in the order of the addresses: 2001:db8::1 as ["2001", "0db8", "0000", ..., "0001"], and
	// 192.0.2.1 as ["0192", "0000", "0002", "0001"]. An IPv6 address has 7 colons, or 6 if it ends in IPv4: where there are fewer
	// or one more, :: is made as long as it takes, an empty group counts as 0000. Only ends in one notation can be compared so: a
	// range with an IPv4 tail at one end only is left to the controller as well. [x].all(y, ...) gives x the name y. The limits
	// on fields and in split() keep the estimated cost of the rules within the API server's budget.

	// Addresses are the ranges of the pool, in the order in which they are used up: a CIDR like 192.0.2.0/24 or 2001:db8::/64,
	// or first and last address like 192.0.2.10-192.0.2.20. At least one and at most 1024, of at most 100 characters each.
	//
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=100
	// +kubebuilder:validation:XValidation:rule=`self.size() > 0`,message="at least one address range is needed, like 192.0.2.0/24 or 192.0.2.10-192.0.2.20"
	// +kubebuilder:validation:items:XValidation:rule=`self.contains('-') ? self.lowerAscii().replace(':ffff:', ':fffe:').split('-', 2).all(a, isIP(a.trim())) : self.matches('^[^/]*/[0-9]{1,18}$') && int(self.substring(self.indexOf('/') + 1)) <= (self.contains(':') ? 128 : 32) && isIP(self.substring(0, self.indexOf('/')).lowerAscii().replace(':ffff:', ':fffe:'))`,messageExpression=`'"' + self + '" is not an address range: use a CIDR like 192.0.2.0/24 or a range like 192.0.2.10-192.0.2.20'`
	// +kubebuilder:validation:items:XValidation:rule=`!self.contains('-') || !isIP(self.substring(0, self.indexOf('-')).trim()) || !isIP(self.substring(self.indexOf('-') + 1).trim()) || self.substring(0, self.indexOf('-')).trim().contains(':') == self.substring(self.indexOf('-') + 1).trim().contains(':')`,messageExpression=`'"' + self + '" mixes IPv4 and IPv6: both ends of a range must be of one family'`
	// +kubebuilder:validation:items:XValidation:rule=`!self.contains('-') || self.split('-', 2).exists(a, !isIP(a.trim())) || self.split('-', 2).exists_one(a, a.contains(':')) || self.split('-', 2).exists_one(a, a.contains('.')) || [self.lowerAscii().split('-', 2).map(a, '%s'.format([a.trim().replace('::', '::::::::::'.substring(a.split(':').size() + (a.contains('.') ? 1 : 0))).replace('.', ':').split(':', 10).map(g, ('0000' + g).substring(g.size()))]))].all(ends, [ends[0]].all(start, start <= ends[1]))`,messageExpression=`'"' + self + '" starts after its end: put the lower address first'`
	// +required
	Addresses []string `json:"addresses"`

	// AutoAssign lets Services have addresses of this pool without asking for the pool. Default: true.
	// +kubebuilder:default=true
	// +optional
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// AvoidBuggyIPs leaves out IPv4 addresses that end in .0 or .255, which some old equipment drops. Default: false.
	// +kubebuilder:default=false
	// +optional
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// AllocateTo keeps the pool for certain Services, and puts it before pools that are for all. Default: any Service.
	// +optional
	AllocateTo *ServiceAllocation `json:"serviceAllocation,omitempty"`
}

// IPAddressPoolStatus counts the addresses of the pool. A number too large for 63 bits is given as the largest one.
type IPAddressPoolStatus struct {
	// AssignedIPv4 is the number of IPv4 addresses held by Services.
	// +required
	AssignedIPv4 int64 `json:"assignedIPv4"`

	// AssignedIPv6 is the number of IPv6 addresses held by Services.
	// +required
	AssignedIPv6 int64 `json:"assignedIPv6"`

	// AvailableIPv4 is the number of IPv4 addresses that are free.
	// +required
	AvailableIPv4 int64 `json:"availableIPv4"`

	// AvailableIPv6 is the number of IPv6 addresses that are free.
	// +required
	AvailableIPv6 int64 `json:"availableIPv6"`
}

// ServiceAllocation says which Services may have addresses of a pool. A Service must meet the namespace part and the
// serviceSelectors; a part with nothing in it is met by all.
type ServiceAllocation struct {
	// Priority orders the pools that a Service may use: the lowest number first, 0 after all others. Default: 0.
	// +optional
	Priority int `json:"priority,omitempty"`

	// Namespaces names the namespaces whose Services may use the pool.
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// NamespaceSelectors adds namespaces by their labels; a namespace needs to match one of the selectors.
	// +optional
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`

	// ServiceSelectors picks Services by their labels; a Service needs to match one of the selectors.
	// +optional
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// IPAddressPoolList is a list of IPAddressPool objects.
//
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddressPool `json:"items"`
}
