package chaos

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// operation is something that a user does. do returns false if there is nothing to do it to; then another is drawn.
type operation struct {
	name   string
	weight int
	do     func(*chaos) bool
	// configures says that it changes the configuration.
	configures bool
}

var operations = []operation{
	{"create", 24, (*chaos).create, false},
	{"delete", 13, (*chaos).remove, false},
	{"recreate", 8, (*chaos).recreate, false},
	{"request", 8, (*chaos).editRequest, false},
	{"sharing", 8, (*chaos).editSharing, false},
	{"hold", 3, (*chaos).editHold, false},
	{"families", 3, (*chaos).editFamilies, false},
	{"type", 3, (*chaos).editType, false},
	{"labels", 3, (*chaos).editLabels, false},
	{"widen", 6, (*chaos).widen, true},
	{"shrink", 5, (*chaos).shrink, true},
	{"pool", 5, (*chaos).makeOrDropPool, true},
	{"pool switches", 4, (*chaos).editSwitches, true},
	{"pool selectors", 5, (*chaos).editSelectors, true},
	{"namespace", 3, (*chaos).editNamespace, true},
	{"reserve", 5, (*chaos).reserve, true},
	{"unreserve", 4, (*chaos).unreserve, true},
}

// most is how many Services there may be; about half of them find an address.
const most = 60

// entry is a Service that a user has made.
type entry struct {
	object *corev1.Service
	owner  owner
	// kept is what a Service that was deleted and made again is to have again; a user's edit of it or of its pool ends that.
	kept []netip.Addr
	// steady is set as long as no user has edited it since its creation or the last quiet point.
	steady bool
}

func (c *chaos) one(of int) bool { return c.rng.IntN(of) == 0 }

func pick[T any](c *chaos, of []T) T { return of[c.rng.IntN(len(of))] }

// any returns a Service, nil if there is none.
func (c *chaos) any() *entry {
	if len(c.entries) == 0 {
		return nil
	}
	return pick(c, c.entries)
}

func (c *chaos) create() bool {
	if len(c.entries) >= most {
		return false
	}
	c.serial++
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: pick(c, c.namespaces), Name: fmt.Sprint("s", c.serial), Annotations: map[string]string{}, Labels: map[string]string{},
	}}
	s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &c.class, AllocateLoadBalancerNodePorts: new(bool)}
	c.drawLabels(s)
	c.drawFamilies(s)
	c.drawPorts(s)
	if c.one(3) {
		c.drawSharing(s)
	}
	if c.one(4) {
		s.Annotations[askHold] = c.drawHold()
	}
	if c.one(3) {
		c.drawRequest(s)
	}
	c.say("create %s: %s", s.Name, wish(s))
	e := &entry{owner: owner{s.Namespace, s.Name}, steady: true}
	e.object = c.make(s)
	c.entries = append(c.entries, e)
	return true
}

// wish describes a Service that has no cluster IPs yet.
func wish(s *corev1.Service) string {
	out := fmt.Sprintf("%v %v %v", s.Spec.IPFamilies, s.Labels, s.Annotations)
	for _, p := range s.Spec.Ports {
		out += fmt.Sprintf(" %s/%d", p.Protocol, p.Port)
	}
	if s.Spec.LoadBalancerIP != "" {
		out += " loadBalancerIP=" + s.Spec.LoadBalancerIP
	}
	if s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		out += " Local " + s.Spec.Selector["app"]
	}
	return out
}

func (c *chaos) drawLabels(s *corev1.Service) {
	s.Labels["tier"] = pick(c, []string{"gold", "silver", "tin"})
}

func (c *chaos) drawFamilies(s *corev1.Service) {
	families := [][]corev1.IPFamily{{corev1.IPv4Protocol}, {corev1.IPv6Protocol}, {corev1.IPv4Protocol, corev1.IPv6Protocol}, {corev1.IPv6Protocol, corev1.IPv4Protocol}}
	s.Spec.IPFamilies = pick(c, families)
	policy := corev1.IPFamilyPolicySingleStack
	if len(s.Spec.IPFamilies) == 2 {
		policy = pick(c, []corev1.IPFamilyPolicy{corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack})
	}
	s.Spec.IPFamilyPolicy = &policy
}

func (c *chaos) drawPorts(s *corev1.Service) {
	all := []corev1.ServicePort{
		{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}, {Name: "https", Protocol: corev1.ProtocolTCP, Port: 443},
		{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53}, {Name: "quic", Protocol: corev1.ProtocolUDP, Port: 443},
	}
	c.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	s.Spec.Ports = all[:1+c.rng.IntN(2)]
}

