package chaos

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// subject is a Service at a quiet point.
type subject struct {
	version
	owner   owner
	status  string // of the condition
	reason  string
	message string
}

// hold is an AddressReservation that the controller made.
type hold struct {
	owner owner
	addrs []netip.Addr
	after time.Duration
}

// scene is everything at a quiet point. It judges by looking at every address of every pool, one by one.
type scene struct {
	world    *world
	subjects []*subject
	holds    []hold
	counters map[string]v1beta1.IPAddressPoolStatus
}

// problems returns what is not as the rules of assignment say.
func (s *scene) problems() []string {
	var out []string
	report := func(x *subject, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s holds [%s], asks %v, condition %s %s: %q: ", x.owner, joined(x.addrs), x.demand, x.status, x.reason, x.message)+
			fmt.Sprintf(format, args...))
	}
	for _, x := range s.subjects {
		for _, a := range x.addrs {
			if s.world.poolOf(a) == nil {
				report(x, "%s is in no pool", a)
			}
			for _, y := range s.holders(a) {
				if why := x.demand.sharing.with(y.demand.sharing); y != x && why != "" {
					report(x, "%s is held by %s, too, which asks %v: %s", a, y.owner, y.demand, why)
				}
			}
		}
		switch {
		case !x.demand.served:
			if len(x.addrs) > 0 || x.status != "" {
				report(x, "it is not ours any more")
			}
		case len(x.addrs) == 0:
			s.judgePending(x, report)
		default:
			s.judgeHolder(x, report)
		}
		s.judgeHold(x, report)
	}
	return append(append(out, s.judgeHolds()...), s.judgeCounters()...)
}

type reporter func(x *subject, format string, args ...any)

// judgePending: nothing free fits, and the reason is one that is true.
func (s *scene) judgePending(x *subject, report reporter) {
	if s.fits(x) {
		report(x, "it is pending while something free fits")
		return
	}
	if reasons := s.reasons(x); x.status != "False" || !slices.Contains(reasons, x.reason) {
		report(x, "the reason is not one of %v", reasons)
	}
}

// judgeHolder: it has what it asks for, or says what it lacks, and that cannot be had.
func (s *scene) judgeHolder(x *subject, report reporter) {
	if want := map[bool]string{true: "Allocated", false: "AddressKept"}[s.satisfied(x)]; x.status != "True" || x.reason != want {
		// Of two addresses, one has left every pool: until a restart that is an address kept, afterwards one not gained.
		if !(x.reason == "AddressKept" && len(x.addrs) < len(x.demand.families)) {
			report(x, "the condition is to be True %s", want)
		}
	}
	if s.improvable(x) {
		report(x, "what it asks for can be had")
	}
}

// satisfied reports whether a holder has what it insists on.
func (s *scene) satisfied(x *subject) bool {
	d := &x.demand
	if d.invalid || d.policy == corev1.IPFamilyPolicyRequireDualStack && len(x.addrs) < 2 {
		return false
	}
	for _, a := range d.asked {
		if !slices.Contains(x.addrs, a) {
			return false
		}
	}
	if d.pool != "" && s.world.pools[d.pool] == nil {
		return false
	}
	for _, a := range x.addrs {
		p := s.world.poolOf(a)
		if p == nil || !s.admitted(p, x) || d.pool != "" && p.name != d.pool || len(d.pools) > 0 && !slices.Contains(d.pools, p.name) {
			return false
		}
	}
	return true
}

// improvable reports whether a holder can have more of what it asks for.
func (s *scene) improvable(x *subject) bool {
	d := &x.demand
	if d.invalid {
		return false
	}
	if len(d.asked) > 0 {
		return slices.ContainsFunc(d.asked, func(a netip.Addr) bool { return !slices.Contains(x.addrs, a) }) && s.fits(x)
	}
	if d.pool != "" && slices.ContainsFunc(x.addrs, func(a netip.Addr) bool { p := s.world.poolOf(a); return p != nil && p.name != d.pool }) {
		return s.fits(x)
	}
	for _, six := range d.families {
		i := slices.IndexFunc(x.addrs, func(a netip.Addr) bool { return is6(a) == six })
		switch {
		case len(d.pools) > 0:
			if i >= 0 {
				if p := s.world.poolOf(x.addrs[i]); p == nil || slices.Contains(d.pools, p.name) {
					continue
				}
			}
			for _, name := range d.pools {
				if p := s.world.pools[name]; p != nil && s.admitted(p, x) && s.gives(p, six, x) {
					return true
				}
			}
		case i < 0 && len(d.families) == 2: // the second address comes from the pool of the first
			if p := s.world.poolOf(x.addrs[0]); p != nil && (d.pool == "" || s.world.pools[d.pool] != nil) && s.admitted(p, x) && s.gives(p, six, x) {
				return true
			}
		}
	}
	return false
}

