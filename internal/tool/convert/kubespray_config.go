package convert

import (
	"cmp"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// metallbConfig reads metallb_config.
func (k *inventory) metallbConfig(r reader) {
	placed := func(component string) func(reader) {
		return func(v reader) {
			v.fields(map[string]func(reader){
				"nodeselector": func(v reader) { k.keepAs(v, component+".nodeSelector", texts) },
				"tolerations":  func(v reader) { k.keepAs(v, component+".tolerations", list) },
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
			if name := v.str(); len(v.within(k.pools)) > 0 {
				k.announce(v, name, "layer2")
			}
		})
	}
	if layer3 != nil {
		k.layer3(*layer3)
	}
}

// pool reads a pool of metallb_config, or one of the older form.
func (k *inventory) pool(name string, r reader) {
	spec := v1beta1.IPAddressPoolSpec{AvoidBuggyIPs: k.avoidBuggy, AutoAssign: k.autoAssign}
	var ranges []addressRange
	protocol, told := "", k.told
	r.fields(map[string]func(reader){
		"ip_range":        func(v reader) { ranges = v.ranges() },
		"auto_assign":     func(v reader) { b := v.boolean(); spec.AutoAssign = &b },
		"avoid_buggy_ips": func(v reader) { spec.AvoidBuggyIPs = v.boolean() },
		"protocol":        func(v reader) { protocol = v.str() },
	})
	if len(ranges) == 0 {
		if k.told == told {
			r.problem("has no ip_range")
		}
		return
	}
	if !k.define(r, name, spec, ranges) {
		return
	}
	switch protocol {
	case "":
	case "layer2", "bgp":
		k.announce(r, name, protocol)
	default:
		r.problem("protocol %q is neither layer2 nor bgp", protocol)
	}
}

// define adds a pool, and reports whether there are addresses left for it.
func (k *inventory) define(r reader, name string, spec v1beta1.IPAddressPoolSpec, ranges []addressRange) bool {
	k.pools[name] = nil
	for _, x := range ranges {
		k.pools[name] = append(k.pools[name], x.text)
	}
	if !k.addPool(r, name, spec, ranges) {
		return false
	}
	k.order = append(k.order, name)
	k.places[name] = r
	return true
}

// announce adds an advertisement of a pool, to everyone. Naming a pool twice adds nothing.
func (k *inventory) announce(r reader, name, protocol string) {
	if k.announced[name] {
		return
	}
	k.announced[name] = true
	pools := []string{objectName(name)}
	if protocol == "bgp" {
		k.add(r, name, &v1beta1.BGPAdvertisement{Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: pools}})
		return
	}
	k.add(r, name, &v1beta1.L2Advertisement{Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: pools}})
}

// layer3 reads the peers.
func (k *inventory) layer3(r reader) {
	var peers *reader
	var port uint16
	var hold *metav1.Duration
	r.fields(map[string]func(reader){
		"defaults": func(v reader) {
			v.fields(map[string]func(reader){
				"peer_port": func(v reader) { port = v.port() },
				"hold_time": func(v reader) { hold = v.duration() },
			})
		},
		"communities":   func(v reader) { v.aliases(k.communities) },
		"metallb_peers": func(v reader) { peers = &v },
	})
	if peers == nil {
		return
	}
	n := 0
	peers.each(func(name string, v reader) {
		n++
		k.peer(v, name, v1beta2.BGPPeerSpec{PeerPort: port, HoldTime: hold}, k.ignored)
	})
	if n > 1 {
		peers.note("every peer hears of every pool, as from Kubespray, whose BGPAdvertisements name no peers: " +
			"set spec.peers of them if a peer is to hear of some only")
	}
}

// ignored are keys of a peer of which Kubespray makes nothing since it has metallb_config.
func (k *inventory) ignored(*v1beta2.BGPPeerSpec) map[string]func(reader) {
	ignore := func(field string) func(reader) {
		return func(v reader) {
			if !empty(v.decode()) {
				v.note("Kubespray makes nothing of it: left out. Set spec.%s of the BGPPeer if it is meant; "+
					"a source address needs nodeSelectors that select one node", field)
			}
		}
	}
	return map[string]func(reader){"source_address": ignore("sourceAddress"), "node_selectors": ignore("nodeSelectors")}
}

