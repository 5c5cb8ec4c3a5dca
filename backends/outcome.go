package backends

import "fmt"

// Outcome is what an Apply found and achieved, beside its error: the error is what another try may change, an Outcome is how
// things are. A backend of cluster scope hands one to the function in its Config at the end of each Apply that reached the CNI.
type Outcome struct {
	// APIVersion is the group and version of the CNI's objects that are written.
	APIVersion string
	// Facts is what was detected of the CNI, in a fixed order.
	Facts []Fact
	// Owned lists the CNI's objects that are kept by this backend, as Kind/name or Kind/namespace/name, sorted.
	Owned []string
	// Findings is what the user has to know, in a fixed order.
	Findings []Finding
	// Pools tells of each pool in Desired how it is advertised, or why it is not.
	Pools map[string]PoolOutcome
	// Unheard tells of each advertisement and family whose routes no session can tell why that is so; it has those that Pools says are
	// advertised. See Desired.Unheard.
	Unheard map[Audience]string
	// IgnoresServices is set if other Services in Desired would lead to the same; with WholeServices, if none of them has addresses of
	// two pools.
	IgnoresServices bool
	// WholeServices is set if the CNI advertises all addresses of a Service or none. One with addresses of two pools is advertised by
	// what selects both.
	WholeServices bool
	// Claims are the values of spec.loadBalancerClass, empty for none, of Services whose addresses the CNI's own allocator replaces;
	// ClaimsLoadBalancerIP is set if it replaces those of Services with spec.loadBalancerIP, too.
	Claims               []string
	ClaimsLoadBalancerIP bool
	// Classes are the values of spec.loadBalancerClass with which the CNI advertises a Service; nil: it does not look at the class.
	// A Service without a class is always advertised.
	Classes []string
	// OnlyVIP is set if the CNI advertises no address whose ipMode is Proxy.
	OnlyVIP bool
}

// Silent says why what an advertisement asks for is not, or not all, advertised; empty if nothing speaks against it. pools are those that
// the advertisement selects.
func (o *Outcome) Silent(advertisement Source, pools []Pool) string {
	for _, f := range o.Findings {
		matters := f.Missing || f.Withheld || f.Type == BackendInactive || f.Type == ConfigFrozen
		if matters && (f.Object == advertisement || !otherwise[advertisement.Kind][f.Object.Kind]) {
			return f.String()
		}
	}
	for _, is6 := range []bool{false, true} {
		if why := o.Unheard[Audience{Advertisement: advertisement, IPv6: is6}]; why != "" {
			return why
		}
	}
	for _, p := range pools {
		if x, told := o.Pools[p.Name]; told && !x.Advertised {
			return fmt.Sprintf("pool %q: %s", p.Name, x.Message)
		}
	}
	return ""
}

// otherwise are, by kind of advertisement, the kinds of objects whose findings are about others.
var otherwise = map[string]map[string]bool{
	"BGPAdvertisement": {"BGPAdvertisement": true, "L2Advertisement": true},
	"L2Advertisement":  {"BGPAdvertisement": true, "L2Advertisement": true, "BGPPeer": true},
}

// Fact is one thing that was detected: "bgp" is "on", as said by "ConfigMap kube-system/cilium-config".
type Fact struct{ Name, Value, Source string }

// PoolOutcome tells how the addresses of a pool are advertised.
type PoolOutcome struct {
	// Advertised is false if they are not.
	Advertised bool
	// Message says how, or why not, in one sentence without the pool's name.
	Message string
	// MessageIPv4 and MessageIPv6 say it for the addresses of one family, where that is less.
	MessageIPv4, MessageIPv6 string
}

// Of returns the message for addresses of one family.
func (p PoolOutcome) Of(is6 bool) string {
	switch {
	case is6 && p.MessageIPv6 != "":
		return p.MessageIPv6
	case !is6 && p.MessageIPv4 != "":
		return p.MessageIPv4
	}
	return p.Message
}

// FindingType says what kind of trouble a Finding is; it is the type of a condition of the Backend object.
type FindingType string

// The types of findings.
const (
	// UnsupportedField: the CNI cannot express a field of the user's object.
	UnsupportedField FindingType = "UnsupportedField"
	// BackendInactive: the CNI has what was written but nothing acts on it.
	BackendInactive FindingType = "BackendInactive"
	// Contended: somebody else keeps changing what was written.
	Contended FindingType = "Contended"
	// IPAMConflict: the CNI's own allocator would overwrite the addresses of Services.
	IPAMConflict FindingType = "IPAMConflict"
	// PeerExists: somebody else's object holds the session already.
	PeerExists FindingType = "PeerExists"
	// PeerNotReady: a peer cannot be set up at present.
	PeerNotReady FindingType = "PeerNotReady"
	// CoveredByExisting: somebody else's entry advertises the prefix already.
	CoveredByExisting FindingType = "CoveredByExisting"
	// ConfigFrozen: a faulty entry of somebody else keeps the CNI from acting on any change.
	ConfigFrozen FindingType = "ConfigFrozen"
	// SharedAddress: an address that several Services share is announced in a way that can put it on two nodes.
	SharedAddress FindingType = "SharedAddress"
	// HandingOver: the backend goes on with what another one is to have, which is not heard yet. No backend finds this; see
	// internal/controller/apply.
	HandingOver FindingType = "HandingOver"
)

// Finding is something that the user has to know, and that another try would not change.
type Finding struct {
	Type FindingType
	// Object is what the finding is about: the user's object if Source.Kind is of metallb.io, else the CNI's.
	Object Source
	// Field is the path of a field of Object, empty if it is about the whole.
	Field string
	// Message says what is the matter and what to do about it; it names neither Object nor Field.
	Message string
	// Withheld is set if pools are not advertised for this reason, because ignoring the field would let more peers or nodes hear
	// a route than the user asked for.
	Withheld bool
	// Missing is set if something that is wanted is not in place for this reason.
	Missing bool
}

// String names the object, the field and the matter.
func (f Finding) String() string {
	if f.Field == "" {
		return fmt.Sprintf("%s: %s", f.Object, f.Message)
	}
	return fmt.Sprintf("%s %s: %s", f.Object, f.Field, f.Message)
}
