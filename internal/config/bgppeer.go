package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1beta2"
)

const (
	bgpPort        = 179
	maxPeerPort    = 16384
	minHoldTime    = 3 * time.Second
	maxConnectTime = 65535 * time.Second
)

// BGPPeer is a BGPPeer in force: a router to hold a session with.
type BGPPeer struct {
	origin
	MyASN, PeerASN, LocalASN uint32
	DynamicASN               v1beta2.DynamicASNMode // set if PeerASN is 0
	Address                  netip.Addr             // invalid if Interface is set
	Interface                string
	Port                     uint16
	SourceAddress, RouterID  netip.Addr // invalid if they are left to the speaker
	// HoldTime and KeepaliveTime are nil if both are left to the speaker; a hold time of 0 turns keepalives off.
	HoldTime, KeepaliveTime *time.Duration
	ConnectTime             time.Duration // 0: left to the speaker
	Password                string
	PasswordSecret          corev1.SecretReference
	BFD                     *BFDProfile // nil: no BFD
	VRF                     string
	GracefulRestart         bool
	MultiHop                bool
	DualStack               bool
	DisableMP               bool
	FromNode                FromNode

	nodeSelectors []labels.Selector
}

// SelectsNode reports whether a node with these labels connects to the peer.
func (p *BGPPeer) SelectsNode(node labels.Set) bool {
	return len(p.nodeSelectors) == 0 || matchesAny(p.nodeSelectors, node)
}

// Carries reports whether routes of a family can be told in a session with the peer. One whose address comes from Nodes may be of
// either family there.
func (p *BGPPeer) Carries(is6 bool) bool {
	return p.DualStack || !p.Address.IsValid() || p.FromNode.PeerAddress != "" || p.Address.Is6() == is6
}

// NodeSelectors returns the selectors behind SelectsNode.
func (p *BGPPeer) NodeSelectors() []labels.Selector { return p.nodeSelectors }

// session tells sessions of one node apart.
func (p *BGPPeer) session() string {
	s := p.Interface
	if s == "" {
		s = p.Address.String()
	}
	if p.FromNode.PeerAddress != "" {
		s = fmt.Sprintf("the address in the Nodes' annotation %q", p.FromNode.PeerAddress)
	}
	s = fmt.Sprintf("%s port %d", s, p.Port)
	if p.VRF != "" {
		s += fmt.Sprintf(" in VRF %q", p.VRF)
	}
	return s
}

// peerVersion is what makes one version of a BGPPeer differ from another.
type peerVersion struct {
	Spec     v1beta2.BGPPeerSpec
	FromNode FromNode
}

func parseBGPPeer(o *v1beta2.BGPPeer, profiles map[string]*BFDProfile) (*BGPPeer, []Fault) {
	s := &o.Spec
	p := &BGPPeer{
		MyASN: s.MyASN, PeerASN: s.PeerASN, LocalASN: s.LocalASN, DynamicASN: s.DynamicASN,
		Interface: s.Interface, Port: cmp.Or(s.PeerPort, bgpPort), Password: s.Password, PasswordSecret: s.PasswordSecret,
		VRF: s.VRFName, GracefulRestart: s.EnableGracefulRestart, MultiHop: s.EBGPMultiHop, DualStack: s.DualStackAddressFamily,
		//lint:ignore SA1019 that it has no effect is what the user is told
		DisableMP: s.DisableMP,
	}
	f := &findings{ref: refOf(v1beta2.GroupVersion, "BGPPeer", o.ObjectMeta)}
	p.FromNode = parseFromNode(o.Annotations, f)
	p.origin = originOf(v1beta2.GroupVersion, "BGPPeer", o.ObjectMeta, peerVersion{o.Spec, p.FromNode})
	p.checkASNs(f)
	p.parseAddresses(s, f)
	p.parseTimes(s, f)
	if p.Port > maxPeerPort {
		f.add("spec.peerPort", fmt.Sprintf("%d is out of range; use 1 to %d", p.Port, maxPeerPort))
	}
	if s.Password != "" && s.PasswordSecret.Name != "" {
		f.add("spec.passwordSecret", "set either password or passwordSecret, not both")
	}
	if problem := PasswordProblem(s.Password); s.Password != "" && problem != "" {
		f.add("spec.password", problem)
	}
	for _, line := range []struct{ field, value string }{{"interface", s.Interface}, {"vrf", s.VRFName}} {
		if strings.ContainsFunc(line.value, unicode.IsControl) {
			f.add("spec."+line.field, fmt.Sprintf("%q must be a single line without control characters", line.value))
		}
	}
	p.nodeSelectors, _ = distinctSelectors("spec.nodeSelectors", s.NodeSelectors, f.add)
	if s.BFDProfile != "" {
		if p.BFD = profiles[s.BFDProfile]; p.BFD == nil {
			f.addMissing("spec.bfdProfile", fmt.Sprintf("there is no valid BFDProfile %q; create it, or remove the reference", s.BFDProfile))
		}
	}
	return p, f.list
}

