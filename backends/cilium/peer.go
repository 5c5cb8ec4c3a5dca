package cilium

import (
	"fmt"
	"math"
	"slices"
	"time"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/backends"
)

// secretKey is where Cilium looks for the password in a Secret (pkg/bgp/manager/reconciler/neighbor.go, getPeerPassword).
const secretKey = "password"

// multihopTTL has the packets of a session with a peer of another AS travel any distance.
const multihopTTL = 255

// peer is a BGPPeer that can be set up.
type peer struct {
	backends.Peer
	// existing is the peer config from an earlier time, if the peer is not ready at present.
	existing *v2.CiliumBGPPeerConfig
}

// usablePeers returns the peers to set up, and adds the Secrets with their passwords. What Cilium cannot do is reported; the peer
// is set up all the same, unless it would be another one.
func (t *translation) usablePeers() []*peer {
	var out []*peer
	for _, p := range t.want.Peers {
		if t.impossible(p) {
			continue
		}
		t.refusedFields(p)
		if p.Unready != "" {
			if existing := t.leave(p); existing != nil {
				out = append(out, &peer{p, existing})
			}
			continue
		}
		if p.Password != "" {
			if t.secretsNamespace == "" {
				t.unsupported(p.Source, "spec.password",
					"Cilium has no namespace for passwords (bgp-secrets-namespace in its ConfigMap): the peer is not set up; "+
						"set bgpControlPlane.secretsNamespace.name in Cilium's Helm values")
				if existing := t.leave(p); existing != nil {
					out = append(out, &peer{p, existing})
				}
				continue
			}
			secret := &corev1.Secret{ObjectMeta: t.meta(objectName("bgppeer", p.Source.Name), p.Source), Type: corev1.SecretTypeOpaque}
			secret.Namespace = t.secretsNamespace
			secret.Data = map[string][]byte{secretKey: []byte(p.Password)}
			t.objects = append(t.objects, secret)
		}
		out = append(out, &peer{Peer: p})
	}
	return out
}

// leave has the Secret of a peer stay as it is, and returns the peer config that there is for it; nil if there is none.
func (t *translation) leave(p backends.Peer) *v2.CiliumBGPPeerConfig {
	isHis := func(o object) bool {
		return owned(o, t.installation) && o.GetAnnotations()[backends.AnnotationSource] == p.Source.String()
	}
	for _, s := range t.world.secrets {
		if isHis(s) {
			t.keep[keyOf(s)] = true
		}
	}
	var out *v2.CiliumBGPPeerConfig
	for _, c := range t.world.peerConfigs {
		if isHis(c) && (out == nil || c.Name < out.Name) {
			out = c
		}
	}
	return out
}

// impossible reports whether the peer cannot be set up, or would be another one than the user means.
func (t *translation) impossible(p backends.Peer) bool {
	if len(p.FromNode) > 0 {
		t.unsupported(p.Source, "metadata.annotations["+p.FromNode[0]+"]",
			"a peer of a CiliumBGPClusterConfig is the same on all its nodes: the peer is not set up; "+
				"make one for each rack, with nodeSelectors, or have the speakers advertise")
		return true
	}
	if !p.Address.IsValid() {
		t.unsupported(p.Source, "spec.interface",
			fmt.Sprintf("Cilium cannot find a peer behind interface %q: the peer is not set up; set peerAddress", p.Interface))
		return true
	}
	if p.VRF == "" {
		return false
	}
	then := "the peer is not set up"
	if t.allowWider {
		then = "it is set up there"
	}
	t.find(backends.Finding{
		Type: backends.UnsupportedField, Object: p.Source, Field: "spec.vrf", Withheld: !t.allowWider,
		Message: fmt.Sprintf("Cilium has sessions in the main routing table only, where %s may be another router than in VRF %q: %s", p.Address,
			p.VRF, then),
	})
	return !t.allowWider
}

