package service

// What is read from and written to Services. The metallb.io names are MetalLB's.
const (
	ownPrefix = "fairlead.io/"
	// Prefix and deprecatedPrefix precede the annotations that a Service asks with. The first wins by presence.
	Prefix           = "metallb.io/"
	deprecatedPrefix = "metallb.universe.tf/"

	// AskPool, AskAddresses and AskSharing follow one of them.
	AskPool      = "address-pool"
	AskAddresses = "loadBalancerIPs"
	AskSharing   = "allow-shared-ip"

	// AnnotationPools asks for an address of each family from any of several pools: "pool4,pool6".
	AnnotationPools = "fairlead.io/address-pools"
	// AnnotationHold asks that the addresses stay reserved for this long after the Service is gone: "10m".
	AnnotationHold = "fairlead.io/hold-address"
	// AnnotationShareWith names the namespaces, besides its own, with which a Service shares addresses: "team-a,team-b". Both sides
	// must name the same set.
	AnnotationShareWith = "fairlead.io/share-with-namespaces"
	// AnnotationFromPool records the pool of a Service's address, or both pools: its presence marks a status as written here.
	AnnotationFromPool = Prefix + "ip-allocated-from-pool"
	// LabelPool repeats the pool where label selectors can see it (backends.PoolLabel). Whatever has it may be advertised, so it is
	// on no Service whose status shows what was not assigned here.
	LabelPool = "fairlead.io/pool"
	// ConditionAllocated tells whether a Service has the addresses it asks for, and if not, why.
	ConditionAllocated = "fairlead.io/Allocated"
	// ConditionAdvertised tells whether the addresses are advertised, and if not, why (internal/announce has the reasons).
	ConditionAdvertised = "fairlead.io/Advertised"
)

// Reasons of ConditionAllocated. docs/reasons.md explains each; a test keeps the two equal.
const (
	ReasonAllocated           = "Allocated"
	ReasonAddressConflict     = "AddressConflict"
	ReasonAddressInUse        = "AddressInUse"
	ReasonAddressKept         = "AddressKept"
	ReasonAddressNotInPool    = "AddressNotInPool"
	ReasonAddressNotUsable    = "AddressNotUsable"
	ReasonAddressOfNode       = "AddressOfNode"
	ReasonAddressReserved     = "AddressReserved"
	ReasonAllocatorDisagrees  = "AllocatorDisagrees"
	ReasonAllocatorRefused    = "AllocatorRefused"
	ReasonCNIUnknown          = "CNIUnknown"
	ReasonForeignStatus       = "ForeignStatus"
	ReasonIPAMConflict        = "IPAMConflict"
	ReasonInvalidRequest      = "InvalidRequest"
	ReasonNoClusterIP         = "NoClusterIP"
	ReasonNoMatchingPool      = "NoMatchingPool"
	ReasonNotEnoughClusterIPs = "NotEnoughClusterIPs"
	ReasonPoolExhausted       = "PoolExhausted"
	ReasonPoolMismatch        = "PoolMismatch"
	ReasonPoolNotAdmitting    = "PoolNotAdmitting"
	ReasonPoolNotFound        = "PoolNotFound"
	ReasonSharingConflict     = "SharingConflict"
	ReasonStatusContended     = "StatusContended"
	ReasonWaitingForAllocator = "WaitingForAllocator"
)

// Reasons of events on Services. Those down to EventDeprecatedAnnotation are MetalLB's.
const (
	EventIPAllocated            = "IPAllocated"
	EventClearAssignment        = "ClearAssignment"
	EventAdditionalAssignFailed = "AdditionalAssignFailed"
	EventAllocationFailed       = "AllocationFailed"
	EventLoadBalancerFailed     = "LoadBalancerFailed"
	EventNotEnoughClusterIPs    = "not enough clusterips"
	EventNoClusterIPs           = "noclusterIPsIPFamily"
	EventDeprecatedAnnotation   = "deprecatedAnnotation"
	EventAddressConflict        = "AddressConflict"
	EventAddressOfNode          = "AddressOfNode"
	EventAllocatorDisagrees     = "AllocatorDisagrees"
	EventForeignStatus          = "ForeignStatus"
	EventStatusContended        = "StatusContended"
	EventClassNotServed         = "ClassNotServed"
	EventIPAMConflict           = "IPAMConflict"
	EventAdvertised             = "Advertised"
	EventNotAdvertised          = "NotAdvertised"
)

// EventNodeAddressInPool is the reason of the event on an IPAddressPool that contains the address of a node.
const EventNodeAddressInPool = "NodeAddressInPool"

// FieldManager is the name under which this product writes.
const FieldManager = "fairlead-controller"
