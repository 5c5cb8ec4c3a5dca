package cilium

import (
	"fmt"
	"slices"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

// off reports whether Cilium is known not to speak BGP.
func (d *Detection) off() bool { return d.config != nil && !d.BGP }

// ourConfigs returns our peer configs as they will be.
func (t *translation) ourConfigs() []*v2.CiliumBGPPeerConfig {
	var out []*v2.CiliumBGPPeerConfig
	for _, o := range t.objects {
		if c, ok := o.(*v2.CiliumBGPPeerConfig); ok {
			out = append(out, c)
		}
	}
	return out
}

// foreignConfigs returns the peer configs of others.
func (t *translation) foreignConfigs() []*v2.CiliumBGPPeerConfig {
	return slices.DeleteFunc(slices.Clone(t.world.peerConfigs), func(c *v2.CiliumBGPPeerConfig) bool { return owned(c, t.installation) })
}

// bothFamilies are the values of spec.families[].afi.
var bothFamilies = []string{"ipv4", "ipv6"}

// tells reports whether sessions with this peer config tell the routes of an advertisement with these labels, of one of the families.
func tells(c *v2.CiliumBGPPeerConfig, advert map[string]string, families []string) bool {
	return slices.ContainsFunc(c.Spec.Families, func(f v2.CiliumBGPFamilyWithAdverts) bool {
		return slices.Contains(families, f.Afi) && selects(f.Advertisements, advert)
	})
}

// foreignTells reports whether the sessions of others tell the routes of an advertisement.
func (t *translation) foreignTells(advert map[string]string, is6 bool) bool {
	return slices.ContainsFunc(t.foreignConfigs(), func(c *v2.CiliumBGPPeerConfig) bool { return tells(c, advert, familyOf(is6)) })
}

func familyOf(is6 bool) []string {
	if is6 {
		return bothFamilies[1:]
	}
	return bothFamilies[:1]
}

// unheard says which routes no session can tell: neither one of ours nor, as far as their peer configs say, one of others. Without
// managed peers the sessions are those of others; then a family counts only if the other one is told, because Cilium's own
// configuration may be about to come.
func (t *translation) unheard() map[backends.Audience]string {
	adverts := t.adverts()
	if t.want.Peers != nil {
		return t.want.Unheard(backends.Reach{
			SetUp:    t.hasConfig,
			Others:   func(a *backends.BGPAdvertisement, is6 bool) bool { return t.foreignTells(adverts[advertName(a)], is6) },
			Excluded: func(node labels.Set) bool { return node.Has(backends.LabelExclude) },
		})
	}
	out := map[backends.Audience]string{}
	for i := range t.want.BGPAdvertisements {
		a := &t.want.BGPAdvertisements[i]
		advert := adverts[advertName(a)]
		for _, is6 := range []bool{false, true} {
			if t.foreignTells(advert, is6) || !t.foreignTells(advert, !is6) {
				continue
			}
			family := familyOf(is6)[0]
			out[backends.Audience{Advertisement: a.Source, IPv6: is6}] = fmt.Sprintf("no session can tell the %s routes of BGPAdvertisement %q: "+
				"no CiliumBGPPeerConfig selects it in an element of spec.families with afi %s%s", backends.FamilyName(is6), a.Source.Name, family,
				remedy(0, advert))
		}
	}
	return out
}

// hasConfig reports whether the sessions with a peer are set up wherever a node has one.
func (t *translation) hasConfig(p *backends.Peer) bool {
	return t.setUp[p.Source.Name] || !slices.ContainsFunc(t.want.Nodes, func(n backends.Node) bool { return p.SelectsNode(n.Labels) })
}

// adverts returns the labels of the objects that were made of advertisements, by name.
func (t *translation) adverts() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, o := range t.objects {
		if o, ok := o.(*v2.CiliumBGPAdvertisement); ok {
			out[o.Name] = o.Labels
		}
	}
	return out
}

// advertName is what the object is called that is made of an advertisement.
func advertName(a *backends.BGPAdvertisement) string { return objectName("bgpadv", a.Source.Name) }

// unselected tells of advertisements that no peer config selects, where peers are not managed: nobody hears them. Those that failed are
// told of anyway.
func (t *translation) unselected(failed map[key]error) []backends.Finding {
	if t.want.Peers != nil {
		return nil
	}
	var out []backends.Finding
	adverts := t.adverts()
	for i := range t.want.BGPAdvertisements {
		a := &t.want.BGPAdvertisements[i]
		advert := adverts[advertName(a)]
		if advert == nil || failed[key{kind: kindAdvert, name: advertName(a)}] != nil || t.foreignTells(advert, false) ||
			t.foreignTells(advert, true) {
			continue
		}
		out = append(out, backends.Finding{
			Type: backends.BackendInactive, Object: a.Source,
			Message: fmt.Sprintf("no CiliumBGPPeerConfig selects its %s %q: nobody hears the routes%s", kindAdvert, advertName(a),
				remedy(0, advert)),
		})
	}
	return out
}