func (c *chaos) drawSharing(s *corev1.Service) {
	s.Annotations[askSharing] = pick(c, []string{"red", "blue"})
	s.Spec.ExternalTrafficPolicy, s.Spec.Selector = corev1.ServiceExternalTrafficPolicyCluster, map[string]string{"app": pick(c, []string{"a", "b"})}
	if c.one(4) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
}

func (c *chaos) drawHold() string { return pick(c, []string{"3s", "5s", "8s"}) }

// drawRequest makes s ask for addresses or pools, sometimes for what it cannot have.
func (c *chaos) drawRequest(s *corev1.Service) {
	delete(s.Annotations, askAddresses)
	delete(s.Annotations, askPool)
	delete(s.Annotations, askPools)
	s.Spec.LoadBalancerIP = ""
	name := func() string { return pick(c, territories).name + pick(c, []string{"", "", "", "-2"}) }
	switch c.rng.IntN(4) {
	case 0:
		s.Annotations[askPool] = name()
	case 1:
		s.Annotations[askPools] = name() + "," + name()
	default:
		t := pick(c, territories)
		var asked []string
		families := s.Spec.IPFamilies
		if *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack {
			families = families[:1]
		}
		for _, f := range families {
			i := map[corev1.IPFamily]int{corev1.IPv4Protocol: 0, corev1.IPv6Protocol: 1}[f]
			if !t.first[i].IsValid() || c.one(10) {
				t = pick(c, territories[:1]) // north has both
			}
			asked = append(asked, t.at(i, c.rng.IntN(t.size)).String())
		}
		if len(asked) == 1 && c.one(3) {
			s.Spec.LoadBalancerIP = asked[0]
		} else {
			s.Annotations[askAddresses] = strings.Join(asked, ",")
		}
	}
}

func (c *chaos) remove() bool {
	e := c.any()
	if e == nil {
		return false
	}
	c.say("delete %s", e.owner)
	c.drop(e.object)
	c.forget(e)
	return true
}

func (c *chaos) forget(e *entry) {
	for i := range c.entries {
		if c.entries[i] == e {
			c.entries = append(c.entries[:i:i], c.entries[i+1:]...)
			return
		}
	}
}

// recreate deletes a Service and makes it again, as an installer does that cannot update. With a hold it gets its addresses again.
func (c *chaos) recreate() bool {
	e := c.any()
	if e == nil {
		return false
	}
	var holding []*entry
	for _, x := range c.entries {
		if s := x.object; s.Annotations[askHold] != "" && s.Annotations[askSharing] == "" && s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			holding = append(holding, x)
		}
	}
	if len(holding) > 0 && !c.one(3) {
		e = pick(c, holding)
	}
	old := e.object.DeepCopy()
	c.read(old)
	e.kept = nil
	if e.steady && c.holds(old) {
		e.kept = addresses(old)
	}
	pause := time.Duration(0)
	if c.one(2) {
		pause = time.Duration(c.rng.IntN(500)) * time.Millisecond
	}
	c.say("recreate %s after %s; it holds [%s], of which it is to have [%s] again", e.owner, pause, joined(addresses(old)), joined(e.kept))
	c.drop(old)
	time.Sleep(pause) // the user takes his time
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: old.Name, Labels: old.Labels, Annotations: old.Annotations}, Spec: old.Spec}
	delete(s.Annotations, "metallb.io/ip-allocated-from-pool")
	s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.HealthCheckNodePort = "", nil, 0
	e.steady = true
	e.object = c.make(s)
	return true
}

// holds reports whether a Service that is made again must have the addresses that s shows: they are held for it, it asks for no
// others, and no pool has lost them of late. What is shared is not held against those who share it.
func (c *chaos) holds(s *corev1.Service) bool {
	d, held := demandOf(s, c.class), addresses(s)
	if !d.served || d.hold == 0 || d.sharing.key != "" || d.pool != "" || len(d.pools) > 0 || len(d.asked) > 0 && !sameSet(d.asked, held) {
		return false
	}
	return !slices.ContainsFunc(held, c.witness.strayed)
}

// edit changes a Service.
func (c *chaos) edit(e *entry, what string, change func(*corev1.Service)) bool {
	c.persist("edit "+e.owner.String(), func() error {
		if err := bed.Client.Get(c.ctx, types.NamespacedName{Namespace: e.owner.namespace, Name: e.owner.name}, e.object); err != nil {
			return err
		}
		s := e.object.DeepCopy()
		change(s)
		err := bed.Client.Update(c.ctx, s)
		if err == nil {
			e.object = s
		}
		return err
	})
	e.kept, e.steady = nil, false
	c.say("edit %s of %s: %s", what, e.owner, wish(e.object))
	return true
}

