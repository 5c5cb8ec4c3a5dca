package cilium

import "github.com/fairlead/fairlead/backends"

// Mapping tells of each field of the user's objects what becomes of it.
func Mapping() []backends.FieldMapping {
	var out []backends.FieldMapping
	for _, r := range mapping() {
		out = append(out, backends.FieldMapping{Kind: r.kind, Field: r.field, How: r.how, To: r.to, Note: r.note})
	}
	return out
}

type row struct {
	kind, field string
	how         backends.Mapping
	to, note    string
}

func mapping() []row {
	const (
		adv, lan, peer, bfd, community = "BGPAdvertisement", "L2Advertisement", "BGPPeer", "BFDProfile", "Community"

		perNode = "In Cilium it is a setting of each node (CiliumBGPNodeConfigOverride), which is the user's to make."
		noBFD   = "Cilium has no BFD; the peer is set up without, and the session ends with its hold time."
	)
	expressed, approximated, refused := backends.Expressed, backends.Approximated, backends.Refused
	return []row{
		{adv, "ipAddressPools", expressed, "CiliumBGPAdvertisement spec.advertisements[].selector", "By the label fairlead.io/pool of Services."},
		{adv, "ipAddressPoolSelectors", expressed, "CiliumBGPAdvertisement spec.advertisements[].selector",
			"The pools that they select are listed."},
		{adv, "aggregationLength", approximated, "CiliumBGPAdvertisement spec.advertisements[].service.aggregationLengthIPv4",
			"Services with externalTrafficPolicy Local keep the routes of single addresses, and so does a Cilium whose CRD lacks the field."},
		{adv, "aggregationLengthV6", approximated, "CiliumBGPAdvertisement spec.advertisements[].service.aggregationLengthIPv6",
			"Services with externalTrafficPolicy Local keep the routes of single addresses, and so does a Cilium whose CRD lacks the field."},
		{adv, "localPref", expressed, "CiliumBGPAdvertisement spec.advertisements[].attributes.localPreference",
			"Where several advertisements give one route different values, the highest is sent."},
		{adv, "communities", expressed, "CiliumBGPAdvertisement spec.advertisements[].attributes.communities",
			"Names of Community objects are resolved."},
		{adv, "peers", approximated, "CiliumBGPAdvertisement metadata.labels",
			"Exact where peers are managed; else the CiliumBGPPeerConfig of such a peer has to select the label peer.fairlead.io/<peer>, and others do not see it."},
		{adv, "nodeSelectors", approximated, "CiliumBGPAdvertisement metadata.labels",
			"Exact where peers are managed; else the pools are withheld."},
		{adv, "serviceSelectors", expressed, "CiliumBGPAdvertisement spec.advertisements[].selector", "One entry for each selector."},

		{lan, "ipAddressPools", expressed, "CiliumL2AnnouncementPolicy spec.serviceSelector", "By the label fairlead.io/pool of Services."},
		{lan, "ipAddressPoolSelectors", expressed, "CiliumL2AnnouncementPolicy spec.serviceSelector", "The pools that they select are listed."},
		{lan, "nodeSelectors", expressed, "CiliumL2AnnouncementPolicy spec.nodeSelector", "One policy for each selector."},
		{lan, "preferredNodeSelectors", refused, "", "Cilium gives an address to any of the nodes that may announce it."},
		{lan, "interfaces", approximated, "CiliumL2AnnouncementPolicy spec.interfaces", "Only interfaces among Cilium's own devices are used."},
		{lan, "serviceSelectors", expressed, "CiliumL2AnnouncementPolicy spec.serviceSelector", "One policy for each selector."},

		{peer, "myASN", expressed, "CiliumBGPClusterConfig spec.bgpInstances[].localASN", "An instance for each AS number, at most 16."},
		{peer, "peerASN", expressed, "CiliumBGPClusterConfig spec.bgpInstances[].peers[].peerASN", ""},
		{peer, "dynamicASN", approximated, "CiliumBGPClusterConfig spec.bgpInstances[].peers[].peerASN",
			"internal is exact; external takes a peer of any AS number."},
		{peer, "localASN", approximated, "CiliumBGPClusterConfig spec.bgpInstances[].localASN",
			"The session belongs to an instance with this AS number, which does not know of myASN at all."},
		{peer, "peerAddress", expressed, "CiliumBGPClusterConfig spec.bgpInstances[].peers[].peerAddress", ""},
		{peer, "interface", refused, "", "Cilium cannot find a peer behind an interface; the peer is not set up."},
		{peer, "sourceAddress", refused, "", perNode},
		{peer, "peerPort", expressed, "CiliumBGPPeerConfig spec.transport.peerPort", ""},
		{peer, "holdTime", approximated, "CiliumBGPPeerConfig spec.timers.holdTimeSeconds", "0s, no hold time, becomes 90 s."},
		{peer, "keepaliveTime", expressed, "CiliumBGPPeerConfig spec.timers.keepAliveTimeSeconds", ""},
		{peer, "connectTime", expressed, "CiliumBGPPeerConfig spec.timers.connectRetryTimeSeconds", ""},
		{peer, "routerID", refused, "", perNode},
		{peer, "nodeSelectors", expressed, "CiliumBGPClusterConfig spec.nodeSelector", "One object for each node."},
		{peer, "password", expressed, "CiliumBGPPeerConfig spec.authSecretRef", "By a Secret in the namespace where Cilium looks for passwords."},
		{peer, "passwordSecret", expressed, "CiliumBGPPeerConfig spec.authSecretRef",
			"Copied to the namespace where Cilium looks for passwords."},
		{peer, "bfdProfile", refused, "", noBFD},
		{peer, "enableGracefulRestart", expressed, "CiliumBGPPeerConfig spec.gracefulRestart.enabled", ""},
		{peer, "ebgpMultiHop", expressed, "CiliumBGPPeerConfig spec.ebgpMultihop", ""},
		{peer, "vrf", refused, "", "Cilium has sessions in the main routing table only, where the address may be another router; the peer is not set up."},
		{peer, "disableMP", refused, "", "A session carries its own family only, unless dualStackAddressFamily is set."},
		{peer, "dualStackAddressFamily", approximated, "CiliumBGPPeerConfig spec.families",
			"IPv6 routes on an IPv4 session get a next hop of the form ::ffff:192.0.2.1."},

		{bfd, "receiveInterval", refused, "", noBFD},
		{bfd, "transmitInterval", refused, "", noBFD},
		{bfd, "detectMultiplier", refused, "", noBFD},
		{bfd, "echoInterval", refused, "", noBFD},
		{bfd, "echoMode", refused, "", noBFD},
		{bfd, "passiveMode", refused, "", noBFD},
		{bfd, "minimumTtl", refused, "", noBFD},

		{community, "communities", expressed, "CiliumBGPAdvertisement spec.advertisements[].attributes.communities", "As numbers."},
	}
}