func (p *BGPPeer) checkASNs(f *findings) {
	if p.MyASN == 0 {
		f.add("spec.myASN", "myASN must be the AS number of this side, 1 to 4294967295")
	}
	switch p.DynamicASN {
	case "":
		if p.PeerASN == 0 {
			f.add("spec.peerASN", "set peerASN (1 to 4294967295), or dynamicASN to internal or external")
		}
	case v1beta2.InternalASN, v1beta2.ExternalASN:
		if p.PeerASN != 0 {
			f.add("spec.dynamicASN", "set either peerASN or dynamicASN, not both")
		}
	default:
		f.add("spec.dynamicASN", fmt.Sprintf("%q is neither internal nor external", p.DynamicASN))
	}
	if p.MultiHop && p.PeerASN != 0 && p.PeerASN == p.MyASN {
		f.add("spec.ebgpMultiHop", "ebgpMultiHop is for peers of another AS: remove it, or correct peerASN or myASN")
	}
}

func (p *BGPPeer) parseAddresses(s *v1beta2.BGPPeerSpec, f *findings) {
	if s.PeerAddress == "" && s.Interface == "" {
		f.add("spec.peerAddress", "set peerAddress, or interface for an unnumbered session")
	}
	if s.PeerAddress != "" && s.Interface != "" {
		f.add("spec.interface", "set either peerAddress or interface, not both")
	}
	parse := func(field, in string) netip.Addr {
		if in == "" {
			return netip.Addr{}
		}
		a, err := netip.ParseAddr(in)
		if err != nil {
			f.add(field, fmt.Sprintf("%q is not an IP address: use one like 192.0.2.1 or 2001:db8::1", in))
		}
		return a.Unmap()
	}
	p.Address, p.SourceAddress = parse("spec.peerAddress", s.PeerAddress), parse("spec.sourceAddress", s.SourceAddress)
	// An unspecified address stands for "none", where Nodes name their router.
	if problem := RouterProblem(p.Address); problem != "" && !(p.Address.IsUnspecified() && p.FromNode.PeerAddress != "") {
		f.add("spec.peerAddress", problem)
	}
	if p.SourceAddress.Zone() != "" || p.SourceAddress.IsUnspecified() || p.SourceAddress.IsMulticast() {
		f.add("spec.sourceAddress", fmt.Sprintf("%q is not an address that a node can connect from: use one like 192.0.2.1 or 2001:db8::1",
			s.SourceAddress))
	}
	if s.RouterID == "" {
		return
	}
	id, err := netip.ParseAddr(s.RouterID)
	if p.RouterID = id.Unmap(); err != nil || !p.RouterID.Is4() {
		f.add("spec.routerID", fmt.Sprintf("%q is not a router ID: use an IPv4 address like 192.0.2.1", s.RouterID))
	}
}

// RouterProblem says why no session can be held with a router of this address, and what would be right; empty if one can, or if the
// address is not valid. BIRD, which Calico runs, refuses its whole configuration because of one such address (proto/bgp/bgp.c,
// bgp_check_config), a kernel does not connect to it.
func RouterProblem(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Is6() && a.IsLinkLocalUnicast():
		return fmt.Sprintf("%s is a link-local address, which every link of a node can have: leave peerAddress out and set interface to the "+
			"node's interface towards the router, or use a global address of the router", a)
	case a.Zone() != "":
		return fmt.Sprintf("%s has a zone, which only link-local addresses have: use %s", a, a.WithZone(""))
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("%s is not the address of a router: use one like 192.0.2.1 or 2001:db8::1", a)
	}
	return ""
}

// maxPassword is the most bytes that a TCP MD5 password may have (linux/tcp.h, TCP_MD5SIG_MAXKEYLEN).
const maxPassword = 80

