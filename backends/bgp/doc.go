// Package bgp advertises routes to routers with BGP (RFC 4271). It is run by the speaker, at node scope, and needs no other daemon.
//
// GoBGP runs the state machine and its timers; there is one GoBGP server for each session, so what happens to one peer cannot touch
// another. GoBGP does not speak to the router itself. Between the two is a wire of ours: GoBGP's connection ends on loopback, and what it
// says is passed on through a socket that the wire has opened to the router with everything that a peer may ask for. Four things follow
// from that. No UPDATE of a router reaches GoBGP, which would keep every route it hears, so memory is the same whatever a router sends,
// and hostile input meets a parser of three small messages. OPEN is written by the wire, so that router ID, graceful restart and
// families are right for each peer. A connection can be closed with the NOTIFICATION that is meant, or with none.
//
// And UPDATEs are written by the wire, with GoBGP's packet library: GoBGP's server knows no routes. It would send an UPDATE for each prefix
// that changes, each IPv6 prefix at any time, and keep several objects for each prefix and peer. The wire compares what a router is to
// hear with what it has been told, and puts all prefixes of the same attributes into as few UPDATEs as can hold them.
//
// The files: backend.go holds the contract, plan.go and peer.go what is wanted of which peer, session.go one peer, wire.go what
// passes between GoBGP and the router, tell.go what a router is told, and when, read.go the filter, open.go, update.go and notification.go
// the messages, engine.go the GoBGP server, loopback.go the way to it, connect.go and socket.go the way to the router, unnumbered.go
// who that is on a link, local.go next hops and router ID, listen.go the other way round, status.go what is known of sessions,
// shutdown.go going away.
//
// Sessions need no capability, TCP MD5 and binding to a VRF's device included; unnumbered ones need CAP_NET_RAW, and listening on
// port 179 needs CAP_NET_BIND_SERVICE.
package bgp
