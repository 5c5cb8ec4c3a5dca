package cilium

import "github.com/fairlead/fairlead/backends"

// Mapping tells of each field of the user's objects what becomes of it.
func Mapping() []backends.FieldMapping {
	const (
		adv, lan, peer, bfd, community = "BGPAdvertisement", "L2Advertisement", "BGPPeer", "BFDProfile", "Community"

		perNode = "In Cilium it is a setting of each node (CiliumBGPNodeConfigOverride), which is the user's to make."
		noBFD   = "Cilium has no BFD; the peer is set up without, and the session ends with its hold time."
	)
	expressed, approximated, refused := backends.Expressed, backends.Approximated, backends.Refused
	return []backends.FieldMapping{
		expressed.Of(adv, "ipAddressPools", "CiliumBGPAdvertisement spec.advertisements[].selector", "By the label fairlead.io/pool of Services."),
		expressed.Of(adv, "ipAddressPoolSelectors", "CiliumBGPAdvertisement spec.advertisements[].selector",
			"The pools that they select are listed."),
		approximated.Of(adv, "aggregationLength", "CiliumBGPAdvertisement spec.advertisements[].service.aggregationLengthIPv4",
			"Services with externalTrafficPolicy Local keep the routes of single addresses, and so does a Cilium whose CRD lacks the field."),
		approximated.Of(adv, "aggregationLengthV6", "CiliumBGPAdvertisement spec.advertisements[].service.aggregationLengthIPv6",
			"Services with externalTrafficPolicy Local keep the routes of single addresses, and so does a Cilium whose CRD lacks the field."),
		expressed.Of(adv, "localPref", "CiliumBGPAdvertisement spec.advertisements[].attributes.localPreference",
			"Where several advertisements give one route different values, the highest is sent."),
		expressed.Of(adv, "communities", "CiliumBGPAdvertisement spec.advertisements[].attributes.communities",
			"Names of Community objects are resolved."),
		approximated.Of(adv, "peers", "CiliumBGPAdvertisement metadata.labels",
			"Exact where peers are managed; else the CiliumBGPPeerConfig of such a peer has to select the label peer.fairlead.io/<peer>, and others do not see it."),
		approximated.Of(adv, "nodeSelectors", "CiliumBGPAdvertisement metadata.labels",
			"Exact where peers are managed; else the pools are withheld."),
		expressed.Of(adv, "serviceSelectors", "CiliumBGPAdvertisement spec.advertisements[].selector", "One entry for each selector."),

		expressed.Of(lan, "ipAddressPools", "CiliumL2AnnouncementPolicy spec.serviceSelector", "By the label fairlead.io/pool of Services."),
		expressed.Of(lan, "ipAddressPoolSelectors", "CiliumL2AnnouncementPolicy spec.serviceSelector", "The pools that they select are listed."),
		expressed.Of(lan, "nodeSelectors", "CiliumL2AnnouncementPolicy spec.nodeSelector", "One policy for each selector."),
		refused.Of(lan, "preferredNodeSelectors", "", "Cilium gives an address to any of the nodes that may announce it."),
		approximated.Of(lan, "interfaces", "CiliumL2AnnouncementPolicy spec.interfaces", "Only interfaces among Cilium's own devices are used."),
		expressed.Of(lan, "serviceSelectors", "CiliumL2AnnouncementPolicy spec.serviceSelector", "One policy for each selector."),

		expressed.Of(peer, "myASN", "CiliumBGPClusterConfig spec.bgpInstances[].localASN", "An instance for each AS number, at most 16."),
		expressed.Of(peer, "peerASN", "CiliumBGPClusterConfig spec.bgpInstances[].peers[].peerASN", ""),
		approximated.Of(peer, "dynamicASN", "CiliumBGPClusterConfig spec.bgpInstances[].peers[].peerASN",
			"internal is exact; external takes a peer of any AS number."),
		approximated.Of(peer, "localASN", "CiliumBGPClusterConfig spec.bgpInstances[].localASN",
			"The session belongs to an instance with this AS number, which does not know of myASN at all."),
		expressed.Of(peer, "peerAddress", "CiliumBGPClusterConfig spec.bgpInstances[].peers[].peerAddress", ""),
		refused.Of(peer, "interface", "", "Cilium cannot find a peer behind an interface; the peer is not set up."),
		refused.Of(peer, "sourceAddress", "", perNode),
		expressed.Of(peer, "peerPort", "CiliumBGPPeerConfig spec.transport.peerPort", ""),
		approximated.Of(peer, "holdTime", "CiliumBGPPeerConfig spec.timers.holdTimeSeconds", "0s, no hold time, becomes 90 s."),
		expressed.Of(peer, "keepaliveTime", "CiliumBGPPeerConfig spec.timers.keepAliveTimeSeconds", ""),
		expressed.Of(peer, "connectTime", "CiliumBGPPeerConfig spec.timers.connectRetryTimeSeconds", ""),
		refused.Of(peer, "routerID", "", perNode),
		expressed.Of(peer, "nodeSelectors", "CiliumBGPClusterConfig spec.nodeSelector", "One object for each node."),
		expressed.Of(peer, "password", "CiliumBGPPeerConfig spec.authSecretRef", "By a Secret in the namespace where Cilium looks for passwords."),
		expressed.Of(peer, "passwordSecret", "CiliumBGPPeerConfig spec.authSecretRef",
			"Copied to the namespace where Cilium looks for passwords."),
		refused.Of(peer, "bfdProfile", "", noBFD),
		expressed.Of(peer, "enableGracefulRestart", "CiliumBGPPeerConfig spec.gracefulRestart.enabled", ""),
		expressed.Of(peer, "ebgpMultiHop", "CiliumBGPPeerConfig spec.ebgpMultihop", ""),
		refused.Of(peer, "vrf", "", "Cilium has sessions in the main routing table only, where the address may be another router; the peer is not set up."),
		refused.Of(peer, "disableMP", "", "A session carries its own family only, unless dualStackAddressFamily is set."),
		approximated.Of(peer, "dualStackAddressFamily", "CiliumBGPPeerConfig spec.families",
			"IPv6 routes on an IPv4 session get a next hop of the form ::ffff:192.0.2.1."),

		refused.Of(bfd, "receiveInterval", "", noBFD),
		refused.Of(bfd, "transmitInterval", "", noBFD),
		refused.Of(bfd, "detectMultiplier", "", noBFD),
		refused.Of(bfd, "echoInterval", "", noBFD),
		refused.Of(bfd, "echoMode", "", noBFD),
		refused.Of(bfd, "passiveMode", "", noBFD),
		refused.Of(bfd, "minimumTtl", "", noBFD),

		expressed.Of(community, "communities", "CiliumBGPAdvertisement spec.advertisements[].attributes.communities", "As numbers."),
	}
}
