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
	EchoSent, EchoReceived       uint64 // always 0: the peer's are the kernel's business; see Unsupported
	// SessionUp and SessionDown are how often the state became Up, and ceased to be.
	SessionUp, SessionDown uint64
	// Dropped are datagrams of the peer's that were refused; SendErrors packets that the kernel did not take.
	Dropped, SendErrors uint64
}

// Unsupported returns, for the fields of c that are honoured in part or not at all, their names and why.
//
// The echo function (RFC 5880, 6.4; RFC 5881, 4) has a system send packets to itself by way of the peer, whose forwarding plane returns
// them without its BFD; so the forwarding plane alone is tested. There are two sides to it:
//
// The peer's packets are returned by the kernel, if it forwards: net.ipv4.ip_forward, or forwarding of the session's interface. Only
// then, and only with EchoMode, the peer is told that it may send them; otherwise the Required Min Echo RX Interval is 0, which tells
// it not to (RFC 5880, 6.8.1). What is not known is whether a firewall drops them in its forward chain. A peer that gets none back takes
// a sound session down, with the diagnostic Echo Function Failed: it is told once, then the interval is 0 until the Config
// changes. This is read when a session is set up or changed. That the kernel sends ICMP redirects along is harmless.
//
// Packets of our own are not sent. They would have our address as source and destination, which our kernel refuses to receive (unless
// accept_local is set) and a packet socket would have to take in its place; the frames would have to be addressed by hand, behind
// the neighbour table's back; and the process that sends and receives them is the one that sends and receives the control packets,
// so they would tell little that those do not.
//
// Over several hops there is no echo function (RFC 5883, 3); on IPv6, none here, as in FRR.
func Unsupported(c Config) []UnsupportedField {
	reason := "the speaker sends no echo packets of its own; it lets the peer send some if this node forwards IPv4"
	switch {
	case !c.EchoMode:
		return nil
	case c.MultiHop:
		reason = "there are no echo packets over several hops (RFC 5883)"
	case c.Peer.Is6():
		reason = "there are no echo packets on IPv6"
	}
	return []UnsupportedField{{"echoMode", reason + "; the session runs on control packets"}}
}

// UnsupportedField is a field of a BFDProfile that is not honoured, or not entirely, and why.
type UnsupportedField struct{ Field, Reason string }
