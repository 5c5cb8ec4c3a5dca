package backends

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
)

// LabelExclude keeps a node from advertising (KEP-1143).
const LabelExclude = "node.kubernetes.io/exclude-from-external-load-balancers"

// Audience is who is meant to hear the routes that an advertisement makes of the addresses of one family.
type Audience struct {
	Advertisement Source
	IPv6          bool
}

// Carries reports whether routes of a family can be told in sessions with the peer.
func (p *Peer) Carries(is6 bool) bool {
	return p.DualStack || p.Interface != "" || p.Address.Unmap().Is6() == is6
}

// Reach is what a backend knows of the sessions that it wrote.
type Reach struct {
	// SetUp reports whether the sessions with a peer are set up.
	SetUp func(*Peer) bool
	// Carries reports whether they can tell routes of a family; Peer.Carries if nil.
	Carries func(p *Peer, is6 bool) bool
	// Others reports whether sessions that somebody else has set up tell the routes of an advertisement; nil: none does.
	Others func(a *BGPAdvertisement, is6 bool) bool
	// Excluded reports whether a node with these labels must not advertise.
	Excluded func(labels.Set) bool
}

// Unheard returns, for each BGPAdvertisement and family without a session in which its routes can be told, why there is none. A
// session tells them if the advertisement is for its peer, it carries the family, and a node that holds it may advertise. Where Peers
// or Nodes are not known there is nothing to say.
func (d *Desired) Unheard(r Reach) map[Audience]string {
	if d.Peers == nil || len(d.Nodes) == 0 {
		return nil
	}
	if r.Carries == nil {
		r.Carries = (*Peer).Carries
	}
	out := map[Audience]string{}
	for i := range d.BGPAdvertisements {
		a := &d.BGPAdvertisements[i]
		for _, is6 := range []bool{false, true} {
			if r.Others != nil && r.Others(a, is6) {
				continue
			}
			if why := d.unheard(a, is6, r); why != "" {
				out[Audience{a.Source, is6}] = why
			}
		}
	}
	return out
}

// maxPeers is how many peers Unheard names.
const maxPeers = 5

func (d *Desired) unheard(a *BGPAdvertisement, is6 bool, r Reach) string {
	var why []string
	for i := range d.Peers {
		p := &d.Peers[i]
		if len(a.Peers) > 0 && !slices.Contains(a.Peers, p.Source.Name) {
			continue
		}
		switch {
		case !r.SetUp(p):
			why = append(why, fmt.Sprintf("BGPPeer %q is not set up; its events say why", p.Source.Name))
		case !r.Carries(p, is6):
			why = append(why, fmt.Sprintf("BGPPeer %q carries %s only", p.Source.Name, FamilyName(!is6)))
		case !slices.ContainsFunc(d.Nodes, func(n Node) bool { return p.SelectsNode(n.Labels) }):
			why = append(why, fmt.Sprintf("the nodeSelectors of BGPPeer %q match no node", p.Source.Name))
		case !slices.ContainsFunc(d.Nodes, func(n Node) bool {
			return p.SelectsNode(n.Labels) && a.SelectsNode(n.Labels) && !r.Excluded(n.Labels)
		}):
			why = append(why, fmt.Sprintf("no node that has a session with BGPPeer %q may advertise", p.Source.Name))
		default:
			return ""
		}
	}
	if len(why) == 0 {
		why = []string{"there is none of the BGPPeers that it is for"}
	}
	if len(why) > maxPeers {
		why = append(why[:maxPeers], fmt.Sprintf("%d more", len(why)-maxPeers))
	}
	return fmt.Sprintf("no session can tell the %s routes of BGPAdvertisement %q: %s", FamilyName(is6), a.Source.Name, strings.Join(why, ", "))
}

// FamilyName returns what users call an IP family.
func FamilyName(is6 bool) string {
	if is6 {
		return "IPv6"
	}
	return "IPv4"
}
