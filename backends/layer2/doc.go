// Package layer2 makes addresses reachable on the links of a node: it answers ARP requests (RFC 826) and neighbour solicitations
// (RFC 4861) for them, and tells the neighbours when it takes an address over. It is run by the speaker, at node scope.
//
// No address is ever put on an interface. On each usable link there is one packet socket for ARP and one for NDP, each with a
// filter in the kernel that lets through only what concerns an announced address; the solicited-node multicast groups of the
// IPv6 addresses are joined, so that switches which snoop MLD forward the solicitations. CAP_NET_RAW is all that is needed.
//
// The files: backend.go holds the contract, link.go which links are usable, watch.go the kernel's news of them, responder.go what
// is open on one link, arp.go and ndp.go what is answered to a frame, filter.go and program.go the filters, gratuitous.go
// the unsolicited announcements, multicast.go the groups, conflict.go what is done about others who claim an address.
package layer2
