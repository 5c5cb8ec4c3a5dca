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
	judge := func(kind, name, backend string, selectsService bool) {
		selected = true
		if !selectsService {
			out = append(out, Verdict{metav1.ConditionFalse, ReasonServiceNotSelected, fmt.Sprintf("the serviceSelectors of %s %q do not select the Service", kind, name)})
			return
		}
		out = append(out, by(kind, name, backend, results, x, pool))
	}
	for _, a := range s.BGPAdvertisements() {
		if a.Selects(pool) {
			judge("BGPAdvertisement", a.Ref.Name, choice.Backend(a), a.SelectsService(x.Labels))
		}
	}
	for _, a := range s.L2Advertisements() {
		if a.Selects(pool) {
			judge("L2Advertisement", a.Ref.Name, choice.L2Backend(a), a.SelectsService(x.Labels))
		}
	}
	if !selected {
		out = append(out, Verdict{metav1.ConditionFalse, ReasonNoAdvertisement, fmt.Sprintf("no BGPAdvertisement or L2Advertisement selects pool %q", pool.Name)})
	}
	return out
}

// by returns the verdict on what one backend makes of an advertisement.
func by(kind, name, backend string, results map[string]Result, x Subject, pool *config.Pool) Verdict {
	if backend == "" {
		return Verdict{metav1.ConditionFalse, ReasonNoBackend, fmt.Sprintf("no backend serves %s %q", kind, name)}
	}
	r, tried := results[backend]
	switch {
	case !tried:
		return Verdict{metav1.ConditionUnknown, ReasonPending, fmt.Sprintf("%s has not been told yet", backend)}
	case r.Services != nil:
		if v, known := r.Services(kind, x.Namespace, x.Name); known {
			return v
		}
		return Verdict{metav1.ConditionUnknown, ReasonPending, fmt.Sprintf("the %s has not decided yet", backend)}
	case r.Outcome == nil:
		return Verdict{metav1.ConditionUnknown, ReasonApplyFailed, fmt.Sprintf("%s: %v", backend, first(r.Err))}
	case x.Class != "" && r.Outcome.Classes != nil && !slices.Contains(r.Outcome.Classes, x.Class):
		return Verdict{metav1.ConditionFalse, ReasonClassNotAdvertised, fmt.Sprintf("class %q is not advertised by %s", x.Class, backend)}
	case x.Proxy && r.Outcome.OnlyVIP:
		return Verdict{metav1.ConditionFalse, ReasonIPModeNotVIP, fmt.Sprintf("ipMode Proxy: %s advertises addresses of ipMode VIP only", backend)}
	}
	if err := failureOf(r.Err, x.Addrs); err != nil {
		return Verdict{metav1.ConditionUnknown, ReasonApplyFailed, fmt.Sprintf("%s: %v", backend, err)}
	}
	p, told := r.Outcome.Pools[pool.Name]
	switch {
	case !told:
		return Verdict{metav1.ConditionUnknown, ReasonPending, fmt.Sprintf("%s has not been told of pool %q yet", backend, pool.Name)}
	case !p.Advertised:
		return Verdict{metav1.ConditionFalse, ReasonNotAdvertised, fmt.Sprintf("pool %q: %s", pool.Name, p.Message)}
	}
	return Verdict{metav1.ConditionTrue, ReasonAdvertised, p.Message}
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