func (s *scene) admitted(p *pool, x *subject) bool {
	return p.admits(x.owner.namespace, s.world.namespaces[x.owner.namespace], x.labels)
}

func (s *scene) holders(a netip.Addr) []*subject {
	var out []*subject
	for _, y := range s.subjects {
		if slices.Contains(y.addrs, a) {
			out = append(out, y)
		}
	}
	return out
}

// against returns every true reason why x may not have a on request; none: it surely may.
func (s *scene) against(a netip.Addr, x *subject) []string {
	p := s.world.poolOf(a)
	if p == nil {
		return []string{"AddressNotInPool"}
	}
	var out []string
	if !s.admitted(p, x) {
		out = append(out, "PoolNotAdmitting")
	}
	if !p.usable(a) {
		out = append(out, "AddressNotUsable")
	}
	for _, y := range s.holders(a) {
		if why := x.demand.sharing.with(y.demand.sharing); y != x && why != "" {
			out = append(out, why)
		}
	}
	for _, h := range s.holds {
		// A Service that is gone may still share what is held for it, until the controller restarts.
		if h.owner != x.owner && slices.Contains(h.addrs, a) && !slices.ContainsFunc(s.holders(a), func(y *subject) bool { return y.owner == h.owner }) {
			out = append(out, "AddressInUse", "SharingConflict")
		}
	}
	if _, others, _ := s.world.reserved(a, x.owner); others {
		out = append(out, "AddressReserved")
	}
	return out
}

// gives reports whether p, which admits x, surely has an address of a family for x.
func (s *scene) gives(p *pool, six bool, x *subject) bool {
	return slices.ContainsFunc(p.addrs, func(a netip.Addr) bool {
		_, _, nobody := s.world.reserved(a, x.owner)
		return is6(a) == six && !nobody && len(s.against(a, x)) == 0
	})
}

// serves reports whether p surely has all that x insists on.
func (s *scene) serves(p *pool, x *subject) bool {
	has := func(six bool) bool { return s.gives(p, six, x) }
	if x.demand.policy == corev1.IPFamilyPolicyRequireDualStack {
		return has(false) && has(true)
	}
	return slices.ContainsFunc(x.demand.families, has)
}

// fits reports whether what x asks for can be had, as if x held nothing.
func (s *scene) fits(x *subject) bool {
	d := &x.demand
	switch {
	case d.invalid:
		return false
	case len(d.asked) > 0:
		return len(s.refusals(x)) == 0
	case d.pool != "":
		p := s.world.pools[d.pool]
		return p != nil && s.admitted(p, x) && s.serves(p, x)
	case len(d.pools) > 0:
		n := 0
		for _, six := range d.families {
			if slices.ContainsFunc(d.pools, func(name string) bool {
				p := s.world.pools[name]
				return p != nil && s.admitted(p, x) && s.gives(p, six, x)
			}) {
				n++
			}
		}
		return n == len(d.families) || n > 0 && d.policy == corev1.IPFamilyPolicyPreferDualStack
	}
	return slices.ContainsFunc(s.automatic(x), func(p *pool) bool { return s.serves(p, x) })
}

// automatic returns the pools that x may be served from without asking.
func (s *scene) automatic(x *subject) []*pool {
	var out []*pool
	for _, p := range s.world.sorted() {
		if p.auto && s.admitted(p, x) {
			out = append(out, p)
		}
	}
	return out
}

// refusals returns every true reason against the addresses that x asks for.
func (s *scene) refusals(x *subject) []string {
	var out []string
	var homes []string
	for _, a := range x.demand.asked {
		out = append(out, s.against(a, x)...)
		if p := s.world.poolOf(a); p != nil {
			homes = append(homes, p.name)
		}
	}
	d := &x.demand
	if d.pool != "" && s.world.pools[d.pool] == nil {
		out = append(out, "PoolNotFound")
	}
	two := len(homes) == 2 && homes[0] != homes[1] && len(d.pools) == 0
	if two || slices.ContainsFunc(homes, func(h string) bool {
		return d.pool != "" && h != d.pool || len(d.pools) > 0 && !slices.Contains(d.pools, h)
	}) {
		out = append(out, "PoolMismatch")
	}
	return out
}

