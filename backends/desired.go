package backends

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Desired is everything that a ClusterBackend has to make reachable.
type Desired struct {
	// Announcements are the prefixes, in any order, each at most once.
	Announcements []Announcement
	// Hold names pools whose addresses are not known at present, because the pool is faulty and no valid version of it has been
	// seen. What is announced for them stays as it is.
	Hold []string

	// What follows says the same and more in the user's terms, for backends that hand it on to a CNI. All lists are sorted by name.

	// BGPAdvertisements are those this backend serves. Announcements holds the prefixes of their pools. One none of whose pools is
	// known at present is among them, without pools.
	BGPAdvertisements []BGPAdvertisement
	// L2Advertisements are those this backend serves.
	L2Advertisements []L2Advertisement
	// Peers are the routers to hold sessions with; nil if the CNI's own peers are to be used.
	Peers []Peer
	// Nodes are the nodes of the cluster that may announce; known only where Peers is set or an advertisement selects nodes.
	Nodes []Node
	// Services have addresses from the pools; known only where an advertisement selects Services or wants routes of single addresses.
	Services []Service
}

// IsEmpty reports whether nothing is wanted.
func (d *Desired) IsEmpty() bool {
	return len(d.Announcements)+len(d.BGPAdvertisements)+len(d.L2Advertisements)+len(d.Peers) == 0
}

// Announcement asks for one prefix to be reachable.
type Announcement struct {
	Prefix netip.Prefix // masked; one address is a /32 or /128
	Pool   string       // the pool it belongs to
}

// Source names the user's object that something was made from.
type Source struct{ Kind, Namespace, Name string }

// String returns kind/namespace/name, or kind/name if there is no namespace.
func (s Source) String() string {
	if s.Namespace == "" {
		return s.Kind + "/" + s.Name
	}
	return fmt.Sprintf("%s/%s/%s", s.Kind, s.Namespace, s.Name)
}

// Pool names a pool, and the value that the label fairlead.io/pool has on Services with an address from it.
type Pool struct{ Name, Label string }

// BGPAdvertisement says how the addresses of some pools are advertised by BGP. Lists of selectors are ORed; an empty list
// selects everything.
type BGPAdvertisement struct {
	Source           Source
	Pools            []Pool
	ServiceSelectors []labels.Selector
	NodeSelectors    []labels.Selector
	// Peers names the Peers that hear the routes; empty: all of them.
	Peers []string
	// AggregationLength and AggregationLengthV6 are the prefix lengths of the routes; 32 and 128 are the addresses themselves.
	AggregationLength, AggregationLengthV6 int
	LocalPref                              uint32 // 0: not set
	Communities                            []Community
}

// Exact reports whether the routes are those of the addresses themselves.
func (a *BGPAdvertisement) Exact() bool {
	return (a.AggregationLength == 0 || a.AggregationLength == 32) && (a.AggregationLengthV6 == 0 || a.AggregationLengthV6 == 128)
}

// Route returns the prefix that is advertised for an address.
func (a *BGPAdvertisement) Route(addr netip.Addr) netip.Prefix {
	bits := a.AggregationLength
	if addr.Is6() {
		bits = a.AggregationLengthV6
	}
	if bits == 0 {
		bits = addr.BitLen()
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

// SelectsService reports whether a Service with these labels is advertised.
func (a *BGPAdvertisement) SelectsService(l labels.Set) bool { return selects(a.ServiceSelectors, l) }

// SelectsNode reports whether a node with these labels advertises.
func (a *BGPAdvertisement) SelectsNode(l labels.Set) bool { return selects(a.NodeSelectors, l) }

func selects(any []labels.Selector, l labels.Set) bool {
	return len(any) == 0 || slices.ContainsFunc(any, func(s labels.Selector) bool { return s.Matches(l) })
}

// Community is a BGP community: two numbers of 16 bits (RFC 1997) or, if Large, three of 32 bits (RFC 8092). It is comparable.
type Community struct {
	Large bool
	Parts [3]uint32
}

// String returns the numbers with colons between them: 64512:100 or 64512:1:2.
func (c Community) String() string {
	if c.Large {
		return fmt.Sprintf("%d:%d:%d", c.Parts[0], c.Parts[1], c.Parts[2])
	}
	return fmt.Sprintf("%d:%d", c.Parts[0], c.Parts[1])
}

// L2Advertisement says where the addresses of some pools are announced on the local network. Lists of selectors are ORed; an
// empty list selects everything.
type L2Advertisement struct {
	Source           Source
	Pools            []Pool
	ServiceSelectors []labels.Selector
	NodeSelectors    []labels.Selector
	Interfaces       []string // names; empty: all
	PrefersNodes     bool     // some nodes are preferred to others
}

// Peer is a router to hold BGP sessions with.
type Peer struct {
	Source                   Source
	MyASN, PeerASN, LocalASN uint32     // PeerASN 0: see DynamicASN; LocalASN 0: MyASN is shown
	DynamicASN               string     // internal or external; empty if PeerASN is set
	Address                  netip.Addr // invalid if Interface is set
	Interface                string
	Port                     uint16
	SourceAddress, RouterID  netip.Addr     // invalid: not asked for
	HoldTime, KeepaliveTime  *time.Duration // nil: not asked for
	ConnectTime              time.Duration  // 0: not asked for
	// Password is the TCP MD5 password (RFC 2385), empty for none.
	Password string
	// Unready says why the peer cannot be set up at present, like a Secret that is missing. What exists for it stays as it is.
	Unready         string
	BFDProfile      string // name; empty: none
	VRF             string
	NodeSelectors   []labels.Selector // ORed; empty: all nodes
	GracefulRestart bool
	MultiHop        bool
	DualStack       bool // both families over this session
	DisableMP       bool
	// FromNode are the annotations of the user's object that have settings come from annotations of the Nodes; a NodeDesired
	// has none: the settings are those of the node.
	FromNode []string
}

// SelectsNode reports whether a node with these labels holds a session with the peer.
func (p *Peer) SelectsNode(l labels.Set) bool { return selects(p.NodeSelectors, l) }

// Node is a node that may announce.
type Node struct {
	Name   string
	Labels labels.Set
}

// Service is a Service that has addresses.
type Service struct {
	Namespace, Name string
	Labels          labels.Set
	Pool            string // of the addresses; "pool4,pool6" if they come from two
	Addrs           []netip.Addr
	Local           bool // externalTrafficPolicy: Local
}
