package announce

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// Reasons of the condition fairlead.io/Advertised. docs/reasons.md explains each; a test keeps the two equal.
const (
	ReasonAdvertised         = "Advertised"
	ReasonApplyFailed        = "ApplyFailed"
	ReasonClassNotAdvertised = "ClassNotAdvertised"
	ReasonIPModeNotVIP       = "IPModeNotVIP"
	ReasonNoAdvertisement    = "NoAdvertisement"
	ReasonNoBackend          = "NoBackend"
	ReasonNotAdvertised      = "NotAdvertised"
	ReasonPending            = "Pending"
	ReasonServiceNotSelected = "ServiceNotSelected"

	// Of the speakers, about a Service.

	ReasonAddressTaken       = "AddressTaken"
	ReasonNoEndpoints        = "NoEndpoints"
	ReasonNoSpeaker          = "NoSpeaker"
	ReasonNotAnnounced       = "NotAnnounced"
	ReasonSharedWithSelector = "SharedIPWithServiceSelector"

	ReasonConflictingAdvertisements = "ConflictingAdvertisements"
	ReasonNoPeer                    = "NoPeer"
	ReasonNoSession                 = "NoSession"

	// Of a CNI, about its sessions.

	ReasonSessionsUnknown = "SessionsUnknown"

	// Of the speakers, about a node. They are those of a Service if every node has the same, else part of the message of NotAnnounced.

	ReasonNoInterface            = "NoInterface"
	ReasonNoLocalEndpoints       = "NoLocalEndpoints"
	ReasonNodeLabeledExclude     = "NodeLabeledExcludeBalancers"
	ReasonNodeNetworkUnavailable = "NodeNetworkUnavailable"
	ReasonNodeNotSelected        = "NodeNotSelected"
	ReasonNodeUnknown            = "NodeUnknown"
	ReasonSpeakerLeaving         = "SpeakerLeaving"
)

func refuse(reason, format string, args ...any) *Verdict {
	return &Verdict{metav1.ConditionFalse, reason, fmt.Sprintf(format, args...)}
}

// maxNamed is how many nodes a message names of each reason.
const maxNamed = 5

// refusals collect why nodes do not announce an address, by reason.
type refusals map[string]*refusal

type refusal struct {
	detail string
	nodes  []string
}

func (r refusals) add(node, reason, detail string) {
	key := reason + "\x00" + detail
	x := r[key]
	if x == nil {
		x = &refusal{detail: detail}
		r[key] = x
	}
	x.nodes = append(x.nodes, node)
}

// summary returns the one reason that all nodes have, or NotAnnounced, and a message that names nodes and reasons.
func (r refusals) summary() (reason, message string) {
	if len(r) == 0 {
		return ReasonNoSpeaker, "no speaker is alive"
	}
	var parts []string
	reasons := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(r)) {
		name, _, _ := strings.Cut(key, "\x00")
		reasons[name] = true
		x := r[key]
		slices.Sort(x.nodes)
		nodes := x.nodes
		more := ""
		if len(nodes) > maxNamed {
			more = fmt.Sprintf(" and %d more", len(nodes)-maxNamed)
			nodes = nodes[:maxNamed]
		}
		parts = append(parts, fmt.Sprintf("%s%s: %s", strings.Join(nodes, ", "), more, x.detail))
	}
	reason = ReasonNotAnnounced
	if len(reasons) == 1 {
		for name := range reasons {
			reason = name
		}
	}
	return reason, "no node announces the address; " + strings.Join(parts, "; ")
}

// noInterface says which interfaces were looked for.
func noInterface(addr netip.Addr, interfaces []string, s Speaker) string {
	what := "no usable interface"
	if len(interfaces) > 0 {
		what = fmt.Sprintf("none of the interfaces %s is usable", strings.Join(interfaces, ", "))
	}
	var have []string
	for _, l := range s.Links {
		have = append(have, l.Name)
	}
	what += " for " + backends.FamilyName(addr.Is6())
	if s.SameSubnet {
		what += fmt.Sprintf(" in the subnet of %s", addr)
	}
	if len(have) == 0 {
		return what + "; it has none at present"
	}
	return fmt.Sprintf("%s; it has %s", what, strings.Join(have, ", "))
}