// drawn makes a Service once, so that an edit that is tried again changes the same.
func (c *chaos) drawn(draw func(*corev1.Service), e *entry) *corev1.Service {
	s := e.object.DeepCopy()
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	draw(s)
	return s
}

// ask copies what a Service asks with from one object to another.
func ask(to, from *corev1.Service) {
	if to.Annotations == nil {
		to.Annotations = map[string]string{}
	}
	for _, key := range []string{askAddresses, askPool, askPools, askSharing, askHold} {
		delete(to.Annotations, key)
		if value, ok := from.Annotations[key]; ok {
			to.Annotations[key] = value
		}
	}
	to.Spec.LoadBalancerIP = from.Spec.LoadBalancerIP
	to.Spec.Selector, to.Spec.Ports, to.Spec.ExternalTrafficPolicy = from.Spec.Selector, from.Spec.Ports, from.Spec.ExternalTrafficPolicy
}

func (c *chaos) editRequest() bool {
	e := c.any()
	if e == nil {
		return false
	}
	next := c.drawn(func(s *corev1.Service) {
		c.drawRequest(s)
		if c.one(3) { // it takes its request back
			delete(s.Annotations, askAddresses)
			delete(s.Annotations, askPool)
			delete(s.Annotations, askPools)
			s.Spec.LoadBalancerIP = ""
		}
	}, e)
	return c.edit(e, "request", func(s *corev1.Service) { ask(s, next) })
}

func (c *chaos) editSharing() bool {
	e := c.any()
	if e == nil || e.object.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return false
	}
	next := c.drawn(func(s *corev1.Service) {
		switch c.rng.IntN(4) {
		case 0:
			delete(s.Annotations, askSharing)
		case 1:
			c.drawPorts(s)
		default:
			c.drawSharing(s)
		}
	}, e)
	return c.edit(e, "sharing", func(s *corev1.Service) { ask(s, next) })
}

func (c *chaos) editHold() bool {
	e := c.any()
	if e == nil {
		return false
	}
	next := c.drawn(func(s *corev1.Service) {
		if _, has := s.Annotations[askHold]; has && c.one(2) {
			delete(s.Annotations, askHold)
		} else {
			s.Annotations[askHold] = c.drawHold()
		}
	}, e)
	return c.edit(e, "hold", func(s *corev1.Service) { ask(s, next) })
}

func (c *chaos) editFamilies() bool {
	e := c.any()
	if e == nil {
		return false
	}
	single, dual := corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack
	return c.edit(e, "families", func(s *corev1.Service) {
		if *s.Spec.IPFamilyPolicy == single {
			s.Spec.IPFamilyPolicy = &dual
			return
		}
		s.Spec.IPFamilyPolicy = &single
		s.Spec.IPFamilies, s.Spec.ClusterIPs = s.Spec.IPFamilies[:1], s.Spec.ClusterIPs[:1]
	})
}

func (c *chaos) editType() bool {
	e := c.any()
	if e == nil {
		return false
	}
	return c.edit(e, "type", func(s *corev1.Service) {
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			s.Spec.Type, s.Spec.LoadBalancerClass, s.Spec.ExternalTrafficPolicy = corev1.ServiceTypeClusterIP, nil, ""
			s.Spec.AllocateLoadBalancerNodePorts, s.Spec.HealthCheckNodePort = nil, 0
			return
		}
		s.Spec.Type, s.Spec.LoadBalancerClass, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeLoadBalancer, &c.class, new(bool)
	})
}

func (c *chaos) editLabels() bool {
	e := c.any()
	if e == nil {
		return false
	}
	next := c.drawn(c.drawLabels, e)
	return c.edit(e, "labels", func(s *corev1.Service) { s.Labels = merged(s.Labels, "tier", next.Labels["tier"]) })
}

func merged(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// make creates an object; if the API server went away it may have been created all the same.
func (c *chaos) make(s *corev1.Service) *corev1.Service {
	tries := 0
	c.persist("create "+s.Name, func() error {
		tries++
		fresh := s.DeepCopy()
		err := bed.Client.Create(c.ctx, fresh)
		if err != nil && tries > 1 && client.IgnoreAlreadyExists(err) == nil {
			err = bed.Client.Get(c.ctx, client.ObjectKeyFromObject(s), fresh)
		}
		if err == nil {
			s = fresh
		}
		return err
	})
	return s
}

func (c *chaos) drop(o client.Object) {
	c.persist("delete "+o.GetName(), func() error { return client.IgnoreNotFound(bed.Client.Delete(c.ctx, o)) })
}

func (c *chaos) read(o client.Object) {
	c.persist("read "+o.GetName(), func() error { return bed.Client.Get(c.ctx, client.ObjectKeyFromObject(o), o) })
}