// PasswordProblem says why a text cannot be the TCP MD5 password of a session, whoever holds it, and what would be right; empty if it
// can. It does not repeat the password.
func PasswordProblem(password string) string {
	control := strings.IndexFunc(password, unicode.IsControl)
	switch trimmed := strings.TrimRight(password, "\r\n"); {
	case password == "":
		return "the password is empty"
	case trimmed == "":
		return "the password is nothing but a newline"
	case trimmed != password && control == len(trimmed):
		return "the password ends in a newline, which the router's does not: make the Secret without one, for example with " +
			"kubectl create secret, printf or echo -n"
	case control >= 0:
		return fmt.Sprintf("the password has a control character (%U, after %d bytes), which no router can be given: use printable characters in a single line",
			[]rune(password[control:])[0], control)
	case !utf8.ValidString(password):
		return "the password is not text in UTF-8: use printable characters"
	case len(password) > maxPassword:
		return fmt.Sprintf("the password has %d bytes, and TCP MD5 takes %d at most: use a shorter one", len(password), maxPassword)
	}
	return ""
}

// parseTimes fills in the one of hold and keepalive time that is missing, as MetalLB does: the hold time is three times the other.
func (p *BGPPeer) parseTimes(s *v1beta2.BGPPeerSpec, f *findings) {
	whole := func(d *metav1.Duration) *time.Duration {
		if d == nil {
			return nil
		}
		t := d.Truncate(time.Second)
		return &t
	}
	p.HoldTime, p.KeepaliveTime = whole(s.HoldTime), whole(s.KeepaliveTime)
	switch {
	case s.HoldTime != nil && s.KeepaliveTime != nil:
		if s.KeepaliveTime.Duration > s.HoldTime.Duration {
			f.add("spec.keepaliveTime", fmt.Sprintf("keepaliveTime %s is longer than holdTime %s: use a third of the hold time or less",
				s.KeepaliveTime.Duration, s.HoldTime.Duration))
		}
	case s.HoldTime != nil:
		t := *p.HoldTime / 3
		p.KeepaliveTime = &t
	case s.KeepaliveTime != nil:
		t := (3 * s.KeepaliveTime.Duration).Truncate(time.Second)
		p.HoldTime = &t
		if t != 0 && t < minHoldTime {
			f.add("spec.keepaliveTime", "without holdTime the hold time is three times keepaliveTime, which must be at least 1s")
		}
	}
	if s.HoldTime != nil && *p.HoldTime != 0 && *p.HoldTime < minHoldTime {
		f.add("spec.holdTime", fmt.Sprintf("hold time %s is too short: use 0s, which turns it off, or at least 3s", s.HoldTime.Duration))
	}
	if s.ConnectTime == nil {
		return
	}
	p.ConnectTime = s.ConnectTime.Duration
	if p.ConnectTime < time.Second || p.ConnectTime > maxConnectTime || p.ConnectTime%time.Second != 0 {
		f.add("spec.connectTime", fmt.Sprintf("%s is out of range; use whole seconds from 1s to 65535s", p.ConnectTime))
	}
}

// settleBGPPeers keeps at most one session of a node with a peer in force. unreadable are the faults of peers that are not among
// objects because they cannot be decoded.
func settleBGPPeers(objects []v1beta2.BGPPeer, unreadable []Fault, profiles map[string]*BFDProfile,
	last map[string]*BGPPeer) (map[string]*BGPPeer, []Fault) {
	var valid []*BGPPeer
	var rejected []Ref
	var faults []Fault
	for _, f := range unreadable {
		rejected, faults = append(rejected, f.Object), append(faults, f)
	}
	for i := range objects {
		p, bad := parseBGPPeer(&objects[i], profiles)
		faults = append(faults, bad...)
		was, same := unchanged(last, p.from())
		switch {
		case len(bad) == 0:
			valid = append(valid, p)
		case same && onlyMissing(bad):
			valid = append(valid, was)
		default:
			rejected = append(rejected, p.Ref)
		}
	}
	taken := map[string][]*BGPPeer{}
	inForce, lost := settle(valid, rejected, last, func(p *BGPPeer) []Fault {
		for _, other := range taken[p.session()] {
			if shareNodes(p.nodeSelectors, other.nodeSelectors) {
				f := findings{ref: p.Ref}
				field := "spec.peerAddress"
				if p.Interface != "" {
					field = "spec.interface"
				}
				f.add(field, fmt.Sprintf("%s is the peer of BGPPeer %q already; remove one of them, or give them different nodes", p.session(),
					other.Ref.Name))
				return f.list
			}
		}
		taken[p.session()] = append(taken[p.session()], p)
		return nil
	})
	return inForce, told(append(faults, lost...), inForce)
}
