package backends

import "net/netip"

// NodeDesired is everything that one node is to announce.
type NodeDesired struct {
	// Addresses are to be answered for on the local network, in any order, each at most once.
	Addresses []LinkAddress
	// Peers are the routers that this node holds sessions with, sorted by name.
	Peers []Peer
	// Routes are what Peers hear. Several may have the same prefix if no peer hears two of them.
	Routes []Route
}

// LinkAddress is one address that is announced on the local network.
type LinkAddress struct {
	Addr netip.Addr
	// Interfaces are the names of the node's interfaces to announce on; empty: all.
	Interfaces []string
}

// Route is one prefix advertised by BGP from this node.
type Route struct {
	Prefix      netip.Prefix // masked
	Peers       []string     // names of the Peers that hear it; empty: all
	LocalPref   uint32       // told to iBGP peers only; 0: not set
	Communities []Community
	// Draining asks routers to prefer other nodes (RFC 8326): it is told with the community GRACEFUL_SHUTDOWN, to iBGP peers with the
	// local preference 0.
	Draining bool
}
