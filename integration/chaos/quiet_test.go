package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// quiet waits until everything is as the model says, with the controller up and nobody editing, and begins a new period.
func (c *chaos) quiet() {
	start := time.Now()
	c.must(c.fleet.wake(c.ctx))
	c.must(c.fleet.retire())
	_, err := c.fleet.await(c.ctx, nil)
	c.must(err)
	// Before anything is written that has all Services looked at again, each must have what it can; and still afterwards.
	c.agree()
	c.sound()
	s := c.agree()
	c.unbroken()
	c.witness.settled()
	for _, e := range c.entries {
		if len(e.kept) > 0 {
			c.regained.Add(1)
		}
		e.kept, e.steady = nil, true
	}
	c.fleet.outage = false
	c.checks.Add(1)
	c.pending.Store(int64(s.pending()))
	c.slowest.Store(max(c.slowest.Load(), int64(time.Since(start))))
	c.say("quiet after %s: %d Services, %d pending", time.Since(start).Round(time.Millisecond), len(s.subjects), s.pending())
}

// agree waits until the model has no objections; it ends the run if some are left.
func (c *chaos) agree() *scene {
	start := time.Now()
	s, problems := c.settle()
	if len(problems) == 0 {
		return s
	}
	for _, x := range s.subjects {
		if slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, x.owner.String()+" ") }) {
			c.t.Logf("history of %s:\n%s", x.owner, strings.Join(c.witness.historyOf(x.owner), "\n"))
		}
	}
	c.t.Fatalf("not settled after %s:\n%s\n\n%s", time.Since(start).Round(time.Millisecond), strings.Join(problems, "\n"), s)
	return nil
}

// settle waits until the model has no more objections, and returns what is left of them.
func (c *chaos) settle() (*scene, []string) {
	var s *scene
	var problems []string
	err := wait.PollUntilContextTimeout(c.ctx, 50*time.Millisecond, testbed.Patience, true, func(ctx context.Context) (bool, error) {
		if err := c.fleet.tend(); err != nil {
			return false, err
		}
		now, err := c.look(ctx)
		if err != nil {
			return false, err
		}
		s, problems = now, append(now.problems(), c.lost(now)...)
		return len(problems) == 0, nil
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		c.must(err)
	}
	return s, problems
}

// look reads everything. Two lists of the Services are the same, so that what is read between them belongs together.
func (c *chaos) look(ctx context.Context) (*scene, error) {
	for {
		var before, after corev1.ServiceList
		var reservations v1alpha1.AddressReservationList
		var pools v1beta1.IPAddressPoolList
		for _, l := range []client.ObjectList{&before, &reservations, &pools, &after} {
			if err := bed.Client.List(ctx, l); err != nil {
				return nil, fmt.Errorf("list %T: %w", l, err)
			}
		}
		if fingerprint(before) == fingerprint(after) {
			return c.scene(after.Items, reservations.Items, pools.Items), nil
		}
	}
}

func fingerprint(l corev1.ServiceList) string {
	var b strings.Builder
	for i := range l.Items {
		fmt.Fprintln(&b, l.Items[i].UID, l.Items[i].ResourceVersion)
	}
	return b.String()
}

func (c *chaos) scene(services []corev1.Service, reservations []v1alpha1.AddressReservation, pools []v1beta1.IPAddressPool) *scene {
	out := &scene{world: c.world, counters: map[string]v1beta1.IPAddressPoolStatus{}}
	for i := range services {
		s := &services[i]
		if !slices.Contains(c.namespaces, s.Namespace) {
			continue
		}
		x := &subject{version: version{demandOf(s, c.class), s.Labels, addresses(s)}, owner: owner{s.Namespace, s.Name}}
		x.status, x.reason, x.message = condition(s)
		out.subjects = append(out.subjects, x)
	}
	for i := range reservations {
		r := &reservations[i]
		if r.Namespace != c.namespaces[0] || r.Spec.HoldAfterDelete == nil || r.Spec.Service == nil {
			continue
		}
		h := hold{owner: owner{r.Spec.Service.Namespace, r.Spec.Service.Name}, after: r.Spec.HoldAfterDelete.Duration}
		for _, s := range r.Spec.Addresses {
			if p, err := netip.ParsePrefix(s); err == nil {
				h.addrs = append(h.addrs, p.Addr())
			}
		}
		out.holds = append(out.holds, h)
	}
	for i := range pools {
		if pools[i].Namespace == c.namespaces[0] {
			out.counters[pools[i].Name] = pools[i].Status
		}
	}
	return out
}

// lost names the recreated Services that did not get their addresses again.
func (c *chaos) lost(s *scene) []string {
	var out []string
	for _, e := range c.entries {
		for _, x := range s.subjects {
			if x.owner == e.owner && slices.ContainsFunc(e.kept, func(a netip.Addr) bool { return !slices.Contains(x.addrs, a) }) {
				out = append(out, fmt.Sprintf("%s was made again within its hold, had [%s] and has [%s]", e.owner, joined(e.kept), joined(x.addrs)))
			}
		}
	}
	return out
}

// probe is what proves that the controller has seen everything up to now: a pool and a Service that nobody else uses, and a
// reservation that cannot be read.
type probe struct {
	namespace string
	n         int
}

// sound waits until the controller has seen all that was written before. It reads each kind of object by one watch, in order: once
// it knows the latest of each kind, it knows the rest.
func (c *chaos) sound() {
	c.probe.n++
	word := fmt.Sprintf("probe%d", c.probe.n)
	addr := fmt.Sprintf("10.79.%d.%d", c.probe.n/200, c.probe.n%200+1)
	c.persist("write the reservation of the probe", func() error {
		o := &v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaces[0], Name: "probe"}}
		err := bed.Client.Get(c.ctx, client.ObjectKeyFromObject(o), o)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		o.Spec.Addresses = []string{word} // a fault, and the ConfigurationState tells of faults
		if err != nil {
			return bed.Client.Create(c.ctx, o)
		}
		return bed.Client.Update(c.ctx, o)
	})
	off := false
	c.put(&v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaces[0], Name: "probe"},
		Spec:       v1beta1.IPAddressPoolSpec{Addresses: []string{addr + "/32"}, AutoAssign: &off},
	})
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: c.probe.namespace, Name: word, Annotations: map[string]string{askPool: "probe"}}}
	s.Spec.Type, s.Spec.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, &c.class
	s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	s = c.make(s)
	testbed.Eventually(c.t, "the controller to have seen everything", func(ctx context.Context) error {
		if err := c.fleet.tend(); err != nil {
			return err
		}
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		state := &v1beta1.ConfigurationState{}
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: c.namespaces[0], Name: "controller"}, state); err != nil {
			return err
		}
		_, _, message := condition(s)
		if got := joined(addresses(s)); got != addr || !strings.Contains(state.Status.ErrorSummary, word) {
			return fmt.Errorf("the probe has %q, want %q (%s); faults are %q", got, addr, message, state.Status.ErrorSummary)
		}
		return nil
	})
	c.drop(s)
}

