package announce

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// Verdict says whether the addresses of a Service are advertised.
type Verdict struct {
	Status          metav1.ConditionStatus
	Reason, Message string
}

// Subject is a Service that has addresses.
type Subject struct {
	Namespace, Name string

	Labels labels.Set
	Class  string // empty: none
	Proxy  bool   // some address has the ipMode Proxy
	Pools  []string
	Addrs  []netip.Addr
}

// Result is how the last try of a backend went.
type Result struct {
	Outcome *backends.Outcome // nil if the CNI was not reached
	Err     error
	// Services returns the verdict on a Service by advertisements of a kind, false if there is none yet; nil if a backend has none on
	// single Services.
	Services func(kind, namespace, name string) (Verdict, bool)
	// Sessions says of BGPAdvertisements whether the CNI has a session up that carries their routes; see Sessions. nil: nobody looks.
	Sessions map[backends.Audience]Verdict
}

// Advertised returns the verdict on a Service. results are those of the backends that have been tried, by name.
func Advertised(s *config.Snapshot, choice Choice, results map[string]Result, x Subject) Verdict {
	var all []Verdict
	for _, name := range x.Pools {
		pool := s.Pool(name)
		if pool == nil {
			all = append(all, Verdict{metav1.ConditionUnknown, ReasonNoAdvertisement, fmt.Sprintf("pool %q is not in force", name)})
			continue
		}
		all = append(all, advertised(s, choice, results, x, pool)...)
	}
	return together(all)
}

// together is the verdict on several ways of being advertised: one that works is enough.
func together(all []Verdict) Verdict {
	var best Verdict
	var messages []string
	for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionUnknown, metav1.ConditionFalse} {
		for _, v := range all {
			if v.Status != status {
				continue
			}
			if best.Status == "" {
				best = v
			}
			if !slices.Contains(messages, v.Message) {
				messages = append(messages, v.Message)
			}
		}
	}
	best.Message = strings.Join(messages, "; ")
	return best
}

func advertised(s *config.Snapshot, choice Choice, results map[string]Result, x Subject, pool *config.Pool) []Verdict {
	var out []Verdict
	selected := false
	judge := func(ref config.Ref, backend string, selectsService bool, selects func(*config.Pool) bool) {
		selected = true
		if !selectsService {
			out = append(out, Verdict{metav1.ConditionFalse, ReasonServiceNotSelected,
				fmt.Sprintf("the serviceSelectors of %s %q do not select the Service", ref.Kind, ref.Name)})
			return
		}
		if other := x.otherPool(s, pool); other != nil && !selects(other) {
			if r := results[backend]; r.Outcome != nil && r.Outcome.WholeServices {
				out = append(out, *refuse(ReasonNotAdvertised,
					"%s advertises all addresses of a Service or none, and %s %q selects pool %q and not %q: select both, "+
						"or give the Service addresses of one pool", backend, ref.Kind, ref.Name, pool.Name, other.Name))
				return
			}
		}
		out = append(out, by(ref, backend, results, x, pool)...)
	}
	for _, a := range s.BGPAdvertisements() {
		if a.Selects(pool) {
			judge(a.Ref, choice.Backend(a), a.SelectsService(x.Labels), a.Selects)
		}
	}
	for _, a := range s.L2Advertisements() {
		if a.Selects(pool) {
			judge(a.Ref, choice.L2Backend(a), a.SelectsService(x.Labels), a.Selects)
		}
	}
	if !selected {
		out = append(out, Verdict{metav1.ConditionFalse, ReasonNoAdvertisement,
			fmt.Sprintf("no BGPAdvertisement or L2Advertisement selects pool %q", pool.Name)})
	}
	return out
}

// otherPool returns the second pool of a Service that has its addresses from two; nil if there is none, or none in force.
func (x *Subject) otherPool(s *config.Snapshot, pool *config.Pool) *config.Pool {
	for _, name := range x.Pools {
		if name != pool.Name {
			return s.Pool(name)
		}
	}
	return nil
}

