package calico

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
	return []row{
		{adv, "ipAddressPools", expressed, blocks, ""},
		{adv, "ipAddressPoolSelectors", expressed, blocks, "The prefixes of the pools that they select."},
		{adv, "aggregationLength", approximated, blocks, lengths},
		{adv, "aggregationLengthV6", approximated, blocks, lengths},
		{adv, "localPref", refused, "", "Calico sets no local preference."},
		{adv, "communities", approximated, tags, "All peers see those of all advertisements of a prefix, and routes within it have them, too."},
		{adv, "peers", approximated, filters,
			"Where peers are managed and Calico has no BGPPeers of others, all routes of a pool go to the peers of all its advertisements; else the pools are withheld."},
		{adv, "nodeSelectors", approximated, filters,
			"Where peers are managed and Calico has no BGPPeers of others, all routes of a pool go out from the nodes of all its advertisements; else the pools are withheld."},
		{adv, "serviceSelectors", approximated, blocks, "With the aggregation per-ip, an entry for each address; else the pools are withheld."},

		{lan, "ipAddressPools", refused, "", noLayer},
		{lan, "ipAddressPoolSelectors", refused, "", noLayer},
		{lan, "nodeSelectors", refused, "", noLayer},
		{lan, "preferredNodeSelectors", refused, "", noLayer},
		{lan, "interfaces", refused, "", noLayer},
		{lan, "serviceSelectors", refused, "", noLayer},

		{peer, "myASN", approximated, "BGPPeer spec.localASNumber", "A Calico without this field shows the AS number of the node."},
		{peer, "peerASN", expressed, "BGPPeer spec.asNumber", ""},
		{peer, "dynamicASN", refused, "", "Calico needs the AS number of the peer; the peer is not set up."},
		{peer, "localASN", approximated, "BGPPeer spec.localASNumber",
			"In place of myASN, of which the peer sees nothing. A Calico without this field shows the AS number of the node."},
		{peer, "peerAddress", expressed, "BGPPeer spec.peerIP", "Left to a BGPPeer of Calico that has the same address and port."},
		{peer, "interface", refused, "", "Calico cannot find a peer behind an interface; the peer is not set up."},
		{peer, "sourceAddress", refused, "", "Calico connects from the node's address."},
		{peer, "peerPort", expressed, "BGPPeer spec.peerIP", ""},
		{peer, "holdTime", refused, "", bird},
		{peer, "keepaliveTime", refused, "", bird},
		{peer, "connectTime", refused, "", "BIRD tries again every 5 s."},
		{peer, "routerID", refused, "", "In Calico it is a setting of each node (CALICO_ROUTER_ID)."},
		{peer, "nodeSelectors", expressed, "BGPPeer spec.nodeSelector", "Gt and Lt have no counterpart; a peer that uses them is not set up."},
		{peer, "password", expressed, "BGPPeer spec.password", "By a Secret in the namespace of calico-node, which a Role lets it read."},
		{peer, "passwordSecret", expressed, "BGPPeer spec.password", "Copied to the namespace of calico-node, which a Role lets read it."},
		{peer, "bfdProfile", refused, "", noBFD},
		{peer, "enableGracefulRestart", approximated, "BIRD's configuration", always},
		{peer, "ebgpMultiHop", approximated, "BIRD's configuration", always},
		{peer, "vrf", refused, "", "Calico has sessions in the main routing table only, where the address may be another router; the peer is not set up."},
		{peer, "disableMP", refused, "", "A session carries its own family only."},
		{peer, "dualStackAddressFamily", refused, "", "A session carries its own family only; use one for each family."},

		{bfd, "receiveInterval", refused, "", noBFD},
		{bfd, "transmitInterval", refused, "", noBFD},
		{bfd, "detectMultiplier", refused, "", noBFD},
		{bfd, "echoInterval", refused, "", noBFD},
		{bfd, "echoMode", refused, "", noBFD},
		{bfd, "passiveMode", refused, "", noBFD},
		{bfd, "minimumTtl", refused, "", noBFD},

		{community, "communities", expressed, tags, "As numbers."},
	}
}
