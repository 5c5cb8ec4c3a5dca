package convert

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config/ranges"
)

// inventory is what the variables of Kubespray say of MetalLB.
type inventory struct {
	*converter
	enabled, speakers, speakersSet bool

	avoidBuggy         bool
	autoAssign         *bool
	protocol, poolName string
	config, advertised *reader
	ipRange            *reader             // what older versions of Kubespray have in place of config
	oldPeers, oldPools *reader             // the same
	pools              map[string][]string // their ranges
	order              []string            // their names, as in the text
	announced          map[string]bool     // those that an advertisement names
	read               map[string]reader   // variables that were read
	places             map[string]reader   // where the pools are
	communities        map[string]bool     // names that are defined
	others             int                 // variables that are about something else
}

// kubespray converts the variables of all documents together.
func (c *converter) kubespray() {
	k := &inventory{converter: c, enabled: true, protocol: "layer2", poolName: "loadbalanced", communities: map[string]bool{},
		pools: map[string][]string{}, announced: map[string]bool{}, read: map[string]reader{}, places: map[string]reader{}}
	for i := range c.documents {
		d := &c.documents[i]
		before := k.others
		reader{c, d, "", d.root}.each(k.variables)
		if k.others > before {
			c.note(d, nil, "", plural(k.others-before, "variable that is", "variables that are")+" not about MetalLB: passed over")
		}
	}
	if !k.enabled {
		c.note(&c.documents[0], nil, "metallb_enabled", "is false: Kubespray does not install MetalLB; converted all the same")
	}
	if !k.speakersSet {
		k.speakers = k.enabled
	}
	if k.config != nil {
		k.metallbConfig(*k.config)
	}
	k.old()
	switch {
	case k.speakers:
		c.advertiser = speaker
	case k.advertised != nil:
		c.advertiser = calico
	default:
		c.advertiser = "none"
		if len(k.order) > 0 {
			c.note(&c.documents[0], nil, "metallb_speaker_enabled",
				"is false, and calico_advertise_service_loadbalancer_ips is not set: nobody advertises")
		}
	}
	c.set("speaker.enabled", k.speakers)
	if k.advertised != nil {
		k.byCalico(*k.advertised)
	}
	if k.speakers {
		k.silent()
	}
}

