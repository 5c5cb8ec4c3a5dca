package calico

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

const ourNamespace = "fairlead-system"

func source(kind, name string) backends.Source {
	return backends.Source{Kind: kind, Namespace: ourNamespace, Name: name}
}

func pools(names ...string) []backends.Pool {
	var out []backends.Pool
	for _, n := range names {
		out = append(out, backends.Pool{Name: n, Label: backends.LabelValue(n)})
	}
	return out
}

// adv is an advertisement of some pools, with single addresses as its routes.
func adv(name string, of []backends.Pool, change ...func(*backends.BGPAdvertisement)) backends.BGPAdvertisement {
	a := backends.BGPAdvertisement{Source: source("BGPAdvertisement", name), Pools: of, AggregationLength: 32, AggregationLengthV6: 128}
	for _, c := range change {
		c(&a)
	}
	return a
}

func to(peers ...string) func(*backends.BGPAdvertisement) {
	return func(a *backends.BGPAdvertisement) { a.Peers = peers }
}

func from(nodes string) func(*backends.BGPAdvertisement) {
	return func(a *backends.BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector(nodes)} }
}

func only(services string) func(*backends.BGPAdvertisement) {
	return func(a *backends.BGPAdvertisement) { a.ServiceSelectors = []labels.Selector{selector(services)} }
}

func lengths(v4, v6 int) func(*backends.BGPAdvertisement) {
	return func(a *backends.BGPAdvertisement) { a.AggregationLength, a.AggregationLengthV6 = v4, v6 }
}

func tagged(numbers ...uint32) func(*backends.BGPAdvertisement) {
	return func(a *backends.BGPAdvertisement) {
		for _, n := range numbers {
			a.Communities = append(a.Communities, backends.Community{Parts: [3]uint32{64512, n}})
		}
	}
}

func selector(s string) labels.Selector {
	out, err := labels.Parse(s)
	if err != nil {
		panic(err)
	}
	return out
}

// announce is the prefixes of a pool.
func announce(pool string, prefixes ...string) []backends.Announcement {
	var out []backends.Announcement
	for _, p := range prefixes {
		out = append(out, backends.Announcement{Prefix: netip.MustParsePrefix(p), Pool: pool})
	}
	return out
}

// service is one with addresses; its label app is its name.
func service(name, pool string, addrs ...string) backends.Service {
	s := backends.Service{Namespace: "shop", Name: name, Pool: pool, Labels: labels.Set{"app": name}}
	for _, a := range addrs {
		s.Addrs = append(s.Addrs, netip.MustParseAddr(a))
	}
	return s
}

// router is a peer.
func router(name, addr string, change ...func(*backends.Peer)) backends.Peer {
	p := backends.Peer{Source: source("BGPPeer", name), MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr(addr)}
	for _, c := range change {
		c(&p)
	}
	return p
}

func node(name string, l ...string) backends.Node {
	n := backends.Node{Name: name, Labels: labels.Set{labelHostname: name}}
	for i := 0; i < len(l); i += 2 {
		n.Labels[l[i]] = l[i+1]
	}
	return n
}

// entries are entries as text: prefix@pool.
func entries(list []Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, e.Prefix.String()+"@"+e.Pool)
	}
	return strings.Join(out, " ")
}

// owned makes entries of text.
func owned(text ...string) []Entry {
	var out []Entry
	for _, s := range text {
		p, pool, _ := strings.Cut(s, "@")
		out = append(out, Entry{netip.MustParsePrefix(p), cmp.Or(pool, "main")})
	}
	return out
}

func tag(prefix string, communities ...string) Tag {
	return Tag{netip.MustParsePrefix(prefix), communities}
}

func tags(list []Tag) string {
	var out []string
	for _, t := range list {
		out = append(out, t.String())
	}
	return strings.Join(out, "; ")
}

// found are findings as text; those that withhold a pool begin with an exclamation mark.
func found(list []backends.Finding) []string {
	var out []string
	for _, f := range list {
		text := fmt.Sprintf("%s %s", f.Type, f)
		if f.Withheld {
			text = "!" + text
		}
		out = append(out, strings.ReplaceAll(text, ourNamespace+"/", ""))
	}
	return out
}

