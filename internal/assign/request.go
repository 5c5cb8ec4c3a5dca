package assign

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// errNoClusterIP and errNotEnoughClusterIPs are what a refusal of requestOf can unwrap to besides allocator.ErrInvalidRequest.
var (
	errNoClusterIP         = errors.New("no cluster IP")
	errNotEnoughClusterIPs = errors.New("not enough cluster IPs")
)

func ownerOf(svc *corev1.Service) allocator.Owner {
	return allocator.Owner{Namespace: svc.Namespace, Name: svc.Name}
}

// requestOf returns what svc asks for. Beside an error, which names field and value and says what would be right, Owner, Sharing
// and Ports of the request are still good: they are what a Service keeps its addresses with.
func (r Rules) requestOf(svc *corev1.Service, admitted []string) (allocator.Request, error) {
	req := allocator.Request{Owner: ownerOf(svc), Admitted: admitted, Ports: portsOf(svc)}
	req.Pool, _ = service.Annotation(svc, service.AskPool)
	for name := range strings.SplitSeq(svc.Annotations[service.AnnotationPools], ",") {
		if name = strings.TrimSpace(name); name != "" {
			req.Pools = append(req.Pools, name)
		}
	}
	req.Sharing.Key, _ = service.Annotation(svc, service.AskSharing)
	req.Sharing.Among = r.sharesAmong(svc)
	if svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		req.Sharing.Backend = labels.Set(svc.Spec.Selector).String()
	}
	var err error
	if req.Families, req.Policy, err = familiesOf(svc); err != nil {
		return req, err
	}
	if req.Pool != "" && len(req.Pools) > 0 {
		return req, fmt.Errorf("%w: metadata.annotations[%s] names pool %q and metadata.annotations[%s] names %s; keep one of them",
			allocator.ErrInvalidRequest, service.Prefix+service.AskPool, req.Pool, service.AnnotationPools, strings.Join(req.Pools, ", "))
	}
	if _, err := holdOf(svc); err != nil {
		return req, err
	}
	addrs, field, err := askedAddresses(svc)
	if err != nil {
		return req, err
	}
	for _, a := range addrs {
		if allocator.FamilyOf(a) == allocator.IPv4 {
			req.IPv4 = a
		} else {
			req.IPv6 = a
		}
	}
	if len(addrs) > 0 {
		narrow(&req, svc)
		return req, checkFamilies(&req, svc, field)
	}
	return req, nil
}

// sharesAmong returns the namespaces that svc shares addresses among, sorted; empty if it does not matter.
func (r Rules) sharesAmong(svc *corev1.Service) string {
	value, named := svc.Annotations[service.AnnotationShareWith]
	if !named && !r.IsolateSharing {
		return ""
	}
	among := []string{svc.Namespace}
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			among = append(among, name)
		}
	}
	slices.Sort(among)
	return strings.Join(slices.Compact(among), " ")
}

// holdOf returns how long the addresses of svc are to stay reserved once it is gone.
func holdOf(svc *corev1.Service) (time.Duration, error) {
	value, ok := svc.Annotations[service.AnnotationHold]
	if !ok {
		return 0, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%w: metadata.annotations[%s]: %q is not a positive duration; write one like 10m or 24h",
			allocator.ErrInvalidRequest, service.AnnotationHold, value)
	}
	return d, nil
}

func portsOf(svc *corev1.Service) allocator.PortSet {
	protocols := map[corev1.Protocol]allocator.Protocol{
		corev1.ProtocolUDP: allocator.UDP, corev1.ProtocolSCTP: allocator.SCTP,
	}
	ports := make([]allocator.Port, len(svc.Spec.Ports))
	for i, p := range svc.Spec.Ports {
		ports[i] = allocator.Port{Protocol: allocator.TCP, Number: uint16(p.Port)}
		if proto, ok := protocols[p.Protocol]; ok {
			ports[i].Protocol = proto
		}
	}
	return allocator.Ports(ports...)
}

