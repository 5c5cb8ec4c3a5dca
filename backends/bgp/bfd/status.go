package bfd

import "time"

// Status is how a session is.
type Status struct {
	State, Remote                State
	Diagnostic, RemoteDiagnostic Diagnostic
	Since                        time.Time // of State
	// Failed is set from when the session is not Up any more until it is Up again, unless it is the peer's administrator who took it
	// down: that says nothing about the path (RFC 5882, 3.2). A session that was never Up has not failed.
	Failed bool
	// TransmitInterval is what we keep to, before jitter; ReceiveInterval and RemoteMultiplier make up the DetectionTime, which is 0
	// while the peer is not heard.
	TransmitInterval, ReceiveInterval, DetectionTime time.Duration
	RemoteMultiplier                                 uint8
	// Fault is why nothing can be sent or received at present; empty: it can be.
	Fault string
	Counters
}

// Counters count since the session was set up.
type Counters struct {
	ControlSent, ControlReceived uint64
	EchoSent, EchoReceived       uint64 // always 0; see Unsupported
	// SessionUp and SessionDown are how often the state became Up, and ceased to be.
	SessionUp, SessionDown uint64
	// Dropped are datagrams of the peer's that were refused; SendErrors packets that the kernel did not take.
	Dropped, SendErrors uint64
}

// Unsupported returns, for the fields of c that are not honoured, their names and why.
//
// The echo function (RFC 5880, 6.4; RFC 5881) has a peer's kernel, not its BFD, return packets, so that the forwarding plane alone is
// tested. Both halves of it are out of reach for a process that has no more than CAP_NET_RAW:
//
// Returning the peer's packets is forwarding. Whether the kernel does it depends on net.ipv4.ip_forward and on what the CNI, kube-proxy
// and the node's own firewall have in their forward chains, which cannot be seen. A Required Min Echo RX Interval other than 0 would be a
// promise on others' behalf, and when it is broken, the peer takes a session down that is sound. So it is 0, which tells the peer to
// send none (6.8.1). To return the packets from here instead would test what the control packets test already.
//
// Our own would have to go out with our address as source and destination. A kernel refuses to receive those (they are martians,
// unless accept_local is set), so they would be sent and received around it by packet sockets, with the peer's link-layer address
// kept by us, and be lost or not by the reverse-path filter of the router. There the reflector of FRR is no help: it is
// a program, too.
func Unsupported(c Config) []UnsupportedField {
	var out []UnsupportedField
	if c.EchoMode {
		out = append(out, UnsupportedField{"echoMode", "the kernel, not the speaker, would have to return echo packets; the session runs on control packets alone"})
	}
	if c.EchoMode && c.EchoInterval != 0 {
		out = append(out, UnsupportedField{"echoInterval", "no echo packets are sent"})
	}
	return out
}

// UnsupportedField is a field that is not honoured, and why.
type UnsupportedField struct{ Field, Reason string }
