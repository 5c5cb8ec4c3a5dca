package convert

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
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
	communities        map[string]bool     // names that are defined
	others             int                 // variables that are about something else
}

// kubespray converts the variables of all documents together.
func (c *converter) kubespray() {
	k := &inventory{converter: c, enabled: true, protocol: "layer2", poolName: "loadbalanced", pools: map[string][]string{}, communities: map[string]bool{}}
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
			c.note(&c.documents[0], nil, "metallb_speaker_enabled", "is false, and calico_advertise_service_loadbalancer_ips is not set: nobody advertises")
		}
	}
	c.set("speaker.enabled", k.speakers)
	if k.advertised != nil {
		k.byCalico(*k.advertised)
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
	if v.node.Tag == "!!null" {
		return
	}
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
		if k.protocol = v.str(); k.protocol != "layer2" && k.protocol != "bgp" {
			v.problem("%q is neither layer2 nor bgp", k.protocol)
		}
	case "metallb_pool_name":
		k.poolName = v.str()
	case "metallb_peers":
		k.oldPeers = &v
	case "metallb_additional_address_pools":
		k.oldPools = &v
	case "metallb_config":
		k.config = &v
	case "calico_advertise_service_loadbalancer_ips":
		if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
			return
		}
		k.advertised = &v
	case "metallb_log_level":
		k.logLevel(v, "controller.logLevel", "speaker.logLevel")
	case "metallb_port":
		k.set("prometheus.metricsPort", int(v.number(16)))
	case "metallb_memberlist_port":
		k.set("speaker.memberlist.mlBindPort", int(v.number(16)))
	case "metallb_speaker_nodeselector":
		k.set("speaker.nodeSelector", v.decode())
	case "metallb_controller_nodeselector":
		k.set("controller.nodeSelector", v.decode())
	case "metallb_speaker_tolerations":
		k.set("speaker.tolerations", v.decode())
	case "metallb_controller_tolerations":
		k.set("controller.tolerations", v.decode())
	case "metallb_loadbalancer_class":
		k.set("loadBalancerClass", v.str())
	case "metallb_namespace":
		if v.str() != k.Namespace {
			v.note("the objects are made for the namespace %q: give --namespace %s if Fairlead is to be there", k.Namespace, v.str())
		}
	case "metallb_version", "metallb_image_tag", "metallb_speaker_image_repo", "metallb_speaker_image_tag", "metallb_controller_image_repo", "metallb_controller_image_tag":
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

// metallbConfig reads metallb_config.
func (k *inventory) metallbConfig(r reader) {
	placed := func(component string) func(reader) {
		return func(v reader) {
			v.fields(map[string]func(reader){
				"nodeselector": func(v reader) { k.set(component+".nodeSelector", v.decode()) },
				"tolerations":  func(v reader) { k.set(component+".tolerations", v.decode()) },
			})
		}
	}
	var layer2, layer3 *reader
	r.fields(map[string]func(reader){
		"controller":    placed("controller"),
		"speaker":       placed("speaker"),
		"address_pools": func(v reader) { v.each(k.pool) },
		"layer2":        func(v reader) { layer2 = &v },
		"layer3":        func(v reader) { layer3 = &v },
	})
	if layer2 != nil {
		layer2.items(func(v reader) {
			if name := v.str(); len(within([]string{name}, k.pools, v)) > 0 {
				k.add(v, name, &v1beta1.L2Advertisement{Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{name}}})
			}
		})
	}
	if layer3 != nil {
		k.layer3(*layer3)
	}
}

// pool reads a pool of metallb_config, or one of the older form.
func (k *inventory) pool(name string, r reader) {
	o := &v1beta1.IPAddressPool{Spec: v1beta1.IPAddressPoolSpec{AvoidBuggyIPs: k.avoidBuggy, AutoAssign: k.autoAssign}}
	protocol := ""
	r.fields(map[string]func(reader){
		"ip_range":        func(v reader) { o.Spec.Addresses = v.ranges() },
		"auto_assign":     func(v reader) { b := v.boolean(); o.Spec.AutoAssign = &b },
		"avoid_buggy_ips": func(v reader) { o.Spec.AvoidBuggyIPs = v.boolean() },
		"protocol":        func(v reader) { protocol = v.str() },
	})
	if len(o.Spec.Addresses) == 0 {
		r.problem("has no ip_range")
		return
	}
	k.addPool(r, name, o)
	switch protocol {
	case "":
	case "layer2":
		k.add(r, name, &v1beta1.L2Advertisement{Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{name}}})
	case "bgp":
		k.add(r, name, &v1beta1.BGPAdvertisement{Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{name}}})
	default:
		r.problem("protocol %q is neither layer2 nor bgp", protocol)
	}
}

func (k *inventory) addPool(r reader, name string, o *v1beta1.IPAddressPool) {
	k.pools[name] = o.Spec.Addresses
	k.order = append(k.order, name)
	k.add(r, name, o)
}

// layer3 reads the peers.
func (k *inventory) layer3(r reader) {
	var peers *reader
	var port uint16
	var hold *metav1.Duration
	r.fields(map[string]func(reader){
		"defaults": func(v reader) {
			v.fields(map[string]func(reader){
				"peer_port": func(v reader) { port = uint16(v.number(16)) },
				"hold_time": func(v reader) { hold = v.duration() },
			})
		},
		"communities":   func(v reader) { v.aliases(k.communities) },
		"metallb_peers": func(v reader) { peers = &v },
	})
	if peers == nil {
		return
	}
	peers.each(func(name string, v reader) {
		k.peer(v, name, v1beta2.BGPPeerSpec{PeerPort: port, HoldTime: hold})
	})
}