// selected are keys of a peer that Kubespray 2.19 to 2.21 wrote into MetalLB's ConfigMap as they were.
func (k *inventory) selected(spec *v1beta2.BGPPeerSpec) map[string]func(reader) {
	return map[string]func(reader){
		"source_address": func(v reader) { spec.SourceAddress = v.str() },
		"node_selectors": func(v reader) {
			v.items(func(v reader) { spec.NodeSelectors = append(spec.NodeSelectors, v.selector()) })
		},
	}
}

// peer reads a peer and the pools that are advertised with it. more are the keys that the form of the variables adds.
func (k *inventory) peer(r reader, name string, spec v1beta2.BGPPeerSpec, more func(*v1beta2.BGPPeerSpec) map[string]func(reader)) {
	var ad v1beta1.BGPAdvertisementSpec
	var aggregation, localPref uint64
	told, readable := k.told, true
	keys := map[string]func(reader){
		"peer_address": func(v reader) { spec.PeerAddress = v.str() },
		"peer_asn":     func(v reader) { spec.PeerASN = uint32(v.number(32)) },
		"my_asn":       func(v reader) { spec.MyASN = uint32(v.number(32)) },
		"peer_port":    func(v reader) { spec.PeerPort = cmp.Or(v.port(), spec.PeerPort) },
		"hold_time": func(v reader) {
			if d := v.duration(); d != nil {
				spec.HoldTime = d
			}
		},
		"router_id":          func(v reader) { spec.RouterID = v.str() },
		"password":           func(v reader) { spec.Password, readable = k.password(v) },
		"multihop":           func(v reader) { spec.EBGPMultiHop = v.boolean() },
		"communities":        func(v reader) { ad.Communities = v.communities(k.communities) },
		"address_pool":       func(v reader) { ad.IPAddressPools = k.heard(v) },
		"aggregation_length": func(v reader) { aggregation = v.number(6) },
		"localpref":          func(v reader) { localPref = v.number(32) },
	}
	for key, f := range more(&spec) {
		keys[key] = f
	}
	r.fields(keys)
	for _, missing := range []struct {
		key string
		is  bool
	}{{"peer_address", spec.PeerAddress == ""}, {"peer_asn", spec.PeerASN == 0}, {"my_asn", spec.MyASN == 0}} {
		if missing.is {
			if k.told == told {
				r.problem("has no %s", missing.key)
			}
			return
		}
	}
	if readable {
		k.add(r, name, &v1beta2.BGPPeer{Spec: spec})
	}
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

// heard reads the pools of a peer.
func (k *inventory) heard(v reader) []string {
	pools := v.within(k.pools)
	for _, name := range k.order {
		k.announced[name] = k.announced[name] || slices.Contains(pools, objectName(name))
	}
	return pools
}

// old reads the variables of older Kubespray: one pool, one protocol.
func (k *inventory) old() {
	if k.ipRange != nil {
		ranges := k.ipRange.ranges()
		if len(ranges) > 0 {
			if len(k.order) > 0 {
				k.ipRange.note("Kubespray makes nothing of it beside metallb_config: take it out if it is a leftover; "+
					"the pool %q is made of it all the same", objectName(k.poolName))
			}
			if k.define(*k.ipRange, k.poolName, v1beta1.IPAddressPoolSpec{AvoidBuggyIPs: k.avoidBuggy, AutoAssign: k.autoAssign}, ranges) {
				k.announce(*k.ipRange, k.poolName, k.protocol)
			}
		}
	}
	if k.oldPools != nil {
		k.oldPools.each(k.pool)
	}
	if k.oldPeers != nil {
		k.oldPeers.items(func(v reader) {
			k.peers++
			k.peer(v, "peer"+strconv.Itoa(k.peers), v1beta2.BGPPeerSpec{}, k.selected)
		})
	}
}

// oldest reads what Kubespray had before 2.13: all in one variable.
func (k *inventory) oldest(r reader) {
	r.each(func(key string, v reader) {
		switch {
		case v.null():
		case key == "limits":
			v.fields(map[string]func(reader){
				"cpu":    func(v reader) { k.limit(v, "cpu") },
				"memory": func(v reader) { k.limit(v, "memory") },
			})
		default:
			k.variables("metallb_"+key, v)
		}
	})
}
