package bfd

import "fmt"

// State is the state of a session (RFC 5880, 4.1). The zero value is AdminDown.
type State uint8

// The states with their values on the wire.
const (
	AdminDown State = iota // held down by its administrator
	Down                   // nothing, or nothing good, was heard
	Init                   // the peer is heard, and does not know it yet
	Up
)

// String returns the name that RFC 5880 uses.
func (s State) String() string {
	if names := [...]string{"AdminDown", "Down", "Init", "Up"}; int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Diagnostic is why a side of a session was last not Up any more (RFC 5880, 4.1). It stays until there is another reason.
type Diagnostic uint8

// The diagnostics with their values on the wire.
const (
	NoDiagnostic Diagnostic = iota
	ControlDetectionTimeExpired
	EchoFunctionFailed
	NeighborSignaledSessionDown
	ForwardingPlaneReset
	PathDown
	ConcatenatedPathDown
	AdministrativelyDown
	ReverseConcatenatedPathDown
)

// String returns the text of RFC 5880.
func (d Diagnostic) String() string {
	names := [...]string{
		"No Diagnostic", "Control Detection Time Expired", "Echo Function Failed", "Neighbor Signaled Session Down",
		"Forwarding Plane Reset", "Path Down", "Concatenated Path Down", "Administratively Down", "Reverse Concatenated Path Down",
	}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("Diagnostic(%d)", uint8(d))
}

// Reason is why a datagram was refused.
type Reason uint8

// The reasons, in the order in which they are looked at.
const (
	accepted             Reason = iota
	Truncated                   // shorter than a control packet, or than it says it is
	WrongVersion                // not version 1
	WrongLength                 // says that it is shorter than a control packet is
	ZeroMultiplier              // a detection time of nothing
	Multipoint                  // the M bit is set
	ZeroDiscriminator           // names no session of the sender's
	MissingDiscriminator        // names no session of ours, though it claims to know one
	Authenticated               // carries authentication, which no session uses
	UnknownSession              // nobody has asked for a session with the sender
	WrongSource                 // names a session of ours with another peer, interface or kind
	WrongTTL                    // from farther away than it may: not 255 on a single hop, below the minimum on several
	reasons                     // how many there are
)

// String returns a lower camel case word, for labels of metrics.
func (r Reason) String() string {
	names := [reasons]string{
		"accepted", "truncated", "wrongVersion", "wrongLength", "zeroMultiplier", "multipoint", "zeroDiscriminator",
		"missingDiscriminator", "authenticated", "unknownSession", "wrongSource", "wrongTTL",
	}
	if r < reasons {
		return names[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}