// about is findings without their messages.
func about(list []backends.Finding) []string {
	var out []string
	for _, f := range list {
		text := strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", f.Type, f.Object.Kind, f.Object.Name, f.Field))
		if f.Withheld {
			text = "!" + text
		}
		out = append(out, text)
	}
	return out
}

// conf is a BGPConfiguration with a list of blocks.
func conf(blocks ...string) *configuration {
	c := &configuration{fields: map[string]any{}}
	for _, b := range blocks {
		c.Spec.ServiceLoadBalancerIPs = append(c.Spec.ServiceLoadBalancerIPs, v3.ServiceLoadBalancerIPBlock{CIDR: b})
	}
	if len(blocks) > 0 {
		c.fields[fieldBlocks] = blocks
	}
	return c
}

func (c *configuration) with(tags ...Tag) *configuration {
	for _, t := range tags {
		c.Spec.PrefixAdvertisements = append(c.Spec.PrefixAdvertisements, v3.PrefixAdvertisement{CIDR: t.Prefix.String(), Communities: t.Communities})
	}
	c.fields[fieldTags] = tags
	return c
}

func (c *configuration) set(a v3.ServiceLoadBalancerAggregation) *configuration {
	c.Spec.ServiceLoadBalancerAggregation = &a
	c.fields[fieldAggregation] = string(a)
	return c
}

// appliedBy has a manager apply fields from the server side.
func (c *configuration) applied(manager string, fields ...string) *configuration {
	raw := `{"f:spec":{`
	for i, f := range fields {
		if i > 0 {
			raw += ","
		}
		raw += `"f:` + f + `":{}`
	}
	c.ManagedFields = append(c.ManagedFields, metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: &metav1.FieldsV1{Raw: []byte(raw + "}}")},
	})
	return c
}

// patched is a patch as text.
func patched(spec map[string]any) string {
	var out []string
	for _, field := range []string{fieldBlocks, fieldTags, fieldAggregation} {
		value, ok := spec[field]
		if !ok {
			continue
		}
		text := fmt.Sprint(value)
		switch list := value.(type) {
		case nil:
			text = "-"
		case []v3.ServiceLoadBalancerIPBlock:
			var cidrs []string
			for _, b := range list {
				cidrs = append(cidrs, b.CIDR)
			}
			text = strings.Join(cidrs, " ")
		case []v3.PrefixAdvertisement:
			var all []string
			for _, p := range list {
				all = append(all, p.CIDR+" "+strings.Join(p.Communities, ","))
			}
			text = strings.Join(all, "; ")
		}
		out = append(out, field+": "+text)
	}
	return strings.Join(out, "\n")
}

// rendered is objects as text, a line for each.
func rendered(objects []object) string {
	var out []string
	for _, x := range objects {
		line := kindName(x) + " " + x.GetName()
		switch o := x.(type) {
		case *v3.BGPPeer:
			line += fmt.Sprintf(": %s as%d", o.Spec.PeerIP, o.Spec.ASNumber)
			if o.Spec.LocalASNumber != nil {
				line += fmt.Sprintf(" local as%d", *o.Spec.LocalASNumber)
			}
			if o.Spec.NodeSelector != every {
				line += fmt.Sprintf(" on %s", o.Spec.NodeSelector)
			}
			if len(o.Spec.Filters) > 0 {
				line += " filters " + strings.Join(o.Spec.Filters, "+")
			}
			if o.Spec.Password != nil {
				line += " password " + o.Spec.Password.SecretKeyRef.Name
			}
		case *v3.BGPFilter:
			line += ":"
			for _, r := range rulesOf(o) {
				line += fmt.Sprintf(" [%s %s %s]", r.operator(), r.Prefix, cmp.Or(string(r.source), "all"))
			}
		case *corev1.Secret:
			line += ": " + o.Namespace + " " + string(o.Data[passwordKey])
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// prefixes parses prefixes.
func prefixes(text ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range text {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
