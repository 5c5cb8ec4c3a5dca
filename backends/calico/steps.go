package calico

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/fairlead/fairlead/backends"
)

// errUnsettled has a try repeated once what it has written is in force on the nodes.
var errUnsettled = errors.New("what was written is not in force yet")

// maxSteps bounds how often a try is repeated for that; it has four steps.
const maxSteps = 8

// settling repeats a try until none of its steps has to wait for another.
func (x *apply) settling(ctx context.Context, try func() error) error {
	for range maxSteps {
		err := try()
		if !errors.Is(err, errUnsettled) {
			return err
		}
		timer := time.NewTimer(x.unsettled())
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
	return backends.ErrInProgress
}

// unsettled returns for how long what was written last may not be in force yet.
func (x *apply) unsettled() time.Duration {
	return max(0, x.b.cfg.Settle-x.b.cfg.Now().Sub(x.b.wrote))
}

// try is one try at everything, in four steps: filters hide what is to be hidden, and keep what they hide; the sessions refer to them;
// the prefixes change; the filters show what is to be shown, and what is left over goes. Where the communities of a prefix change that
// stays, they do so after the second step, in which no node shows it that does not yet, and everything begins anew. A step that has something to do waits until
// that of the steps before is in force: confd renders each kind in its own time, and BIRD forgets to withdraw a route that goes away
// while a filter begins to hide it. After that wait all is looked at anew.
func (x *apply) try(ctx context.Context) error {
	x.has, x.findings, x.exposed, x.broken, x.leaving = x.b.known, nil, map[string]error{}, map[string]error{}, false
	if err := x.look(ctx); err != nil {
		return backends.AnnounceErrors(x.want, err)
	}
	current, err := x.api.get(ctx)
	if err != nil {
		return backends.AnnounceErrors(x.want, err)
	}
	x.reached = true
	leaves := x.leavesAggregation(current)
	x.routes = route(x.want, x.surroundings(current, leaves))
	x.late = x.newcomers(current)
	first := x.plan(current, true)
	x.findings = first.findings
	// The intent is recorded before anything is made, so that nothing of ours is ever unknown.
	if err := x.save(ctx, x.record.with(Record{Objects: slices.DeleteFunc(first.keys(), x.refused)})); err != nil {
		return err
	}
	x.b.refused = map[string]bool{}
	failed, err := x.put(ctx, first, "Secret", "Role", "RoleBinding", v3.KindBGPFilter)
	if err != nil {
		return err
	}
	retags := len(x.late.pools) > 0
	if !retags {
		if current, err = x.tagFirst(ctx, current); err != nil {
			return errors.Join(failed, backends.AnnounceErrors(x.want, err))
		}
	}
	more, err := x.putSessions(ctx, first)
	failed = errors.Join(failed, more)
	if err != nil {
		return errors.Join(failed, err)
	}
	if retags && failed == nil {
		return x.retag(ctx, current)
	}
	failed = errors.Join(failed, x.withhold())
	if err := x.configure(ctx, current, leaves); err != nil {
		if errors.Is(err, errUnsettled) {
			return err
		}
		return errors.Join(failed, backends.AnnounceErrors(x.want, err))
	}
	return x.show(ctx, current, first, failed)
}

// putSessions makes the BGPPeers, and takes all nodes from those that go in the end. A node that changes over from one to another has a
// session all the time, which BIRD does not set up anew as long as nothing but filters differs: those that gain nodes come before those
// that lose them.
func (x *apply) putSessions(ctx context.Context, s *sessions) (failed, err error) {
	s = s.emptied(x.record.Objects)
	if !x.objects.differs(s, &x.world, nil, v3.KindBGPPeer) {
		return nil, nil
	}
	if len(x.record.Owned) > 0 && x.unsettled() > 0 {
		return nil, errUnsettled
	}
	if failed, err = x.put(ctx, s.gaining(), v3.KindBGPPeer); err != nil {
		return nil, err
	}
	more, err := x.put(ctx, s, v3.KindBGPPeer)
	return errors.Join(failed, more), err
}

// emptied returns the sessions with those of the recorded BGPPeers that are not wanted, without nodes.
func (s *sessions) emptied(recorded []string) *sessions {
	out := *s
	out.objects = slices.Clone(s.objects)
	wanted := s.keys()
	for _, key := range recorded {
		kind, _, name := splitKey(key)
		if have := s.world.peers[name]; kind == v3.KindBGPPeer && have != nil && !slices.Contains(wanted, key) && !s.keep[key] {
			p := have.DeepCopy()
			p.Spec.NodeSelector = none
			out.objects = append(out.objects, p)
		}
	}
	return &out
}

// gaining returns the sessions with the nodes that each BGPPeer has and those that it is to have.
func (s *sessions) gaining() *sessions {
	out := *s
	out.objects = nil
	for _, x := range s.objects {
		p, ok := x.(*v3.BGPPeer)
		if have := s.world.peers[x.GetName()]; ok && have != nil {
			p = p.DeepCopy()
			p.Spec.NodeSelector = either(have.Spec.NodeSelector, p.Spec.NodeSelector)
			x = p
		}
		out.objects = append(out.objects, x)
	}
	return &out
}

// show is the last step: it drops the rules and objects that are not needed any more.
func (x *apply) show(ctx context.Context, current *configuration, first *sessions, failed error) error {
	last := x.plan(current, false)
	if failed != nil {
		last = first
	}
	differs := func(kind string) bool { return x.objects.differs(last, &x.world, x.record.Objects, kind) }
	if (x.leaving || differs(v3.KindBGPFilter) || differs(v3.KindBGPPeer)) && x.unsettled() > 0 {
		x.last = first
		return errors.Join(failed, errUnsettled)
	}
	if failed == nil {
		wrote := x.b.wrote
		var err error
		if failed, err = x.put(ctx, last, "Secret", "Role", "RoleBinding", v3.KindBGPFilter, v3.KindBGPPeer); err != nil {
			return err
		}
		x.b.wrote = wrote // nothing has to wait for what is shown
	}
	x.last = last
	left, err := x.objects.sweep(ctx, x.record.Objects, last, &x.world)
	after := x.record
	after.Objects = append(last.keys(), left...)
	for _, k := range x.record.Objects {
		if last.keep[k] {
			after.Objects = append(after.Objects, k)
		}
	}
	slices.Sort(after.Objects)
	after.Objects = slices.DeleteFunc(slices.Compact(after.Objects), func(k string) bool { return x.taken(k) || x.refused(k) })
	if len(after.Objects) == 0 {
		after.Objects = nil
	}
	return errors.Join(failed, err, x.save(ctx, after))
}

// carries reports whether a route has all these communities.
func carries(p netip.Prefix, communities []string, tags []Tag) bool {
	return slices.ContainsFunc(tags, func(t Tag) bool {
		return t.Prefix.Bits() <= p.Bits() && t.Prefix.Overlaps(p) &&
			!slices.ContainsFunc(communities, func(c string) bool { return !slices.Contains(t.Communities, c) })
	})
}

// newcomers returns the nodes that have to wait for communities that change, of prefixes that are advertised and stay.
func (x *apply) newcomers(current *configuration) newcomers {
	out := newcomers{}
	if x.b.cfg.Settle == 0 || x.b.before == nil || current == nil ||
		appliedBy(current.ManagedFields, fieldTags, x.b.cfg.FieldManager) != "" {
		return out
	}
	_, changed := x.retagged(current)
	for _, e := range x.routes.entries {
		if changed[e.Prefix] {
			if out.pools == nil {
				out.pools, out.before = map[string]bool{}, *x.b.before
			}
			out.pools[e.Pool] = true
		}
	}
	return out
}

// retag replaces the communities of prefixes that stay, once it is in force that nobody hears of them who shall not any more. Everything
// else has to wait until the new ones are in force.
func (x *apply) retag(ctx context.Context, current *configuration) error {
	if x.unsettled() > 0 {
		return errUnsettled
	}
	list, _ := x.retagged(current)
	if _, err := x.setTags(ctx, current, list, x.routes.tags); err != nil {
		return backends.AnnounceErrors(x.want, err)
	}
	return errUnsettled
}

// retagged returns the entries of spec.prefixAdvertisements in which prefixes of ours that stay have the communities that they are to
// have, and which prefixes that changes.
func (x *apply) retagged(current *configuration) (list []v3.PrefixAdvertisement, changed map[netip.Prefix]bool) {
	wanted, stays := map[netip.Prefix]bool{}, map[netip.Prefix]bool{}
	for _, e := range x.routes.entries {
		wanted[e.Prefix] = true
	}
	for _, e := range x.record.Owned {
		stays[e.Prefix] = wanted[e.Prefix]
	}
	want, ours, there := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, t := range x.routes.tags {
		want[t.String()] = true
	}
	for _, t := range x.record.Tags {
		ours[t.String()] = true
	}
	changed = map[netip.Prefix]bool{}
	for _, p := range current.Spec.PrefixAdvertisements {
		t, ok := tagOf(p)
		if ok && ours[t.String()] && !want[t.String()] && stays[t.Prefix] {
			changed[t.Prefix] = true
			continue
		}
		there[t.String()] = there[t.String()] || ok
		list = append(list, p)
	}
	for _, t := range x.routes.tags {
		if stays[t.Prefix] && !there[t.String()] && len(list) < maxPrefixAdvertisements {
			changed[t.Prefix] = true
			list = append(list, v3.PrefixAdvertisement{CIDR: t.Prefix.String(), Communities: t.Communities})
		}
	}
	return list, changed
}

// tagFirst adds the communities of prefixes that are not advertised yet: a route would be heard without them else. It returns the
// configuration as it is then.
func (x *apply) tagFirst(ctx context.Context, current *configuration) (*configuration, error) {
	if x.b.cfg.Settle == 0 || len(x.routes.tags) == 0 {
		return current, nil
	}
	exists := current != nil
	if !exists {
		current = &configuration{}
	}
	if appliedBy(current.ManagedFields, fieldTags, x.b.cfg.FieldManager) != "" {
		return current, nil
	}
	there := map[string]bool{}
	var have []Tag
	for _, p := range current.Spec.PrefixAdvertisements {
		if t, ok := tagOf(p); ok {
			there[t.String()], have = true, append(have, t)
		}
	}
	list := current.Spec.PrefixAdvertisements
	var more []Tag
	for _, t := range x.routes.tags {
		live := slices.ContainsFunc(current.Spec.ServiceLoadBalancerIPs, func(b v3.ServiceLoadBalancerIPBlock) bool {
			p, ok := canonical(b.CIDR)
			return ok && p.Overlaps(t.Prefix) && !carries(p, t.Communities, have)
		})
		if !live && !there[t.String()] && len(list) < maxPrefixAdvertisements {
			more = append(more, t)
			list = append(list[:len(list):len(list)], v3.PrefixAdvertisement{CIDR: t.Prefix.String(), Communities: t.Communities})
		}
	}
	if len(more) == 0 { // then it exists
		return current, nil
	}
	if !exists {
		current = nil
	}
	return x.setTags(ctx, current, list, more)
}

// setTags writes spec.prefixAdvertisements; more are those in it that may not be recorded yet. It makes the BGPConfiguration if there is
// none.
func (x *apply) setTags(
	ctx context.Context, current *configuration, list []v3.PrefixAdvertisement, more []Tag,
) (*configuration, error) {
	next := x.record.with(Record{Tags: more, CreatedDefault: current == nil})
	next.APIVersion = x.d.group.String()
	if err := x.save(ctx, next); err != nil {
		return nil, err
	}
	spec := map[string]any{fieldTags: list}
	var stored *configuration
	var err error
	if current != nil {
		stored, err = x.api.patch(ctx, current, spec)
	} else if stored, err = x.api.create(ctx, spec); apierrors.IsAlreadyExists(err) {
		err = apierrors.NewConflict(x.api.group.WithResource(resource).GroupResource(), defaultName, err)
	}
	if err != nil {
		x.b.memory.see(Record{})
		return nil, err
	}
	x.b.wrote = x.b.cfg.Now()
	return stored, nil
}
