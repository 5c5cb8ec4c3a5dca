package chaos

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
)

// What a Service asks with, and what is written on it. These are the documented names, not the product's constants: the test judges
// by what users are told.
const (
	askPool       = "metallb.io/address-pool"
	askAddresses  = "metallb.io/loadBalancerIPs"
	askSharing    = "metallb.io/allow-shared-ip"
	askPools      = "fairlead.io/address-pools"
	askHold       = "fairlead.io/hold-address"
	conditionType = "fairlead.io/Allocated"
)

// demand is what a Service asks for, read from the object by the rules of the documentation.
type demand struct {
	served   bool // of type LoadBalancer, and of our class
	families []bool
	policy   corev1.IPFamilyPolicy
	asked    []netip.Addr
	pool     string
	pools    []string
	sharing  sharing
	hold     time.Duration
	invalid  bool // asks for other families than it has
}

// sharing is what decides whether two Services may hold one address. It is comparable.
type sharing struct {
	key, backend string
	ports        string // "TCP/80 UDP/53", sorted
}

// with returns "" if both may hold one address, else the documented reason why not.
func (x sharing) with(y sharing) string {
	if x.key == "" || y.key == "" {
		return "AddressInUse"
	}
	theirs := strings.Fields(y.ports)
	common := slices.ContainsFunc(strings.Fields(x.ports), func(p string) bool { return slices.Contains(theirs, p) })
	if x.key != y.key || x.backend != y.backend || common {
		return "SharingConflict"
	}
	return ""
}

// is6 is how a family is written here: false is IPv4.
func is6(a netip.Addr) bool { return a.Is6() }

// demandOf reads what s asks for.
func demandOf(s *corev1.Service, class string) demand {
	d := demand{
		served: s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass != nil && *s.Spec.LoadBalancerClass == class,
		policy: corev1.IPFamilyPolicySingleStack, pool: s.Annotations[askPool],
	}
	for _, ip := range s.Spec.ClusterIPs {
		if a, err := netip.ParseAddr(ip); err == nil {
			d.families = append(d.families, is6(a))
		}
	}
	if s.Spec.IPFamilyPolicy != nil && len(d.families) == 2 {
		d.policy = *s.Spec.IPFamilyPolicy
	}
	if d.policy == corev1.IPFamilyPolicySingleStack && len(d.families) > 0 {
		d.families = d.families[:1]
	}
	for name := range strings.SplitSeq(s.Annotations[askPools], ",") {
		if name != "" {
			d.pools = append(d.pools, name)
		}
	}
	for _, field := range []string{s.Annotations[askAddresses], s.Spec.LoadBalancerIP} {
		for _, ip := range strings.Split(field, ",") {
			if a, err := netip.ParseAddr(ip); err == nil {
				d.asked = append(d.asked, a)
			}
		}
	}
	d.sharing.key = s.Annotations[askSharing]
	if s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		d.sharing.backend = labels.FormatLabels(s.Spec.Selector)
	}
	ports := map[string]bool{}
	for _, p := range s.Spec.Ports {
		ports[fmt.Sprintf("%s/%d", p.Protocol, p.Port)] = true
	}
	d.sharing.ports = strings.Join(slices.Sorted(maps.Keys(ports)), " ")
	d.hold, _ = time.ParseDuration(s.Annotations[askHold])
	if len(d.asked) > 0 {
		d.invalid = len(d.asked) != len(d.families)
		for _, six := range d.families {
			d.invalid = d.invalid || !slices.ContainsFunc(d.asked, func(a netip.Addr) bool { return is6(a) == six })
		}
	}
	return d
}

// wants reports whether d has a place for an address of a's family.
func (d *demand) wants(a netip.Addr) bool { return slices.Contains(d.families, is6(a)) }

// String is short, for the history of a Service.
func (d demand) String() string {
	if !d.served {
		return "not ours"
	}
	var b strings.Builder
	for _, six := range d.families {
		b.WriteString(map[bool]string{false: "v4 ", true: "v6 "}[six])
	}
	b.WriteString(string(d.policy))
	for _, x := range []struct{ name, value string }{
		{"asks", joined(d.asked)}, {"pool", d.pool}, {"pools", strings.Join(d.pools, ",")}, {"key", d.sharing.key},
		{"backend", d.sharing.backend}, {"ports", d.sharing.ports},
	} {
		if x.value != "" {
			fmt.Fprintf(&b, " %s=%s", x.name, x.value)
		}
	}
	if d.hold > 0 {
		fmt.Fprintf(&b, " hold=%s", d.hold)
	}
	return b.String()
}

// addresses returns the addresses in the status of s.
func addresses(s *corev1.Service) []netip.Addr {
	var out []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func joined(as []netip.Addr) string {
	var out []string
	for _, a := range as {
		out = append(out, a.String())
	}
	return strings.Join(out, ",")
}

// condition returns status, reason and message of the condition that explains.
func condition(s *corev1.Service) (status, reason, message string) {
	c := meta.FindStatusCondition(s.Status.Conditions, conditionType)
	if c == nil {
		return "", "", ""
	}
	return string(c.Status), c.Reason, c.Message
}