// familiesOf reads the families from the cluster IPs, as MetalLB does: they say what the Service really has.
func familiesOf(svc *corev1.Service) (allocator.Families, allocator.FamilyPolicy, error) {
	clusterIPs := svc.Spec.ClusterIPs
	if len(clusterIPs) == 0 && svc.Spec.ClusterIP != "" {
		clusterIPs = []string{svc.Spec.ClusterIP}
	}
	var f allocator.Families
	for i, s := range clusterIPs {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return f, 0, fmt.Errorf("%w: spec.clusterIPs[%d]: %q is not an IP address; a LoadBalancer needs a cluster IP", errNoClusterIP, i, s)
		}
		switch g := allocator.FamilyOf(a); {
		case f.Primary == 0:
			f.Primary = g
		case f.Primary != g:
			f.Secondary = g
		}
	}
	if f.Primary == 0 {
		return f, 0, fmt.Errorf("%w: spec.clusterIPs: the list is empty; a LoadBalancer needs a cluster IP", errNoClusterIP)
	}
	policy := allocator.SingleStack
	if p := svc.Spec.IPFamilyPolicy; p != nil {
		switch *p {
		case corev1.IPFamilyPolicyRequireDualStack:
			policy = allocator.RequireDualStack
			if !f.Dual() {
				return f, policy, fmt.Errorf("%w: spec.ipFamilyPolicy: RequireDualStack needs a cluster IP of each family, spec.clusterIPs has only %s",
					errNotEnoughClusterIPs, strings.Join(clusterIPs, ", "))
			}
		case corev1.IPFamilyPolicyPreferDualStack:
			policy = allocator.PreferDualStack
		}
	}
	if !f.Dual() {
		policy = allocator.SingleStack
	}
	return f, policy, nil
}

// askedAddresses returns the addresses that svc asks for and the field it does so in.
func askedAddresses(svc *corev1.Service) (addrs []netip.Addr, field string, err error) {
	value, key := service.Annotation(svc, service.AskAddresses)
	field = fmt.Sprintf("metadata.annotations[%s]", key)
	switch {
	case value != "" && svc.Spec.LoadBalancerIP != "":
		return nil, "", fmt.Errorf("%w: spec.loadBalancerIP %q and %s %q are both set; keep one of them",
			allocator.ErrInvalidRequest, svc.Spec.LoadBalancerIP, field, value)
	case svc.Spec.LoadBalancerIP != "":
		value, field = svc.Spec.LoadBalancerIP, "spec.loadBalancerIP"
	case value == "":
		return nil, "", nil
	}
	const right = "write one address like 192.0.2.10, or one of each family like 192.0.2.10,2001:db8::10"
	for _, s := range strings.Split(value, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil || a.Zone() != "" {
			return nil, field, fmt.Errorf("%w: %s: %q is not an IP address; %s", allocator.ErrInvalidRequest, field, strings.TrimSpace(s), right)
		}
		addrs = append(addrs, a.Unmap())
	}
	if len(addrs) > 2 {
		return nil, field, fmt.Errorf("%w: %s: %q names %d addresses; %s", allocator.ErrInvalidRequest, field, value, len(addrs), right)
	}
	if len(addrs) == 2 && allocator.FamilyOf(addrs[0]) == allocator.FamilyOf(addrs[1]) {
		return nil, field, fmt.Errorf("%w: %s: %q names two %s addresses; %s",
			allocator.ErrInvalidRequest, field, value, allocator.FamilyOf(addrs[0]), right)
	}
	return addrs, field, nil
}

// checkFamilies makes sure that addresses are asked for exactly the families that the Service has.
func checkFamilies(req *allocator.Request, svc *corev1.Service, field string) error {
	want := []allocator.Family{req.Families.Primary}
	if req.Policy != allocator.SingleStack {
		want = append(want, req.Families.Secondary)
	}
	asked := map[allocator.Family]bool{allocator.IPv4: req.IPv4.IsValid(), allocator.IPv6: req.IPv6.IsValid()}
	ok := len(want) == 2 && asked[allocator.IPv4] && asked[allocator.IPv6] ||
		len(want) == 1 && asked[want[0]] && !asked[other(want[0])]
	if ok {
		return nil
	}
	var names []string
	for _, f := range want {
		names = append(names, f.String())
	}
	return fmt.Errorf("%w: %s: the Service's cluster IPs are %s, so exactly one address of %s must be asked for",
		allocator.ErrInvalidRequest, field, strings.Join(svc.Spec.ClusterIPs, ", "), strings.Join(names, " and one of "))
}

func other(f allocator.Family) allocator.Family { return allocator.IPv4 + allocator.IPv6 - f }
