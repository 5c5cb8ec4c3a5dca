package explain

import (
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/assign"
)

// help says what helps, for each reason of the conditions of a Service; docs/reasons.md has the same at more length.
var help = map[string]string{
	assign.ReasonAddressKept:         "do what the message says, or take the request back",
	assign.ReasonAddressConflict:     "free addresses, or delete one of the two Services",
	assign.ReasonAddressInUse:        "ask for another address, or set metallb.io/allow-shared-ip to one value on both Services",
	assign.ReasonAddressNotInPool:    "add the address to a pool, or ask for one of a pool",
	assign.ReasonAddressNotUsable:    "ask for an address that does not end in .0 or .255, or turn avoidBuggyIPs of the pool off",
	assign.ReasonAddressReserved:     "ask for another address, or change the AddressReservation",
	assign.ReasonForeignStatus:       "stop the other writer, or add the address to a pool",
	assign.ReasonInvalidRequest:      "correct the field that the message names",
	assign.ReasonNoClusterIP:         "give the Service a cluster IP",
	assign.ReasonNoMatchingPool:      "create a pool, or ask for one by metallb.io/address-pool",
	assign.ReasonNotEnoughClusterIPs: "set spec.ipFamilyPolicy to PreferDualStack or SingleStack",
	assign.ReasonPoolExhausted:       "free addresses or widen a pool; the Service that has waited longest is served first",
	assign.ReasonPoolMismatch:        "make the requested address and pool agree",
	assign.ReasonPoolNotAdmitting:    "ask for another pool, or widen serviceAllocation of this one",
	assign.ReasonPoolNotFound:        "correct the name of the pool, or mend the pool",
	assign.ReasonSharingConflict:     "make sharing key, traffic policy and ports of the two Services go together",
	assign.ReasonIPAMConflict:        "switch off the CNI's own address allocator, as the message says",
	assign.ReasonStatusContended:     "stop the other writer: another load-balancer controller, or the CNI's own address allocator",

	announce.ReasonApplyFailed:        "see the condition Ready of the Backend object",
	announce.ReasonClassNotAdvertised: "leave spec.loadBalancerClass out, or use one that the CNI knows",
	announce.ReasonIPModeNotVIP:       "remove the ipMode from the status",
	announce.ReasonNoAdvertisement:    "create a BGPAdvertisement or an L2Advertisement that selects the pool",
	announce.ReasonNoBackend:          "choose who advertises by --backend, --bgp-backend or --l2-backend of the controller",
	announce.ReasonNotAdvertised:      "do what the message says",
	announce.ReasonPending:            "wait a moment",
	announce.ReasonServiceNotSelected: "label the Service, or change serviceSelectors of the advertisement",

	announce.ReasonNoEndpoints:               "start or repair the pods",
	announce.ReasonNoSpeaker:                 "run speakers: speaker.enabled of the chart",
	announce.ReasonNotAnnounced:              "do what the message says",
	announce.ReasonConflictingAdvertisements: "give the BGPAdvertisements the same localPref, or remove communities",
	announce.ReasonNoPeer:                    "correct peers of the BGPAdvertisement, or nodeSelectors of the BGPPeer",
	announce.ReasonNoSession:                 "do what the last error of the session says: kubectl fairlead peers",
	announce.ReasonSharedWithSelector:        "do without serviceSelectors, or without metallb.io/allow-shared-ip",
	announce.ReasonNoInterface:               "correct interfaces of the L2Advertisement, or bring the link up",
	announce.ReasonNoLocalEndpoints:          "run a pod on a node that may announce, or set externalTrafficPolicy to Cluster",
	announce.ReasonNodeLabeledExclude:        "remove the label node.kubernetes.io/exclude-from-external-load-balancers from a node",
	announce.ReasonNodeNetworkUnavailable:    "repair the CNI on the nodes",
	announce.ReasonNodeNotSelected:           "correct nodeSelectors of the advertisement, or label nodes",
	announce.ReasonNodeUnknown:               "correct --node-name of the speaker",
	announce.ReasonSpeakerLeaving:            "wait for the speakers to start again",
}

// Help returns what helps against a reason of a condition; empty if nothing is known.
func Help(reason string) string { return help[reason] }
