package delegate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/controller/apply"
)

// For how long a backend goes on with what was told to another one, and is not known to be heard from it, where that may never change.
const (
	// silencePatience: the CNI may not report its sessions at all. Calico's nodes are asked twice in this time.
	silencePatience = 2 * time.Minute
	// sharedPatience: a router holds one session with a node (RFC 4271, 6.8), so that of the new one may come up only when that of the old
	// one has gone. Where other nodes serve, it comes up within seconds.
	sharedPatience = 15 * time.Second
)

// handover is a BGPAdvertisement that another backend has had, as the one was told of it that takes it over.
type handover struct {
	backend  string
	source   backends.Source
	families [2]bool // IPv4 and IPv6: Services need them
	managed  bool    // the sessions are those of BGPPeers, which the other one holds, too
	mute     string  // why nobody will say how the sessions are
	verdicts map[backends.Audience]announce.Verdict
}

// hearing decides on what is known of the sessions.
func (h *handover) hearing() apply.Hearing {
	var lacks []string
	out := apply.Hearing{Within: silencePatience}
	for i, needed := range h.families {
		if !needed {
			continue
		}
		v, known := h.verdicts[backends.Audience{Advertisement: h.source, IPv6: i == 1}]
		if !known {
			v = announce.Verdict{Status: metav1.ConditionUnknown, Message: fmt.Sprintf("the BGP sessions of %s have not been looked at yet",
				h.backend)}
		}
		switch {
		case v.Status == metav1.ConditionTrue, v.Status == metav1.ConditionUnknown && h.mute != "":
			continue
		case v.Status == metav1.ConditionFalse:
			out.Within = 0
		}
		if !slices.Contains(lacks, v.Message) {
			lacks = append(lacks, v.Message)
		}
	}
	if len(lacks) == 0 {
		return apply.Hearing{}
	}
	if h.managed {
		out.Within = sharedPatience
	}
	out.Lacks = strings.Join(lacks, "; ") + "; " + h.help()
	return out
}

// help says what would have the backend be heard of.
func (h *handover) help() string {
	switch {
	case h.managed:
		return "see to the BGPPeers and their routers"
	case h.backend == Cilium:
		return "see to Cilium's own BGP sessions, and that its agents report them (enable-bgp-control-plane-status-report)"
	}
	return "see to Calico's own BGP sessions, and that calico-node runs"
}

// hearing returns what is known of an advertisement that a CNI has been told of.
func (t *Task) hearing(backend string, a *backends.BGPAdvertisement, want *backends.Desired) apply.Hearing {
	h := handover{backend: backend, source: a.Source, families: needed(a, want), managed: want.Peers != nil, mute: t.sessions.whyMute(backend)}
	t.mu.Lock()
	h.verdicts = t.heardOf[backend]
	t.mu.Unlock()
	return h.hearing()
}

// needed returns whether Services have IPv4 and IPv6 addresses that an advertisement is for.
func needed(a *backends.BGPAdvertisement, want *backends.Desired) (families [2]bool) {
	for i := range want.Services {
		for _, addr := range theirs(a, want, &want.Services[i]) {
			if addr.Is6() {
				families[1] = true
			} else {
				families[0] = true
			}
		}
		if families == [2]bool{true, true} {
			break
		}
	}
	return families
}

// theirs returns the addresses of a Service that an advertisement is for.
func theirs(a *backends.BGPAdvertisement, want *backends.Desired, s *backends.Service) []netip.Addr {
	if !a.SelectsService(s.Labels) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Addrs), func(addr netip.Addr) bool {
		return !slices.ContainsFunc(want.Announcements, func(x backends.Announcement) bool {
			return x.Prefix.Contains(addr) && slices.ContainsFunc(a.Pools, func(p backends.Pool) bool { return p.Name == x.Pool })
		})
	})
}

// hearing returns what is known of an advertisement that the speakers have been told of.
func (s *speakers) hearing(a *backends.BGPAdvertisement, want *backends.Desired) apply.Hearing {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, more := "", 0
	for i := range want.Services {
		svc := &want.Services[i]
		v := s.verdicts[judged{kindBGP, types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}}]
		waits := v.Reason == announce.ReasonNoSession || v.Reason == announce.ReasonPending
		switch {
		case !waits || len(theirs(a, want, svc)) == 0:
		case first == "":
			first = fmt.Sprintf("Service/%s/%s: %s", svc.Namespace, svc.Name, v.Message)
		default:
			more++
		}
	}
	if first == "" {
		return apply.Hearing{}
	}
	if more > 0 {
		first += fmt.Sprintf("; and %d Services more", more)
	}
	out := apply.Hearing{Lacks: first + "; see to the BGPPeers and their routers"}
	if want.Peers != nil {
		out.Within = sharedPatience
	}
	return out
}