// end deletes everything that users made, and proves that nothing is left of it: the counters are zero, no hold remains, and every
// pool can be given out to its last address.
func (c *chaos) end() {
	c.say("the end: every Service and reservation is deleted")
	for _, e := range c.entries {
		c.drop(e.object)
	}
	c.entries = nil
	for name := range c.world.reservations {
		c.drop(&v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaces[0], Name: name}})
	}
	c.become(func(w *world) { w.reservations = map[string]reservation{} })
	for _, p := range c.world.sorted() { // open to all, and otherwise as it is: a leak would still be there
		p = p.clone()
		p.allocation = nil
		c.replace(p)
	}
	testbed.Eventually(c.t, "the holds to end", func(ctx context.Context) error {
		s, err := c.look(ctx)
		if err == nil && len(s.holds) > 0 {
			return fmt.Errorf("%d are left: %v", len(s.holds), s.holds)
		}
		return err
	})
	c.quiet()
	for _, p := range c.world.sorted() {
		for i, a := range p.addrs {
			if !p.usable(a) {
				continue
			}
			s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaces[0], Name: fmt.Sprintf("fill-%s-%d", p.name, i), Annotations: map[string]string{askPool: p.name}}}
			s.Spec.Type, s.Spec.LoadBalancerClass, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeLoadBalancer, &c.class, new(bool)
			s.Spec.IPFamilies = []corev1.IPFamily{map[bool]corev1.IPFamily{false: corev1.IPv4Protocol, true: corev1.IPv6Protocol}[is6(a)]}
			s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
			c.entries = append(c.entries, &entry{object: c.make(s), owner: owner{s.Namespace, s.Name}})
		}
	}
	c.quiet()
	s, err := c.look(c.ctx)
	c.must(err)
	require.Zero(c.t, s.pending(), "%v", s)
	for _, p := range c.world.sorted() {
		got := s.counters[p.name]
		require.Zero(c.t, got.AvailableIPv4+got.AvailableIPv6, "%v", p)
	}
	for _, e := range c.entries {
		c.drop(e.object)
	}
	c.entries = nil
	c.quiet()
	s, err = c.look(c.ctx)
	c.must(err)
	require.Empty(c.t, s.subjects)
	for name, counters := range s.counters {
		if name != "probe" {
			require.Zero(c.t, counters.AssignedIPv4+counters.AssignedIPv6, name)
		}
	}
	c.must(c.fleet.dissolve())
}
