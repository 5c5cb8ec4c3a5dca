// Package bfd is Bidirectional Forwarding Detection (RFC 5880) over one hop (RFC 5881) and several (RFC 5883), IPv4 and IPv6. It is run
// by the speaker, at node scope; its sessions follow the BGP peers that name a BFDProfile.
//
// Asynchronous mode only. Demand mode is never asked for. A peer that asks for it gets what RFC 5880, 6.8.7 says: while both sides
// are Up, nothing is sent but its Polls' answers and Polls of our own; it is watched as before, for it goes on sending. There is no
// authentication: packets that carry some are refused. What the echo function is and is not, see Unsupported.
//
// One listening socket for each port, family and VRF serves all sessions. Everything that happens, happens under one mutex: a
// datagram is read and handled without letting go of it. So when a detection time has passed, what the socket holds can be read
// first, and a peer is not declared down because this process was late to read (a busy processor, a garbage collection, a
// debugger). Packets count from when they are read, not from when the kernel got them: after a stall a dead peer is found out late by as
// much as the stall, a living one is never lost to it, whatever the kernel had to drop and however the wall clock jumped.
//
// The files: packet.go is the wire format, machine.go the state machine without time or sockets of its own, session.go a machine with
// what it needs around it, server.go the set of sessions, demux.go which session a datagram belongs to, timers.go when each is due,
// network.go what is asked of the network, and socket.go the kernel's.
package bfd
