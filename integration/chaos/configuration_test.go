package chaos

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
)

// The operations on pools, namespaces and reservations. Each makes a new world first, so that the witness knows what is meant
// before the controller can.

// become puts a changed configuration in force.
func (c *chaos) become(change func(*world)) {
	next := c.world.clone()
	change(next)
	c.world = next
	c.witness.change(next)
}

// object returns the IPAddressPool that p describes.
func (c *chaos) object(p *pool) *v1beta1.IPAddressPool {
	return &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaces[0], Name: p.name},
		Spec: v1beta1.IPAddressPoolSpec{
			Addresses: slices.Clone(p.ranges), AutoAssign: &p.auto, AvoidBuggyIPs: p.avoidBuggy, AllocateTo: p.allocation,
		},
	}
}

// replace changes a pool.
func (c *chaos) replace(p *pool) bool {
	p.survey()
	c.say("%v", p)
	c.become(func(w *world) { w.pools[p.name] = p })
	c.put(c.object(p))
	c.release()
	return true
}

// release ends what recreated Services are to have again where the pool does not hold it any more.
func (c *chaos) release() {
	for _, e := range c.entries {
		if slices.ContainsFunc(e.kept, func(a netip.Addr) bool { return c.world.poolOf(a) == nil }) {
			e.kept = nil
		}
	}
}

// put makes a pool be as its user wrote it.
func (c *chaos) put(want *v1beta1.IPAddressPool) {
	c.persist("write pool "+want.Name, func() error {
		o := &v1beta1.IPAddressPool{}
		err := bed.Client.Get(c.ctx, client.ObjectKeyFromObject(want), o)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err != nil {
			return bed.Client.Create(c.ctx, want.DeepCopy())
		}
		o.Spec = *want.Spec.DeepCopy()
		return bed.Client.Update(c.ctx, o)
	})
}

// anyPool returns a copy of a pool, nil if there is none.
func (c *chaos) anyPool() *pool {
	if len(c.world.pools) == 0 {
		return nil
	}
	return pick(c, c.world.sorted()).clone()
}

// found makes a new pool on a territory.
func (c *chaos) found(territory int, suffix string) *pool {
	t := territories[territory]
	p := &pool{name: t.name + suffix, auto: true, territoryOf: territory}
	for f := range p.has {
		if t.first[f].IsValid() {
			p.has[f] = make([]bool, t.size)
			for n := range p.has[f] {
				p.has[f][n] = n > 1 && n < t.size-2
			}
		}
	}
	return p
}

func (c *chaos) widen() bool {
	p := c.anyPool()
	if p == nil {
		return false
	}
	for f := range p.has {
		for range c.rng.IntN(5) {
			if len(p.has[f]) > 0 {
				p.has[f][c.rng.IntN(len(p.has[f]))] = true
			}
		}
	}
	return c.replace(p)
}

func (c *chaos) shrink() bool {
	p := c.anyPool()
	if p == nil {
		return false
	}
	for f := range p.has {
		for range c.rng.IntN(4) {
			if len(p.has[f]) > 0 {
				p.has[f][c.rng.IntN(len(p.has[f]))] = false
			}
		}
	}
	if p.survey(); len(p.addrs) == 0 {
		return false // a pool has at least one address
	}
	return c.replace(p)
}

// makeOrDropPool deletes the pool of a territory, or makes one where there is none, sometimes under another name.
func (c *chaos) makeOrDropPool() bool {
	t := c.rng.IntN(len(territories))
	for _, p := range c.world.sorted() {
		if p.territoryOf != t {
			continue
		}
		if c.one(2) {
			return false // more pools are to be there than not
		}
		c.say("delete pool %s", p.name)
		c.become(func(w *world) { delete(w.pools, p.name) })
		c.drop(c.object(p))
		c.release()
		if c.one(3) { // a user who renames a pool
			q := p.clone()
			q.name = map[bool]string{true: territories[t].name + "-2", false: territories[t].name}[p.name == territories[t].name]
			return c.replace(q)
		}
		return true
	}
	return c.replace(c.found(t, pick(c, []string{"", "", "-2"})))
}