// reasons returns every reason that explains truly why x is pending.
func (s *scene) reasons(x *subject) []string {
	d := &x.demand
	switch {
	case d.invalid:
		return []string{"InvalidRequest"}
	case len(d.asked) > 0:
		return s.refusals(x)
	case d.pool != "" || len(d.pools) > 0:
		var out []string
		for _, name := range append(slices.Clone(d.pools), d.pool) {
			switch p := s.world.pools[name]; {
			case name == "":
			case p == nil:
				out = append(out, "PoolNotFound")
			case !s.admitted(p, x):
				out = append(out, "PoolNotAdmitting")
			default:
				out = append(out, "PoolExhausted")
			}
		}
		return out
	case len(s.automatic(x)) > 0:
		return []string{"PoolExhausted"}
	}
	for _, r := range s.world.reservations {
		if r.owner == x.owner { // a pool with addresses reserved for it is tried although it does not assign automatically
			return []string{"NoMatchingPool", "PoolExhausted"}
		}
	}
	return []string{"NoMatchingPool"}
}

// judgeHold: the addresses of a Service with a hold are recorded.
func (s *scene) judgeHold(x *subject, report reporter) {
	if !x.demand.served || x.demand.hold == 0 || len(x.addrs) == 0 {
		return
	}
	i := slices.IndexFunc(s.holds, func(h hold) bool { return h.owner == x.owner })
	if i < 0 {
		report(x, "there is no hold for it")
	} else if h := s.holds[i]; !sameSet(h.addrs, x.addrs) || h.after != x.demand.hold {
		report(x, "its hold is [%s] for %s", joined(h.addrs), h.after)
	}
}

// judgeHolds: there is no hold for a Service that lives and has nothing to hold, or does not ask for it.
func (s *scene) judgeHolds() []string {
	var out []string
	for _, h := range s.holds {
		for _, x := range s.subjects {
			if x.owner == h.owner && x.demand.served && (x.demand.hold == 0 || len(x.addrs) == 0) {
				out = append(out, fmt.Sprintf("%s holds [%s], asks %v, but there is a hold of [%s] for it", x.owner, joined(x.addrs), x.demand, joined(h.addrs)))
			}
		}
	}
	return out
}

// judgeCounters: the status of each pool counts what Services and holds have of it.
func (s *scene) judgeCounters() []string {
	taken := map[netip.Addr]bool{}
	for _, x := range s.subjects {
		for _, a := range x.addrs {
			taken[a] = true
		}
	}
	for _, h := range s.holds {
		for _, a := range h.addrs {
			taken[a] = true
		}
	}
	var out []string
	for _, p := range s.world.sorted() {
		var want v1beta1.IPAddressPoolStatus
		for _, a := range p.addrs {
			assigned, available := &want.AssignedIPv4, &want.AvailableIPv4
			if is6(a) {
				assigned, available = &want.AssignedIPv6, &want.AvailableIPv6
			}
			switch {
			case taken[a]:
				*assigned++
			case p.usable(a) && !s.world.reservedAtAll(a):
				*available++
			}
		}
		if got := s.counters[p.name]; got != want {
			out = append(out, fmt.Sprintf("the status of %v is %+v, want %+v; held are %s", p, got, want, joined(slices.SortedFunc(maps.Keys(taken), netip.Addr.Compare))))
		}
	}
	return out
}

func sameSet(x, y []netip.Addr) bool {
	by := netip.Addr.Compare
	return slices.Equal(slices.SortedFunc(slices.Values(x), by), slices.SortedFunc(slices.Values(y), by))
}

// pending counts the Services that wait.
func (s *scene) pending() int {
	n := 0
	for _, x := range s.subjects {
		if x.demand.served && len(x.addrs) == 0 {
			n++
		}
	}
	return n
}

// String shows the configuration, for a report.
func (s *scene) String() string {
	var b strings.Builder
	for _, p := range s.world.sorted() {
		fmt.Fprintln(&b, p)
	}
	for _, name := range slices.Sorted(maps.Keys(s.world.reservations)) {
		r := s.world.reservations[name]
		fmt.Fprintf(&b, "reservation %s of [%s] for %v\n", name, joined(r.addrs), r.owner)
	}
	for _, h := range s.holds {
		fmt.Fprintf(&b, "hold of [%s] for %s\n", joined(h.addrs), h.owner)
	}
	for _, ns := range slices.Sorted(maps.Keys(s.world.namespaces)) {
		fmt.Fprintf(&b, "namespace %s %v\n", ns, s.world.namespaces[ns])
	}
	return b.String()
}
