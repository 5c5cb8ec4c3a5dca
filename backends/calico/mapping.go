package calico

import "github.com/fairlead/fairlead/backends"

// Mapping tells of each field of the user's objects what becomes of it.
func Mapping() []backends.FieldMapping {
	const (
		adv, lan, peer, bfd, community = "BGPAdvertisement", "L2Advertisement", "BGPPeer", "BFDProfile", "Community"

		blocks  = "BGPConfiguration spec.serviceLoadBalancerIPs"
		tags    = "BGPConfiguration spec.prefixAdvertisements"
		filters = "BGPFilter spec.exportV4, spec.exportV6"
		noLayer = "Calico announces nothing on the local network."
		noBFD   = "Calico has no BFD; the peer is set up without, and the session ends with its hold time."
		lengths = "Exact with the aggregation per-ip; 32 and 128 also with disabled. Else Calico advertises the pool's own prefixes."
		bird    = "BIRD on the node decides."
		always  = "Always so in Calico, whatever is asked for."
	)
	expressed, approximated, refused := backends.Expressed, backends.Approximated, backends.Refused
	return []backends.FieldMapping{
		expressed.Of(adv, "ipAddressPools", blocks, ""),
		expressed.Of(adv, "ipAddressPoolSelectors", blocks, "The prefixes of the pools that they select."),
		approximated.Of(adv, "aggregationLength", blocks, lengths),
		approximated.Of(adv, "aggregationLengthV6", blocks, lengths),
		refused.Of(adv, "localPref", "", "Calico sets no local preference."),
		approximated.Of(adv, "communities", tags, "All peers see those of all advertisements of a prefix, and routes within it have them, too."),
		approximated.Of(adv, "peers", filters,
			"Where peers are managed and Calico has no BGPPeers of others, all routes of a pool go to the peers of all its advertisements; else the pools are withheld."),
		approximated.Of(adv, "nodeSelectors", filters,
			"Where peers are managed and Calico has no BGPPeers of others, all routes of a pool go out from the nodes of all its advertisements; else the pools are withheld."),
		approximated.Of(adv, "serviceSelectors", blocks, "With the aggregation per-ip, an entry for each address; else the pools are withheld."),

		refused.Of(lan, "ipAddressPools", "", noLayer),
		refused.Of(lan, "ipAddressPoolSelectors", "", noLayer),
		refused.Of(lan, "nodeSelectors", "", noLayer),
		refused.Of(lan, "preferredNodeSelectors", "", noLayer),
		refused.Of(lan, "interfaces", "", noLayer),
		refused.Of(lan, "serviceSelectors", "", noLayer),

		approximated.Of(peer, "myASN", "BGPPeer spec.localASNumber", "A Calico without this field shows the AS number of the node."),
		expressed.Of(peer, "peerASN", "BGPPeer spec.asNumber", ""),
		refused.Of(peer, "dynamicASN", "", "Calico needs the AS number of the peer; the peer is not set up."),
		approximated.Of(peer, "localASN", "BGPPeer spec.localASNumber",
			"In place of myASN, of which the peer sees nothing. A Calico without this field shows the AS number of the node."),
		expressed.Of(peer, "peerAddress", "BGPPeer spec.peerIP", "Left to a BGPPeer of Calico that has the same address and port."),
		refused.Of(peer, "interface", "", "Calico cannot find a peer behind an interface; the peer is not set up."),
		refused.Of(peer, "sourceAddress", "", "Calico connects from the node's address."),
		expressed.Of(peer, "peerPort", "BGPPeer spec.peerIP", ""),
		refused.Of(peer, "holdTime", "", bird),
		refused.Of(peer, "keepaliveTime", "", bird),
		refused.Of(peer, "connectTime", "", "BIRD tries again every 5 s."),
		refused.Of(peer, "routerID", "", "In Calico it is a setting of each node (CALICO_ROUTER_ID)."),
		expressed.Of(peer, "nodeSelectors", "BGPPeer spec.nodeSelector", "Gt and Lt have no counterpart; a peer that uses them is not set up."),
		expressed.Of(peer, "password", "BGPPeer spec.password", "By a Secret in the namespace of calico-node, which a Role lets it read."),
		expressed.Of(peer, "passwordSecret", "BGPPeer spec.password", "Copied to the namespace of calico-node, which a Role lets read it."),
		refused.Of(peer, "bfdProfile", "", noBFD),
		approximated.Of(peer, "enableGracefulRestart", "BIRD's configuration", always),
		approximated.Of(peer, "ebgpMultiHop", "BIRD's configuration", always),
		refused.Of(peer, "vrf", "", "Calico has sessions in the main routing table only, where the address may be another router; the peer is not set up."),
		refused.Of(peer, "disableMP", "", "A session carries its own family only."),
		refused.Of(peer, "dualStackAddressFamily", "", "A session carries its own family only; use one for each family."),

		refused.Of(bfd, "receiveInterval", "", noBFD),
		refused.Of(bfd, "transmitInterval", "", noBFD),
		refused.Of(bfd, "detectMultiplier", "", noBFD),
		refused.Of(bfd, "echoInterval", "", noBFD),
		refused.Of(bfd, "echoMode", "", noBFD),
		refused.Of(bfd, "passiveMode", "", noBFD),
		refused.Of(bfd, "minimumTtl", "", noBFD),

		expressed.Of(community, "communities", tags, "As numbers."),
	}
}
