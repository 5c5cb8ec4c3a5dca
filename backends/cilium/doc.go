// Package cilium has Cilium advertise addresses: it writes the objects of Cilium's BGP control plane (CiliumBGPAdvertisement and,
// where BGPPeers are to be set up, CiliumBGPPeerConfig and CiliumBGPClusterConfig) and of its L2 announcer
// (CiliumL2AnnouncementPolicy). Every object is the package's own, known by its labels; nothing of anybody else is ever changed.
//
// What is wanted is worked out by pure functions (translate, then compare), from the desired set and from what was found in the
// cluster; a small part at the edge reads and writes.
//
// # Labels
//
// Each object has app.kubernetes.io/managed-by=fairlead and fairlead.io/installation=<namespace>, and the annotation
// fairlead.io/source that names the user's object it was made from. Two installations never touch each other's objects.
//
// The labels of a CiliumBGPAdvertisement let a CiliumBGPPeerConfig of the user's own choose what its peers hear, in
// spec.families[].advertisements:
//
//   - fairlead.io/advertise=true is on every advertisement that is meant for all peers and all nodes;
//   - peer.fairlead.io/<peer>=true is on those, too, and on every advertisement that names the peer; <peer> is the name of the
//     BGPPeer, shortened like the label of a pool if it is too long;
//   - fairlead.io/advertisement=<name> is on every advertisement.
//
// An advertisement that is limited to some peers does not have fairlead.io/advertise, and one that is limited to some nodes has
// neither of the first two, because a peer config that selects them would show the routes to more peers or nodes than the user
// asked for.
//
// # Sessions
//
// Where peers are managed, each node has a CiliumBGPClusterConfig of its own, and each of its sessions a CiliumBGPPeerConfig. These say
// nothing of advertisements, and so stay as they are whatever becomes of advertisements and of other nodes. Who hears an advertisement is
// said by labels of the CiliumBGPAdvertisement alone, which one write changes as a whole:
//
//   - to.fairlead.io/<peer>=true: the peer hears it;
//   - except.fairlead.io/<node>=true: the node leaves it out. Only advertisements with nodeSelectors have such labels.
//
// For 500 nodes with two sessions each that is 1,500 objects, which are written once; an advertisement for one rack has a label for each
// node of the others, about 60 bytes. order.go says what waits for what.
package cilium
