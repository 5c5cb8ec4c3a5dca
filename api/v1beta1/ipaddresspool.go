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
	// How the rules on Addresses work. CEL knows no order of IP addresses, so the last rule asks how many leading bits k the two
	// ends share, in steps of 32, 8 and 1: the end with a 0 in the next bit is the lower one, and its first k and its first
	// k+1 bits make the same network address. CEL also refuses IPv4 in IPv6 form (::ffff:192.0.2.1), which MetalLB takes:
	// the syntax rule looks at such an address with fffe in place of ffff, and the family and the order of a range with
	// such an end are left to the controller. The limits keep the estimated cost of the rules within the API server's budget.

	// Addresses are the ranges of the pool, in the order in which they are used up: a CIDR like 192.0.2.0/24 or 2001:db8::/64,
	// or first and last address like 192.0.2.10-192.0.2.20. At least one and at most 1024, of at most 100 characters each.
	//
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=100
	// +kubebuilder:validation:XValidation:rule=`self.size() > 0`,message="at least one address range is needed, like 192.0.2.0/24 or 192.0.2.10-192.0.2.20"
	// +kubebuilder:validation:items:XValidation:rule=`self.contains('-') ? isIP(self.substring(0, self.indexOf('-')).trim().lowerAscii().replace(':ffff:', ':fffe:')) && isIP(self.substring(self.indexOf('-') + 1).trim().lowerAscii().replace(':ffff:', ':fffe:')) : self.contains('/') && isIP(self.substring(0, self.indexOf('/')).lowerAscii().replace(':ffff:', ':fffe:')) && self.substring(self.indexOf('/') + 1).matches('^[0-9]{1,18}$') && int(self.substring(self.indexOf('/') + 1)) <= (self.substring(0, self.indexOf('/')).contains(':') ? 128 : 32)`,messageExpression=`'"' + self + '" is not an address range: use a CIDR like 192.0.2.0/24 or a range like 192.0.2.10-192.0.2.20'`
	// +kubebuilder:validation:items:XValidation:rule=`!self.contains('-') || !isIP(self.substring(0, self.indexOf('-')).trim()) || !isIP(self.substring(self.indexOf('-') + 1).trim()) || self.substring(0, self.indexOf('-')).trim().contains(':') == self.substring(self.indexOf('-') + 1).trim().contains(':')`,messageExpression=`'"' + self + '" mixes IPv4 and IPv6: both ends of a range must be of one family'`
	// +kubebuilder:validation:items:XValidation:rule=`!self.contains('-') || !isIP(self.substring(0, self.indexOf('-')).trim()) || !isIP(self.substring(self.indexOf('-') + 1).trim()) || self.substring(0, self.indexOf('-')).trim().contains(':') != self.substring(self.indexOf('-') + 1).trim().contains(':') || ip(self.substring(0, self.indexOf('-')).trim()) == ip(self.substring(self.indexOf('-') + 1).trim()) || [[0, 32, 64, 96].filter(p, (p == 0 || self.contains(':')) && cidr(self.substring(0, self.indexOf('-')).trim() + '/  /1 /2 /3 /4 /5 /6 /7 /8 /9 /10/11/12'.substring(p / 10 * 3, p / 10 * 3 + 3).trim() + '0123456789'.substring(p % 10, p % 10 + 1)).containsIP(self.substring(self.indexOf('-') + 1).trim())).max()].all(k, [[k, k + 8, k + 16, k + 24].filter(p, cidr(self.substring(0, self.indexOf('-')).trim() + '/  /1 /2 /3 /4 /5 /6 /7 /8 /9 /10/11/12'.substring(p / 10 * 3, p / 10 * 3 + 3).trim() + '0123456789'.substring(p % 10, p % 10 + 1)).containsIP(self.substring(self.indexOf('-') + 1).trim())).max()].all(k, [[k, k + 1, k + 2, k + 3, k + 4, k + 5, k + 6, k + 7].filter(p, cidr(self.substring(0, self.indexOf('-')).trim() + '/  /1 /2 /3 /4 /5 /6 /7 /8 /9 /10/11/12'.substring(p / 10 * 3, p / 10 * 3 + 3).trim() + '0123456789'.substring(p % 10, p % 10 + 1)).containsIP(self.substring(self.indexOf('-') + 1).trim())).max()].all(k, cidr(self.substring(0, self.indexOf('-')).trim() + '/  /1 /2 /3 /4 /5 /6 /7 /8 /9 /10/11/12'.substring(k / 10 * 3, k / 10 * 3 + 3).trim() + '0123456789'.substring(k % 10, k % 10 + 1)).masked().ip() == cidr(self.substring(0, self.indexOf('-')).trim() + '/  /1 /2 /3 /4 /5 /6 /7 /8 /9 /10/11/12'.substring((k + 1) / 10 * 3, (k + 1) / 10 * 3 + 3).trim() + '0123456789'.substring((k + 1) % 10, (k + 1) % 10 + 1)).masked().ip())))`,messageExpression=`'"' + self + '" starts after its end: put the lower address first'`
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
