package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// CommunityValue is a BGP community: two numbers of 16 bits (RFC 1997) or, if Large, three of 32 bits (RFC 8092). It is comparable.
type CommunityValue struct {
	Large bool
	Parts [3]uint32
}

// String returns the value as it is written in a Community: 64512:100 or large:64512:1:2.
func (c CommunityValue) String() string {
	if c.Large {
		return fmt.Sprintf("large:%d:%d:%d", c.Parts[0], c.Parts[1], c.Parts[2])
	}
	return fmt.Sprintf("%d:%d", c.Parts[0], c.Parts[1])
}

// parseCommunityValue parses 64512:100 and large:64512:1:2.
func parseCommunityValue(s string) (CommunityValue, error) {
	var c CommunityValue
	numbers, large := strings.CutPrefix(s, "large:")
	parts, want, bits := strings.Split(numbers, ":"), 2, 16
	if large {
		c.Large, want, bits = true, 3, 32
	}
	bad := fmt.Errorf("%q is not a BGP community: use two numbers up to 65535 like 64512:100, or large:64512:1:2 with numbers up to 4294967295", s)
	if len(parts) != want {
		return CommunityValue{}, bad
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits)
		if err != nil {
			return CommunityValue{}, bad
		}
		c.Parts[i] = uint32(n)
	}
	return c, nil
}

// Community is a Community in force: names of BGP communities.
type Community struct {
	origin
	Aliases map[string]CommunityValue
}

func parseCommunity(o *v1beta1.Community) (*Community, []Fault) {
	c := &Community{origin: originOf(v1beta1.GroupVersion, "Community", o.ObjectMeta, o.Spec), Aliases: map[string]CommunityValue{}}
	f := findings{ref: c.Ref}
	for i, alias := range o.Spec.Communities {
		field := fmt.Sprintf("spec.communities[%d]", i)
		v, err := parseCommunityValue(alias.Value)
		if err != nil {
			f.add(field+".value", err.Error())
			continue
		}
		if _, twice := c.Aliases[alias.Name]; twice {
			f.add(field+".name", fmt.Sprintf("the alias %q is defined twice; give each community its own name", alias.Name))
			continue
		}
		c.Aliases[alias.Name] = v
	}
	if len(f.list) > 0 {
		return nil, f.list
	}
	return c, nil
}

// settleCommunities keeps every alias name in one object: the one that was not changed, or else the older one.
func settleCommunities(objects []v1beta1.Community, last map[string]*Community) (map[string]*Community, []Fault) {
	var valid []*Community
	var rejected []Ref
	var faults []Fault
	position := map[string]map[string]int{} // of an alias in the new version of an object
	for i := range objects {
		o := &objects[i]
		position[o.Name] = map[string]int{}
		for j, alias := range o.Spec.Communities {
			position[o.Name][alias.Name] = j
		}
		c, bad := parseCommunity(o)
		if c == nil {
			rejected, faults = append(rejected, refOf(v1beta1.GroupVersion, "Community", o.ObjectMeta)), append(faults, bad...)
			continue
		}
		valid = append(valid, c)
	}
	owner := map[string]*Community{}
	inForce, lost := settle(valid, rejected, last, func(c *Community) []Fault {
		f := findings{ref: c.Ref}
		for alias := range c.Aliases {
			if other := owner[alias]; other != nil {
				f.add(fmt.Sprintf("spec.communities[%d].name", position[c.Ref.Name][alias]),
					fmt.Sprintf("the alias %q is defined in Community %q already; give each community its own name", alias, other.Ref.Name))
			}
		}
		if len(f.list) == 0 {
			for alias := range c.Aliases {
				owner[alias] = c
			}
		}
		return f.list
	})
	return inForce, told(append(faults, lost...), inForce)
}

// aliases returns the aliases of all Communities.
func aliases(in map[string]*Community) map[string]CommunityValue {
	out := map[string]CommunityValue{}
	for _, c := range in {
		for name, v := range c.Aliases {
			out[name] = v
		}
	}
	return out
}
