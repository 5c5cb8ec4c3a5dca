package convert

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// kindOrder is the order of the objects in the output: what others refer to comes first.
var kindOrder = []string{"IPAddressPool", "L2Advertisement", "Community", "BFDProfile", "BGPPeer", "BGPAdvertisement"}

// add adds an object, whose name was read by r.
func (c *converter) add(r reader, name string, o client.Object) {
	given := name
	name = objectName(name)
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		r.problem("%q cannot be the name of an object: use lower case letters, digits, '-' and '.', and change what refers to it, annotations of Services included", name)
		return
	}
	o.SetName(name)
	o.SetNamespace(c.Namespace)
	kind, version := "", v1beta1.GroupVersion
	switch o.(type) {
	case *v1beta1.IPAddressPool:
		kind = "IPAddressPool"
	case *v1beta1.L2Advertisement:
		kind = "L2Advertisement"
	case *v1beta1.BGPAdvertisement:
		kind = "BGPAdvertisement"
	case *v1beta1.Community:
		kind = "Community"
	case *v1beta1.BFDProfile:
		kind = "BFDProfile"
	case *v1beta2.BGPPeer:
		kind, version = "BGPPeer", v1beta2.GroupVersion
	}
	o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: version.Group, Version: version.Version, Kind: kind})
	for _, other := range c.result.Objects {
		if other.GetObjectKind().GroupVersionKind() == o.GetObjectKind().GroupVersionKind() && other.GetName() == name {
			r.problem("there would be two objects %s %q: change one of the names", kind, name)
			return
		}
	}
	if name != given && !strings.HasSuffix(kind, "Advertisement") {
		r.note("%q cannot be the name of an object: the %s is called %q, as MetalLB's own converter does. "+
			"Change what refers to it, annotations of Services included", given, kind, name)
	}
	c.result.Objects = append(c.result.Objects, o)
}

// duration reads a time such as 90s; empty is the default, nil.
func (r reader) duration() *metav1.Duration {
	r = r.resolved()
	s := r.str()
	if s == "" {
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		r.problem("%q is not a duration such as 90s", r.node.Value)
		return nil
	}
	return &metav1.Duration{Duration: d}
}

// wellKnown are the communities that have names everywhere (RFC 1997, RFC 3765).
var wellKnown = map[string]string{
	"no-export": "65535:65281", "no-advertise": "65535:65282", "local-as": "65535:65283", "nopeer": "65535:65284",
}

// communities reads names or values of communities. The value stands in place of a well-known name that the input does not define.
func (r reader) communities(defined map[string]bool) (out []string) {
	r.items(func(i reader) {
		s := i.str()
		switch {
		case s == "":
			return
		case strings.Contains(s, ":") || defined[s]:
		case wellKnown[s] != "":
			s = wellKnown[s]
		default:
			i.problem("community %q is not defined: add it to the communities, or give its value, such as 65535:65282", s)
			return
		}
		out = append(out, s)
	})
	return out
}

// aliases makes the object that holds the names of communities.
func (r reader) aliases(out map[string]bool) {
	o := &v1beta1.Community{}
	r.each(func(name string, v reader) {
		o.Spec.Communities = append(o.Spec.Communities, v1beta1.CommunityAlias{Name: name, Value: v.str()})
		out[name] = true
	})
	if len(o.Spec.Communities) > 0 {
		r.c.add(r, "communities", o)
	}
}

// within returns the names of pools that are defined, as the objects are called; others are problems.
func (r reader) within(known map[string][]string) (out []string) {
	r.items(func(i reader) {
		p := i.str()
		if _, ok := known[p]; ok {
			out = append(out, objectName(p))
		} else if p != "" {
			i.problem("pool %q is not defined", p)
		}
	})
	return out
}
