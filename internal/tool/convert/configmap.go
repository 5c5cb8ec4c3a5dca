package convert

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// config converts what MetalLB's ConfigMap held. Objects that had no name there are called as MetalLB's own converter calls them.
func (c *converter) config(d *document) {
	if c.advertiser == "" {
		c.advertiser = speaker
	}
	communities := map[string]bool{}
	root := reader{c, d, "", d.root}
	if d.kind == Values {
		root.path = "configInline"
	}
	if n := field(d.root, "bgp-communities"); n != nil { // pools refer to them, wherever they stand
		reader{c, d, "bgp-communities", n}.aliases(communities)
	}
	root.fields(map[string]func(reader){
		"bgp-communities": func(reader) {},
		"peers": func(v reader) {
			v.items(func(v reader) {
				c.peers++
				c.configPeer(v, "peer"+strconv.Itoa(c.peers))
			})
		},
		"address-pools": func(v reader) {
			v.items(func(v reader) { c.configPool(v, communities) })
		},
		"bfd-profiles": func(v reader) { v.items(c.configProfile) },
	})
}

func (c *converter) configPeer(r reader, name string) {
	o := &v1beta2.BGPPeer{}
	s, told, readable := &o.Spec, c.told, true
	r.fields(map[string]func(reader){
		"my-asn":         func(v reader) { s.MyASN = uint32(v.number(32)) },
		"peer-asn":       func(v reader) { s.PeerASN = uint32(v.number(32)) },
		"peer-address":   func(v reader) { s.PeerAddress = v.str() },
		"source-address": func(v reader) { s.SourceAddress = v.str() },
		"peer-port":      func(v reader) { s.PeerPort = v.port() },
		"hold-time":      func(v reader) { s.HoldTime = v.duration() },
		"keepalive-time": func(v reader) { s.KeepaliveTime = v.duration() },
		"router-id":      func(v reader) { s.RouterID = v.str() },
		"password":       func(v reader) { s.Password, readable = c.password(v) },
		"bfd-profile":    func(v reader) { s.BFDProfile = objectName(v.str()) },
		"ebgp-multihop":  func(v reader) { s.EBGPMultiHop = v.boolean() },
		"node-selectors": func(v reader) {
			v.items(func(v reader) { s.NodeSelectors = append(s.NodeSelectors, v.selector()) })
		},
	})
	if s.MyASN == 0 || s.PeerASN == 0 || s.PeerAddress == "" {
		if c.told == told {
			r.problem("a peer needs my-asn, peer-asn and peer-address")
		}
		return
	}
	if readable {
		c.add(r, name, o)
	}
}

// password reads that of a peer; empty is none. It returns false if there is one that cannot be read: without it the peer would be
// another one.
func (c *converter) password(v reader) (s string, readable bool) {
	told := c.told
	s = v.str()
	c.passwords = c.passwords || s != ""
	return s, c.told == told
}

// selector reads a selector of the ConfigMap.
func (r reader) selector() (out metav1.LabelSelector) {
	r.fields(map[string]func(reader){
		"match-labels": func(v reader) {
			out.MatchLabels = map[string]string{}
			v.each(func(key string, v reader) { out.MatchLabels[key] = v.str() })
		},
		"match-expressions": func(v reader) {
			v.items(func(v reader) {
				var e metav1.LabelSelectorRequirement
				v.fields(map[string]func(reader){
					"key":      func(v reader) { e.Key = v.str() },
					"operator": func(v reader) { e.Operator = metav1.LabelSelectorOperator(v.str()) },
					"values":   func(v reader) { e.Values = v.strings() },
				})
				out.MatchExpressions = append(out.MatchExpressions, e)
			})
		},
	})
	if _, err := metav1.LabelSelectorAsSelector(&out); err != nil {
		r.problem("%v", err)
	}
	return out
}

func (c *converter) configPool(r reader, communities map[string]bool) {
	var p pool
	told := c.told
	r.fields(map[string]func(reader){
		"name":            func(v reader) { p.name = v.str() },
		"protocol":        func(v reader) { p.protocol = v.str() },
		"addresses":       func(v reader) { p.ranges = v.ranges() },
		"auto-assign":     func(v reader) { b := v.boolean(); p.spec.AutoAssign = &b },
		"avoid-buggy-ips": func(v reader) { p.spec.AvoidBuggyIPs = v.boolean() },
		"bgp-advertisements": func(v reader) {
			v.items(func(v reader) { p.ads = append(p.ads, v.configAdvertisement(communities)) })
		},
	})
	p.told = c.told > told
	c.poolAndAds(r, p)
}

func (r reader) configAdvertisement(communities map[string]bool) (out v1beta1.BGPAdvertisementSpec) {
	length := func(to **int32) func(reader) {
		return func(v reader) { n := int32(v.number(8)); *to = &n }
	}
	r.fields(map[string]func(reader){
		"aggregation-length":    length(&out.AggregationLength),
		"aggregation-length-v6": length(&out.AggregationLengthV6),
		"localpref":             func(v reader) { out.LocalPref = uint32(v.number(32)) },
		"communities":           func(v reader) { out.Communities = v.communities(communities) },
	})
	return out
}

func (c *converter) configProfile(r reader) {
	o := &v1beta1.BFDProfile{}
	name := ""
	number := func(to **uint32) func(reader) {
		return func(v reader) { n := uint32(v.number(32)); *to = &n }
	}
	flag := func(to **bool) func(reader) {
		return func(v reader) { b := v.boolean(); *to = &b }
	}
	s := &o.Spec
	r.fields(map[string]func(reader){
		"name":              func(v reader) { name = v.str() },
		"receive-interval":  number(&s.ReceiveInterval),
		"transmit-interval": number(&s.TransmitInterval),
		"detect-multiplier": number(&s.DetectMultiplier),
		"echo-interval":     number(&s.EchoInterval),
		"minimum-ttl":       number(&s.MinimumTTL),
		"echo-mode":         flag(&s.EchoMode),
		"passive-mode":      flag(&s.PassiveMode),
	})
	c.add(r, name, o)
}