// silent tells of pools that nobody announces, because Kubespray does not either.
func (k *inventory) silent() {
	for _, name := range k.order {
		if k.announced[name] {
			continue
		}
		text := fmt.Sprintf("nobody announces the pool %q: neither metallb_config.layer2 nor the address_pool of a peer names it", name)
		if v, ok := k.read["metallb_protocol"]; ok {
			text += fmt.Sprintf("; of metallb_protocol (%s) Kubespray makes nothing beside metallb_config", v.place())
		}
		k.places[name].note("%s", text)
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// variables reads one variable.
func (k *inventory) variables(key string, v reader) {
	if v.null() {
		return
	}
	others := k.others
	k.variable(key, v)
	if k.others > others {
		return
	}
	if had, ok := k.read[key]; ok {
		v.note("is defined in %s, too: the last file given counts, what the other holds is left out", had.place())
	}
	k.read[key] = v
}

func (k *inventory) variable(key string, v reader) {
	switch key {
	case "metallb_enabled":
		k.enabled = v.boolean()
	case "metallb_speaker_enabled":
		if strings.ReplaceAll(v.node.Value, " ", "") != "{{metallb_enabled}}" {
			k.speakers, k.speakersSet = v.boolean(), true
		}
	case "metallb_avoid_buggy_ips":
		k.avoidBuggy = v.boolean()
	case "metallb_auto_assign", "matallb_auto_assign":
		b := v.boolean()
		k.autoAssign = &b
	case "metallb_ip_range":
		k.ipRange = &v
	case "metallb_protocol":
		told := k.told
		if k.protocol = v.str(); k.protocol != "layer2" && k.protocol != "bgp" && k.told == told {
			v.problem("%q is neither layer2 nor bgp", k.protocol)
		}
	case "metallb_pool_name":
		k.poolName = cmp.Or(v.str(), k.poolName)
	case "metallb_peers":
		k.oldPeers = &v
	case "metallb_additional_address_pools":
		k.oldPools = &v
	case "metallb_config":
		k.config = &v
	case "calico_advertise_service_loadbalancer_ips":
		if r := v.resolved(); r.node.Kind == yaml.SequenceNode && len(r.node.Content) == 0 || r.lost() {
			return
		}
		k.advertised = &v
	case "metallb_log_level":
		k.logLevel(v, "controller.logLevel", "speaker.logLevel")
	case "metallb_port":
		k.nodePort(v, "prometheus.metricsPort")
	case "metallb_memberlist_port":
		k.nodePort(v, "speaker.memberlist.mlBindPort")
	case "metallb_speaker_nodeselector":
		k.keepAs(v, "speaker.nodeSelector", texts)
	case "metallb_controller_nodeselector":
		k.keepAs(v, "controller.nodeSelector", texts)
	case "metallb_speaker_tolerations":
		k.keepAs(v, "speaker.tolerations", list)
	case "metallb_controller_tolerations":
		k.keepAs(v, "controller.tolerations", list)
	case "metallb_loadbalancer_class":
		k.keepAs(v, "loadBalancerClass", text)
	case "metallb_limits_cpu":
		k.limit(v, "cpu")
	case "metallb_limits_mem":
		k.limit(v, "memory")
	case "metallb":
		k.oldest(v)
	case "metallb_namespace":
		if s := v.str(); s != "" && s != k.Namespace {
			v.note("the objects are made for the namespace %q: give --namespace %s if Fairlead is to be there", k.Namespace, s)
		}
	case "metallb_version", "metallb_image_tag", "metallb_speaker_image_repo", "metallb_speaker_image_tag", "metallb_controller_image_repo",
		"metallb_controller_image_tag":
		v.note("is about MetalLB's own image: left out")
	case "kube_proxy_strict_arp":
		if !v.boolean() {
			v.note("is false: with kube-proxy in mode ipvs and speakers on layer 2 it has to stay true")
		}
	default:
		if strings.HasPrefix(key, "metallb_") || strings.HasPrefix(key, "matallb_") {
			v.problem("unknown variable; nothing was made of it")
			return
		}
		k.others++
	}
}

// logLevel takes over a level; MetalLB has two more than we have.
func (c *converter) logLevel(v reader, paths ...string) {
	v = v.resolved()
	if v.lost() {
		return
	}
	level := v.str()
	switch level {
	case "debug", "info", "warn", "error":
	case "all":
		level = "debug"
	case "none":
		level = "error"
		v.note("none: there is always a log of errors")
	default:
		v.problem("%q is not a level; use debug, info, warn or error", level)
		return
	}
	for _, p := range paths {
		c.set(p, level)
	}
}

// nodePort takes over a port of the nodes, which may be a text.
func (c *converter) nodePort(v reader, path string) {
	told := c.told
	n := v.number(16)
	switch {
	case c.told > told || v.resolved().lost():
	case n == 0:
		v.problem("%q is not %s", v.str(), port)
	default:
		c.set(path, int(n))
	}
}

// limit takes over a limit, which older Kubespray sets for controller and speakers alike.
func (c *converter) limit(v reader, of string) {
	s := v.str()
	if s == "" {
		return
	}
	if _, err := resource.ParseQuantity(s); err != nil {
		v.problem("%q is not an amount of %s such as 100m or 100Mi", s, of)
		return
	}
	c.set("controller.resources.limits."+of, s)
	c.set("speaker.resources.limits."+of, s)
}

// byCalico makes of calico_advertise_service_loadbalancer_ips the advertisement "calico", of the pools that lie within.
func (k *inventory) byCalico(r reader) {
	if k.speakers {
		r.note("is set although metallb_speaker_enabled is true: the speakers advertise, and the BGPAdvertisement \"calico\" is served by them")
	}
	type entry struct {
		prefix netip.Prefix
		reader reader
		used   bool
	}
	var entries []*entry
	r.items(func(v reader) {
		s := v.str()
		if s == "" {
			return
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			if a, aerr := netip.ParseAddr(s); aerr == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
		}
		if err != nil {
			v.problem("%q is not a prefix such as 10.5.0.0/16: Calico takes no other form", s)
			return
		}
		entries = append(entries, &entry{prefix: p.Masked(), reader: v})
	})
	ad := v1beta1.BGPAdvertisementSpec{}
	for _, name := range k.order {
		inside := 0
		for _, s := range k.pools[name] {
			x, _ := ranges.Parse(s)
			i := slices.IndexFunc(entries, func(e *entry) bool { return e.prefix.Contains(x.From()) && e.prefix.Contains(x.To()) })
			if i >= 0 {
				inside++
			}
			for _, e := range entries {
				e.used = e.used || e.prefix.Contains(x.From()) || e.prefix.Contains(x.To()) || x.From().Compare(e.prefix.Addr()) <= 0 &&
					e.prefix.Addr().Compare(x.To()) <= 0
			}
		}
		switch {
		case inside == len(k.pools[name]):
			ad.IPAddressPools = append(ad.IPAddressPools, objectName(name))
			k.announced[name] = true
		case inside > 0:
			r.problem("holds only part of pool %q; a BGPAdvertisement advertises whole pools: split the pool, or add %s", name,
				strings.Join(k.pools[name], ", "))
		case !k.speakers:
			r.note("pool %q is not in it: Calico does not advertise it", name)
		}
	}
	for _, e := range entries {
		if !e.used {
			e.reader.problem("%s is in no pool: no Service gets an address in it from here. If others use it, keep this entry with Kubespray",
				e.prefix)
		}
	}
	if len(ad.IPAddressPools) > 0 {
		k.add(r, calico, &v1beta1.BGPAdvertisement{Spec: ad})
	}
}