// refusedFields reports what Cilium does not do for a peer that is set up.
func (t *translation) refusedFields(p backends.Peer) {
	for _, f := range []struct {
		set            bool
		field, message string
	}{
		{p.DynamicASN == "external", "spec.dynamicASN", "Cilium takes a peer of any AS number, also of this side's own"},
		{p.RouterID.IsValid(), "spec.routerID", "not used: in Cilium it is a setting of each node (CiliumBGPNodeConfigOverride), which is yours"},
		{p.SourceAddress.IsValid(), "spec.sourceAddress",
			"not used: in Cilium it is a setting of each node (CiliumBGPNodeConfigOverride), which is yours"},
		{p.BFDProfile != "", "spec.bfdProfile", "Cilium has no BFD: the session ends with its hold time, not with BFD"},
		{p.DisableMP, "spec.disableMP", "not used: a session carries its own family only, unless dualStackAddressFamily is set"},
		{p.HoldTime != nil && *p.HoldTime == 0, "spec.holdTime", fmt.Sprintf("Cilium cannot do without: it is %d s",
			v2.DefaultBGPHoldTimeSeconds)},
		{p.DualStack && p.Address.Unmap().Is4(), "spec.dualStackAddressFamily",
			"Cilium gives IPv6 routes on an IPv4 session a next hop of the form ::ffff:192.0.2.1, which routers seldom accept; use a session for each family"},
	} {
		if f.set {
			t.unsupported(p.Source, f.field, f.message)
		}
	}
}

// localASN returns the AS number that this side shows to the peer. Where that is not myASN, an instance of its own has it; on the
// wire that is what local-as is meant to be, since nothing of myASN is seen.
func (p *peer) localASN() uint32 {
	if p.LocalASN != 0 {
		return p.LocalASN
	}
	return p.MyASN
}

// expectedASN returns the AS number of the peer, 0 for any.
func (p *peer) expectedASN() uint32 {
	if p.DynamicASN == "internal" {
		return p.localASN()
	}
	return p.PeerASN
}

// spec returns the settings apart from password and families.
func (p *peer) spec() v2.CiliumBGPPeerConfigSpec {
	var out v2.CiliumBGPPeerConfigSpec
	if p.Port != 0 {
		port := int32(p.Port)
		out.Transport = &v2.CiliumBGPTransport{PeerPort: &port}
	}
	out.Timers = p.timers()
	if p.MultiHop {
		ttl := int32(multihopTTL)
		out.EBGPMultihop = &ttl
	}
	if p.GracefulRestart {
		out.GracefulRestart = &v2.CiliumBGPNeighborGracefulRestart{Enabled: true}
	}
	return out
}

// timers returns the timers that are asked for, nil if none. Without a hold time it is three times the keepalive time, without a
// keepalive time that is a third of the hold time.
func (p *peer) timers() *v2.CiliumBGPTimers {
	var out v2.CiliumBGPTimers
	if p.ConnectTime > 0 {
		out.ConnectRetryTimeSeconds = seconds(p.ConnectTime, 1, math.MaxInt32)
	}
	switch hold, keepalive := p.HoldTime, p.KeepaliveTime; {
	case hold != nil && *hold == 0, hold == nil && keepalive == nil:
	case hold == nil:
		out.HoldTimeSeconds = seconds(3**keepalive, 3, math.MaxUint16)
		out.KeepAliveTimeSeconds = seconds(*keepalive, 1, int64(*out.HoldTimeSeconds))
	default:
		out.HoldTimeSeconds = seconds(*hold, 3, math.MaxUint16)
		k := *hold / 3
		if keepalive != nil {
			k = *keepalive
		}
		out.KeepAliveTimeSeconds = seconds(k, 1, int64(*out.HoldTimeSeconds))
	}
	if out == (v2.CiliumBGPTimers{}) {
		return nil
	}
	return &out
}

// seconds returns whole seconds within the limits of Cilium's field.
func seconds(d time.Duration, least, most int64) *int32 {
	s := int32(slices.Min([]int64{slices.Max([]int64{int64(d / time.Second), least}), most}))
	return &s
}