func (c *chaos) editSwitches() bool {
	p := c.anyPool()
	if p == nil {
		return false
	}
	if c.one(2) {
		p.auto = !p.auto
	} else {
		p.avoidBuggy = !p.avoidBuggy
	}
	return c.replace(p)
}

func (c *chaos) editSelectors() bool {
	p := c.anyPool()
	if p == nil {
		return false
	}
	if p.allocation != nil && c.one(2) {
		p.allocation = nil
		return c.replace(p)
	}
	selector := func(key string, values ...string) []metav1.LabelSelector {
		return []metav1.LabelSelector{{MatchLabels: map[string]string{key: pick(c, values)}}}
	}
	a := &v1beta1.ServiceAllocation{Priority: c.rng.IntN(4)}
	if c.one(2) {
		a.ServiceSelectors = selector("tier", "gold", "silver", "tin")
	}
	switch c.rng.IntN(3) {
	case 0:
		a.Namespaces = []string{pick(c, c.namespaces)}
	case 1:
		a.NamespaceSelectors = selector("team", "red", "green")
	}
	p.allocation = a
	return c.replace(p)
}

func (c *chaos) editNamespace() bool {
	name, team := pick(c, c.namespaces), pick(c, []string{"red", "green", "blue"})
	c.say("label namespace %s team=%s", name, team)
	c.become(func(w *world) { w.namespaces[name] = map[string]string{"team": team} })
	c.persist("label "+name, func() error {
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"team":%q}}}`, team))
		return bed.Client.Patch(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, patch)
	})
	return true
}

// reserve keeps one to three addresses of a territory for a Service, which need not exist, or for nobody.
func (c *chaos) reserve() bool {
	t := pick(c, territories)
	var r reservation
	for f := range t.first {
		if t.first[f].IsValid() {
			for range 1 + c.rng.IntN(2) {
				r.addrs = append(r.addrs, t.at(f, c.rng.IntN(t.size)))
			}
		}
	}
	if c.one(2) {
		r.owner = owner{pick(c, c.namespaces), fmt.Sprint("s", c.serial+1+c.rng.IntN(3))} // it may come soon
		if e := c.any(); e != nil && c.one(2) {
			r.owner = e.owner
		}
	}
	if slices.ContainsFunc(r.addrs, c.world.reservedAtAll) || len(c.world.reservations) >= 6 {
		return false // of two that keep an address for different Services, one would be set aside
	}
	slices.SortFunc(r.addrs, netip.Addr.Compare)
	r.addrs = slices.Compact(r.addrs)
	c.serialOfReservation++
	o := &v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaces[0], Name: fmt.Sprint("r", c.serialOfReservation)}}
	for _, a := range r.addrs {
		o.Spec.Addresses = append(o.Spec.Addresses, netip.PrefixFrom(a, a.BitLen()).String())
	}
	if r.owner != (owner{}) {
		o.Spec.Service = &v1alpha1.ServiceReference{Namespace: r.owner.namespace, Name: r.owner.name}
	}
	c.say("reserve %s as %s for %v", joined(r.addrs), o.Name, r.owner)
	c.become(func(w *world) { w.reservations[o.Name] = r })
	c.persist("create reservation "+o.Name, func() error { return client.IgnoreAlreadyExists(bed.Client.Create(c.ctx, o.DeepCopy())) })
	return true
}

func (c *chaos) unreserve() bool {
	if len(c.world.reservations) == 0 {
		return false
	}
	var names []string
	for name := range c.world.reservations {
		names = append(names, name)
	}
	slices.Sort(names)
	name := pick(c, names)
	c.say("delete reservation %s", name)
	c.become(func(w *world) { delete(w.reservations, name) })
	c.drop(&v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaces[0], Name: name}})
	return true
}
