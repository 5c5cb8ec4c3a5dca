package chaos

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// territory is a stretch of addresses of which at most one pool at a time is made, so that pools never overlap.
type territory struct {
	name  string
	first [2]netip.Addr // IPv4, IPv6; invalid: has none
	size  int           // of each family
}

// territories are small, so that pools run full. south crosses a boundary of IPv4 addresses that some equipment drops.
var territories = []territory{
	{"north", [2]netip.Addr{netip.MustParseAddr("10.70.0.0"), netip.MustParseAddr("2001:db8:70::")}, 12},
	{"south", [2]netip.Addr{netip.MustParseAddr("10.71.0.250"), {}}, 12},
	{"east", [2]netip.Addr{{}, netip.MustParseAddr("2001:db8:72::ff")}, 10},
	{"west", [2]netip.Addr{netip.MustParseAddr("10.73.0.1"), netip.MustParseAddr("2001:db8:73::1")}, 8},
}

func (t territory) at(family, n int) netip.Addr {
	a := t.first[family]
	for range n {
		a = a.Next()
	}
	return a
}

// pool is an IPAddressPool as its user wrote it.
type pool struct {
	name        string
	has         [2][]bool // of the territory's addresses, those that the pool has
	addrs       []netip.Addr
	avoidBuggy  bool
	auto        bool
	allocation  *v1beta1.ServiceAllocation // not changed once it is set
	ranges      []string
	territoryOf int
}

// survey sets what follows from has.
func (p *pool) survey() {
	p.addrs, p.ranges = nil, nil
	t := territories[p.territoryOf]
	for f := range p.has {
		for n, in := range p.has[f] {
			if !in {
				continue
			}
			if p.addrs = append(p.addrs, t.at(f, n)); n == 0 || !p.has[f][n-1] {
				last := n
				for last+1 < len(p.has[f]) && p.has[f][last+1] {
					last++
				}
				p.ranges = append(p.ranges, fmt.Sprintf("%s-%s", t.at(f, n), t.at(f, last)))
			}
		}
	}
}

func (p *pool) clone() *pool {
	q := *p
	q.has = [2][]bool{slices.Clone(p.has[0]), slices.Clone(p.has[1])}
	return &q
}

func (p *pool) contains(a netip.Addr) bool { return slices.Contains(p.addrs, a) }

// usable reports whether the pool gives out a, which it contains.
func (p *pool) usable(a netip.Addr) bool {
	last := a.AsSlice()[len(a.AsSlice())-1]
	return !p.avoidBuggy || is6(a) || last != 0 && last != 255
}

// admits reports whether the serviceAllocation admits a Service.
func (p *pool) admits(namespace string, namespaceLabels, serviceLabels map[string]string) bool {
	a := p.allocation
	if a == nil {
		return true
	}
	inNamespace := len(a.Namespaces)+len(a.NamespaceSelectors) == 0 ||
		slices.Contains(a.Namespaces, namespace) || matches(a.NamespaceSelectors, namespaceLabels)
	return inNamespace && (len(a.ServiceSelectors) == 0 || matches(a.ServiceSelectors, serviceLabels))
}

// matches knows matchLabels, which is all that the operations write.
func matches(selectors []metav1.LabelSelector, set map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s metav1.LabelSelector) bool {
		return labels.SelectorFromSet(s.MatchLabels).Matches(labels.Set(set))
	})
}

func (p *pool) String() string {
	s := fmt.Sprintf("pool %s [%s]", p.name, strings.Join(p.ranges, " "))
	if p.avoidBuggy {
		s += " avoidBuggyIPs"
	}
	if !p.auto {
		s += " autoAssign=false"
	}
	if a := p.allocation; a != nil {
		s += fmt.Sprintf(" for namespaces %v or %v, services %v, priority %d", a.Namespaces, a.NamespaceSelectors, a.ServiceSelectors, a.Priority)
	}
	return s
}

// reservation is an AddressReservation that a user wrote; owner is empty or a Service.
type reservation struct {
	addrs []netip.Addr
	owner owner
}

// owner is the name of a Service.
type owner struct{ namespace, name string }

func (o owner) String() string { return o.namespace + "/" + o.name }

// world is the configuration at one time. It is not changed once it is in use.
type world struct {
	pools        map[string]*pool
	reservations map[string]reservation
	namespaces   map[string]map[string]string // labels
}

func (w *world) clone() *world {
	return &world{maps.Clone(w.pools), maps.Clone(w.reservations), maps.Clone(w.namespaces)}
}

// poolOf returns the pool that contains a, or nil.
func (w *world) poolOf(a netip.Addr) *pool {
	for _, p := range w.pools {
		if p.contains(a) {
			return p
		}
	}
	return nil
}

// sorted returns the pools by name, so that what is drawn from them depends on the seed alone.
func (w *world) sorted() []*pool {
	var out []*pool
	for _, name := range slices.Sorted(maps.Keys(w.pools)) {
		out = append(out, w.pools[name])
	}
	return out
}

// reserved reports whether a is reserved for o, for another Service, or for nobody in particular.
func (w *world) reserved(a netip.Addr, o owner) (own, others, nobody bool) {
	for _, r := range w.reservations {
		if slices.Contains(r.addrs, a) {
			own = own || r.owner == o
			nobody = nobody || r.owner == owner{}
			others = others || r.owner != owner{} && r.owner != o
		}
	}
	return own, others && !own, nobody && !own
}

// reservedAtAll reports whether any reservation has a.
func (w *world) reservedAtAll(a netip.Addr) bool {
	for _, r := range w.reservations {
		if slices.Contains(r.addrs, a) {
			return true
		}
	}
	return false
}
