package backends

// Mapping says how a backend honours a field of the user's objects.
type Mapping string

// The ways to honour a field.
const (
	// Expressed: the CNI does what the field asks for.
	Expressed Mapping = "expressed"
	// Approximated: the CNI does nearly that; Note says what differs.
	Approximated Mapping = "approximated"
	// Refused: the CNI cannot do it; Note says why. A Finding tells the user when the field is set.
	Refused Mapping = "refused"
)

// FieldMapping tells of one field of a metallb.io object what becomes of it.
type FieldMapping struct {
	Kind  string // BGPAdvertisement, L2Advertisement, BGPPeer, BFDProfile or Community
	Field string // the path below spec, without spec
	How   Mapping
	// To names the field of the CNI's object, empty if there is none.
	To   string
	Note string // one sentence; may be empty if How is Expressed
}

// Of tells of a field of a kind that it is honoured so.
func (m Mapping) Of(kind, field, to, note string) FieldMapping {
	return FieldMapping{Kind: kind, Field: field, How: m, To: to, Note: note}
}