// peer reads a peer and the pools that it is to hear of.
func (k *inventory) peer(r reader, name string, spec v1beta2.BGPPeerSpec) {
	ad := v1beta1.BGPAdvertisementSpec{Peers: []string{name}}
	var aggregation, localPref uint64
	r.fields(map[string]func(reader){
		"peer_address": func(v reader) { spec.PeerAddress = v.str() },
		"peer_asn":     func(v reader) { spec.PeerASN = uint32(v.number(32)) },
		"my_asn":       func(v reader) { spec.MyASN = uint32(v.number(32)) },
		"peer_port":    func(v reader) { spec.PeerPort = uint16(v.number(16)) },
		"hold_time":    func(v reader) { spec.HoldTime = v.duration() },
		"router_id":    func(v reader) { spec.RouterID = v.str() },
		"password":     func(v reader) { spec.Password, k.passwords = v.str(), true },
		"multihop":     func(v reader) { spec.EBGPMultiHop = v.boolean() },
		"source_address": func(v reader) {
			v.note("Kubespray makes nothing of it, and every node would have to have this address: left out. Set spec.sourceAddress of the BGPPeer, with nodeSelectors, if it is meant")
		},
		"communities":        func(v reader) { ad.Communities = v.communities(k.communities) },
		"address_pool":       func(v reader) { ad.IPAddressPools = within(v.strings(), k.pools, v) },
		"aggregation_length": func(v reader) { aggregation = v.number(6) },
		"localpref":          func(v reader) { localPref = v.number(32) },
	})
	for _, missing := range []struct {
		key string
		is  bool
	}{{"peer_address", spec.PeerAddress == ""}, {"peer_asn", spec.PeerASN == 0}, {"my_asn", spec.MyASN == 0}} {
		if missing.is {
			r.problem("has no %s", missing.key)
			return
		}
	}
	k.add(r, name, &v1beta2.BGPPeer{Spec: spec})
	if len(ad.IPAddressPools) == 0 {
		return
	}
	if aggregation > 0 && aggregation <= 30 { // as Kubespray does: the routes of single addresses go no further than the router
		local := ad
		local.Communities, local.LocalPref = []string{wellKnown["no-advertise"]}, cmp.Or(uint32(localPref), 100)
		k.add(r, name+"-local", &v1beta1.BGPAdvertisement{Spec: local})
		length := int32(aggregation)
		ad.AggregationLength = &length
	} else if aggregation > 30 || localPref > 0 {
		r.note("Kubespray makes something of aggregation_length and localpref only if the former is 30 or less: left out")
	}
	k.add(r, name, &v1beta1.BGPAdvertisement{Spec: ad})
}

// old reads the variables of older Kubespray: one pool, one protocol.
func (k *inventory) old() {
	if k.ipRange != nil {
		o := &v1beta1.IPAddressPool{Spec: v1beta1.IPAddressPoolSpec{Addresses: k.ipRange.ranges(), AvoidBuggyIPs: k.avoidBuggy, AutoAssign: k.autoAssign}}
		if len(o.Spec.Addresses) > 0 {
			k.addPool(*k.ipRange, k.poolName, o)
			if k.protocol == "bgp" {
				k.add(*k.ipRange, k.poolName, &v1beta1.BGPAdvertisement{Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{k.poolName}}})
			} else {
				k.add(*k.ipRange, k.poolName, &v1beta1.L2Advertisement{Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{k.poolName}}})
			}
		}
	}
	if k.oldPools != nil {
		k.oldPools.each(k.pool)
	}
	if k.oldPeers != nil {
		n := 0
		k.oldPeers.items(func(v reader) {
			n++
			k.peer(v, "peer"+strconv.Itoa(n), v1beta2.BGPPeerSpec{})
		})
	}
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
			x, _ := allocator.ParseRange(s)
			i := slices.IndexFunc(entries, func(e *entry) bool { return e.prefix.Contains(x.From()) && e.prefix.Contains(x.To()) })
			if i >= 0 {
				inside++
			}
			for _, e := range entries {
				e.used = e.used || e.prefix.Contains(x.From()) || e.prefix.Contains(x.To()) || x.From().Compare(e.prefix.Addr()) <= 0 && e.prefix.Addr().Compare(x.To()) <= 0
			}
		}
		switch {
		case inside == len(k.pools[name]):
			ad.IPAddressPools = append(ad.IPAddressPools, name)
		case inside > 0:
			r.problem("holds only part of pool %q; a BGPAdvertisement advertises whole pools: split the pool, or add %s", name, strings.Join(k.pools[name], ", "))
		case !k.speakers:
			r.note("pool %q is not in it: Calico does not advertise it", name)
		}
	}
	for _, e := range entries {
		if !e.used {
			e.reader.problem("%s is in no pool: no Service gets an address in it from here. If others use it, keep this entry with Kubespray", e.prefix)
		}
	}
	if len(ad.IPAddressPools) > 0 {
		k.add(r, calico, &v1beta1.BGPAdvertisement{Spec: ad})
	}
}
