package explain

import (
	"cmp"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// help says what helps, for each reason of the conditions of a Service; docs/reasons.md has the same at more length.
var help = map[string]string{
	service.ReasonAddressKept:         "make possible what is asked for, or take the request back, and the address is kept for good",
	service.ReasonAddressConflict:     "free addresses, or delete one of the two Services",
	service.ReasonAddressInUse:        "ask for another address, or set metallb.io/allow-shared-ip to one value on both Services",
	service.ReasonAddressNotInPool:    "add the address to a pool, or ask for one of a pool",
	service.ReasonAddressNotUsable:    "ask for an address that does not end in .0 or .255, or turn avoidBuggyIPs of the pool off",
	service.ReasonAddressReserved:     "ask for another address, or change the AddressReservation",
	service.ReasonAddressOfNode:       "take the address out of the pool, or ask for another one",
	service.ReasonAllocatorDisagrees:  "see what the allocator says of the claim, and correct its pool or spec.addresses; the address stays meanwhile",
	service.ReasonAllocatorRefused:    "mend what the allocator names; an address that a Service asks for must be one that the allocator has given it",
	service.ReasonWaitingForAllocator: "wait; if it stays so, see that the provider of the pool runs, and what its claim says",
	service.ReasonCNIUnknown:          "wait a few seconds; if it stays so, see the log of the controller",
	service.ReasonForeignStatus:       "stop the other writer and empty the status, or add the address to a pool if the message says so",
	service.ReasonInvalidRequest:      "correct the field that the message names",
	service.ReasonNoClusterIP:         "give the Service a cluster IP",
	service.ReasonNoMatchingPool:      "create a pool, or ask for one by metallb.io/address-pool",
	service.ReasonNotEnoughClusterIPs: "set spec.ipFamilyPolicy to PreferDualStack or SingleStack",
	service.ReasonPoolExhausted:       "free addresses or widen a pool; the Service that has waited longest is served first",
	service.ReasonPoolMismatch:        "make the requested address and pool agree",
	service.ReasonPoolNotAdmitting:    "ask for another pool, or widen serviceAllocation of this one",
	service.ReasonPoolNotFound:        "correct the name of the pool, or mend the pool",
	service.ReasonSharingConflict:     "make sharing key, traffic policy and ports of the two Services go together",
	service.ReasonIPAMConflict:        "switch off the CNI's own address allocator, by the setting that the message names",
	service.ReasonStatusContended:     "stop the other writer: another load-balancer controller, or the CNI's own address allocator",

	announce.ReasonApplyFailed:        "see the condition Ready of the Backend object",
	announce.ReasonClassNotAdvertised: "leave spec.loadBalancerClass out, or use one that the CNI knows",
	announce.ReasonIPModeNotVIP:       "remove the ipMode from the status",
	announce.ReasonNoAdvertisement:    "create a BGPAdvertisement or an L2Advertisement that selects the pool",
	announce.ReasonNoBackend:          "choose who advertises by {--backend, --bgp-backend or --l2-backend of the controller|backend, bgpBackend or l2Backend of the chart}",
	announce.ReasonNotAdvertised:      "correct the advertisement or the pool that the message names, or the CNI's setting",
	announce.ReasonPending:            "wait a moment",
	announce.ReasonServiceNotSelected: "label the Service, or change serviceSelectors of the advertisement",

	announce.ReasonNoEndpoints:               "start or repair the pods",
	announce.ReasonNoSpeaker:                 "have speakers run: kubectl fairlead doctor says what keeps them from it; there are none without {their DaemonSet|speaker.enabled of the chart}",
	announce.ReasonNotAnnounced:              "have one of the nodes able to announce: the message says what keeps each from it",
	announce.ReasonConflictingAdvertisements: "give the BGPAdvertisements the same localPref, or remove communities",
	announce.ReasonNoPeer:                    "correct peers of the BGPAdvertisement, or nodeSelectors of the BGPPeer",
	announce.ReasonNoSession:                 "see that the router can be reached, and that AS numbers, password and port of the BGPPeer are the router's; the last error says which",
	announce.ReasonAddressTaken:              "find the host with that MAC, and take the address from it or out of the pool; the address is asked for again after ten minutes",
	announce.ReasonSessionsUnknown: "see that the CNI's agents run and report: with Calico, set {--calico-session-samples of the controller|calico.sessionSamples of the chart} to 1 to 10; " +
		"with Cilium, do not switch off enable-bgp-control-plane-status-report; 'kubectl fairlead peers' shows the sessions that they have told of",
	announce.ReasonSharedWithSelector:     "do without serviceSelectors, or without metallb.io/allow-shared-ip",
	announce.ReasonNoInterface:            "correct interfaces of the L2Advertisement, or bring the link up",
	announce.ReasonNoLocalEndpoints:       "run a pod on a node that may announce, or set externalTrafficPolicy to Cluster",
	announce.ReasonNodeLabeledExclude:     "remove the label node.kubernetes.io/exclude-from-external-load-balancers from a node",
	announce.ReasonNodeNetworkUnavailable: "repair the CNI on the nodes",
	announce.ReasonNodeNotSelected:        "correct nodeSelectors of the advertisement, or label nodes",
	announce.ReasonNodeUnknown:            "{correct --node-name of the speaker|have the speaker run under the name of its Node, as the chart does}",
	announce.ReasonSpeakerLeaving:         "wait for the speakers to start again",
}

// findingHelp says what helps against each finding of a backend.
var findingHelp = map[backends.FindingType]string{
	backends.UnsupportedField: "take the field out of the object if its effect is not needed; if the object is withheld for it, and everybody may hear the routes, " +
		"{--allow-wider-advertisement of the controller|allowWiderAdvertisement of the chart} has it advertised all the same",
	backends.BackendInactive:   "change the CNI's setting that the message names; nothing acts on what is written until then",
	backends.Contended:         "stop the other writer of the object, or have it leave the field alone; kubectl get --show-managed-fields -o yaml tells who it is",
	backends.IPAMConflict:      help[service.ReasonIPAMConflict],
	backends.PeerExists:        "delete the other object that holds the session, or the BGPPeer",
	backends.PeerNotReady:      "create what the BGPPeer refers to, or correct its field",
	backends.CoveredByExisting: "delete the other entry if the prefix is to follow the pool",
	backends.ConfigFrozen:      "correct or delete the faulty entry; the CNI acts on no change until then",
	backends.HandingOver:       "bring up the sessions that the message names, of the backend that takes over; nothing is lost until then",
	backends.SharedAddress:     "do without metallb.io/allow-shared-ip, or without externalTrafficPolicy Local",
}

// Help returns what helps against a reason of a condition of a Service, or a finding of a backend; empty if nothing is known.
func Help(s *survey.Survey, reason string) string {
	return s.Advice(cmp.Or(help[reason], findingHelp[backends.FindingType(reason)]))
}