// by returns the verdicts on what one backend makes of an advertisement: one, or one for each family if they differ.
func by(ref config.Ref, backend string, results map[string]Result, x Subject, pool *config.Pool) []Verdict {
	if backend == "" {
		return []Verdict{*refuse(ReasonNoBackend, "no backend serves %s %q", ref.Kind, ref.Name)}
	}
	r, tried := results[backend]
	unknown := func(reason, format string, args ...any) []Verdict {
		return []Verdict{{metav1.ConditionUnknown, reason, fmt.Sprintf(format, args...)}}
	}
	switch {
	case !tried:
		return unknown(ReasonPending, "%s has not been told yet", backend)
	case r.Services != nil:
		if v, known := r.Services(ref.Kind, x.Namespace, x.Name); known {
			return []Verdict{v}
		}
		return unknown(ReasonPending, "the %s has not decided yet", backend)
	case r.Outcome == nil:
		return unknown(ReasonApplyFailed, "%s: %v", backend, first(r.Err))
	case x.Class != "" && r.Outcome.Classes != nil && !slices.Contains(r.Outcome.Classes, x.Class):
		return []Verdict{*refuse(ReasonClassNotAdvertised, "class %q is not advertised by %s", x.Class, backend)}
	case x.Proxy && r.Outcome.OnlyVIP:
		return []Verdict{*refuse(ReasonIPModeNotVIP, "ipMode Proxy: %s advertises addresses of ipMode VIP only", backend)}
	}
	if err := failureOf(r.Err, x.Addrs); err != nil {
		return unknown(ReasonApplyFailed, "%s: %v", backend, err)
	}
	for _, f := range r.Outcome.Findings {
		if f.Withheld && f.Object == source(ref) {
			return []Verdict{*refuse(ReasonNotAdvertised, "%s withholds %s %q: %s: %s", backend, ref.Kind, ref.Name, f.Field, f.Message)}
		}
	}
	p, told := r.Outcome.Pools[pool.Name]
	no, heard := unheard(ref, r.Outcome, x, pool)
	message := p.Message
	switch {
	case !told:
		return unknown(ReasonPending, "%s has not been told of pool %q yet", backend, pool.Name)
	case len(no) > 0 && heard == [2]bool{}:
		return no
	case !p.Advertised:
		return []Verdict{*refuse(ReasonNotAdvertised, "pool %q: %s", pool.Name, p.Message)}
	case heard == [2]bool{true, false}:
		message = p.Of(false)
	case heard == [2]bool{false, true}:
		message = p.Of(true)
	}
	return append(no, spokenBy(ref, r.Sessions, heard, message)...)
}

// spokenBy is the verdict on what a CNI has been told to advertise, by family: what the CNI says of its sessions. Without any of that, to
// be told is all there is. In the end one session is enough, so that which are up is not for the Service to tell.
func spokenBy(ref config.Ref, sessions map[backends.Audience]Verdict, heard [2]bool, message string) []Verdict {
	yes := Verdict{metav1.ConditionTrue, ReasonAdvertised, message}
	if ref.Kind != "BGPAdvertisement" || sessions == nil {
		return []Verdict{yes}
	}
	var out []Verdict
	for _, is6 := range []bool{false, true} {
		if !heard[index(is6)] {
			continue
		}
		v, known := sessions[backends.Audience{Advertisement: source(ref), IPv6: is6}]
		switch {
		case !known:
			v = Verdict{metav1.ConditionUnknown, ReasonSessionsUnknown, "the CNI's sessions have not been looked at yet"}
		case v.Status == metav1.ConditionTrue:
			v = yes
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// unheard refuses the families that the Service has addresses of from the pool, and that no session can tell; heard are the others.
func unheard(ref config.Ref, o *backends.Outcome, x Subject, pool *config.Pool) (no []Verdict, heard [2]bool) {
	for _, addr := range x.Addrs {
		if pool.Contains(addr) {
			heard[index(addr.Is6())] = true
		}
	}
	for _, is6 := range []bool{false, true} {
		if why := o.Unheard[backends.Audience{Advertisement: source(ref), IPv6: is6}]; why != "" && heard[index(is6)] {
			heard[index(is6)] = false
			no = append(no, *refuse(ReasonNoPeer, "%s", why))
		}
	}
	return no, heard
}

// index is where a pair by family has IPv4 or IPv6.
func index(is6 bool) int {
	if is6 {
		return 1
	}
	return 0
}

// failureOf returns why one of the addresses could not be announced, nil if none failed.
func failureOf(err error, addrs []netip.Addr) error {
	for _, e := range backends.Flatten(err) {
		if a, ok := errors.AsType[*backends.AnnounceError](e); ok && slices.ContainsFunc(addrs, a.Prefix.Contains) {
			return a.Err
		}
	}
	return nil
}

// first returns the first of errors that were joined, without the prefix that it is about.
func first(err error) error {
	e := backends.Flatten(err)[0]
	if a, ok := errors.AsType[*backends.AnnounceError](e); ok {
		return a.Err
	}
	return e
}
