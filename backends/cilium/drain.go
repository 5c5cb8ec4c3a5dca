package cilium

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
)

// An agent's L2 announcer hangs until it is restarted if one event takes the last policy from more Services than its channel of
// leader events has room for, which is 16 (pkg/l2announcer/l2announcer.go: gcOrphanedService waits for the leader election of the
// Service to end, which waits for room in the channel, which the same goroutine empties). So a policy is never deleted or narrowed
// while more than batch Services would be left without one. They are first parked: each batch of them gets a policy of its own,
// which selects it by namespace and name. Then the policy goes, and nothing changes for the announcer. Then the parking policies
// go, one at a time, each when the Leases of the batch before are given up.
const (
	batch = 10
	// leasePatience is how long a batch may take. A Lease is given up within seconds, or passes to a node that another policy lets have it.
	leasePatience = 30 * time.Second

	// Labels that the L2 announcer puts on a Service before it matches selectors (svcAndMetaLabels).
	labelServiceNamespace = "io.kubernetes.service.namespace"
	labelServiceName      = "io.kubernetes.service.name"

	// mostParked bounds the policies that are created in one go.
	mostParked = 100

	leasePrefix = "cilium-l2announce" // of the name of a Service's Lease, before namespace and name
)

type policy = v2alpha1.CiliumL2AnnouncementPolicy

// drained is the batch that was left without a policy last.
type drained struct {
	services []types.NamespacedName
	since    time.Time
	terms    map[types.NamespacedName]term // that they were in then
}

// term is for how long a node has a Lease without a break: who has it, and since when; zero if nobody has it.
type term struct{ holder, since string }

func termOf(l coordinationv1.LeaseSpec, now time.Time) term {
	if !held(l, now) {
		return term{}
	}
	out := term{holder: *l.HolderIdentity}
	if l.AcquireTime != nil {
		out.since = l.AcquireTime.Format(time.RFC3339Nano)
	}
	return out
}

// begin has a batch left without a policy from now on.
func (d *drained) begin(services []types.NamespacedName, terms map[types.NamespacedName]term, now time.Time) {
	d.services, d.since = append(d.services, services...), now
	if d.terms == nil {
		d.terms = map[types.NamespacedName]term{}
	}
	maps.Copy(d.terms, terms)
}

// losses are the changes that may leave Services without a policy: deletions, and updates that do more than add.
func losses(changes []change) (harmless, lossy []change) {
	for _, ch := range changes {
		have, isPolicy := ch.have.(*policy)
		switch {
		case !isPolicy || have == nil:
			harmless = append(harmless, ch)
		case ch.want != nil && widens(have, ch.want.(*policy)):
			harmless = append(harmless, ch)
		default:
			lossy = append(lossy, ch)
		}
	}
	// Those of wanted policies come before the deletion of what they are parked in.
	slices.SortStableFunc(lossy, func(a, b change) int { return cmp.Compare(parking(a), parking(b)) })
	return harmless, lossy
}

func parking(ch change) int {
	if ch.have.GetLabels()[labelDrains] != "" {
		return 1
	}
	return 0
}

// widens reports whether everything that the policy selects now will be selected.
func widens(have, want *policy) bool {
	if !sameNodes(have, want) || want.Spec.ServiceSelector == nil || have.Spec.ServiceSelector == nil || !want.Spec.LoadBalancerIPs {
		return false
	}
	return !slices.ContainsFunc(want.Spec.ServiceSelector.MatchExpressions, func(w requirement) bool {
		return !slices.ContainsFunc(have.Spec.ServiceSelector.MatchExpressions, func(h requirement) bool {
			if w.Key != h.Key || w.Operator != h.Operator {
				return false
			}
			switch w.Operator {
			case "In":
				return subset(h.Values, w.Values)
			case "NotIn":
				return subset(w.Values, h.Values)
			}
			return true
		})
	}) && len(want.Spec.ServiceSelector.MatchLabels) == 0
}

// subset reports whether all of a are in b.
func subset(a, b []string) bool {
	set := make(map[string]bool, len(b))
	for _, s := range b {
		set[s] = true
	}
	return !slices.ContainsFunc(a, func(s string) bool { return !set[s] })
}

func sameNodes(a, b *policy) bool {
	x, y := a.Spec.NodeSelector, b.Spec.NodeSelector
	if x == nil || y == nil {
		return x == y
	}
	return maps.Equal(x.MatchLabels, y.MatchLabels) && equalRequirements(x.MatchExpressions, y.MatchExpressions)
}

// drain returns which of the lossy changes may be made now, and what has to be created before; the error is ErrInProgress if some
// are left for another time.
func (b *Backend) drain(ctx context.Context, c *client, t *translation, lossy []change) (create, now []change, err error) {
	if len(lossy) == 0 {
		return nil, nil, nil
	}
	if done, err := b.settled(ctx, c); err != nil {
		return nil, nil, err
	} else if !done {
		return nil, nil, fmt.Errorf("the Leases of %d Services have yet to be given up by Cilium: %w", len(b.drained.services),
			backends.ErrInProgress)
	}
	budget, waiting := batch, 0
	var begun drained // counts once nothing more can fail
	keepers := t.keepers(lossy)
	for _, ch := range lossy {
		if parking(ch) == 1 && waiting > 0 || budget == 0 {
			waiting++
			continue
		}
		lost, err := b.lost(ctx, c, ch, keepers)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case len(lost) <= budget:
			now = append(now, ch)
			budget -= len(lost)
			keepers = slices.DeleteFunc(keepers, func(p *policy) bool { return p.Name == ch.have.GetName() })
			terms, err := b.terms(ctx, c, lost)
			if err != nil && !apierrors.IsForbidden(err) {
				return nil, nil, err
			}
			begun.begin(lost, terms, b.now())
		case len(lost) <= batch:
			waiting++
		default:
			waiting++
			create = append(create, t.park(ch.have.(*policy), lost)...)
		}
	}
	if len(now) > 0 {
		b.drained = begun
	}
	if waiting == 0 {
		return create, now, nil
	}
	return create, now, fmt.Errorf("policies of Cilium's L2 announcer are emptied %d Services at a time, because more would hang it; %d are left: %w",
		batch, waiting, backends.ErrInProgress)
}

// keepers are the policies of ours that were there before and stay at least as wide as they are.
func (t *translation) keepers(lossy []change) []*policy {
	var out []*policy
	for _, p := range t.world.policies {
		if owned(p, t.installation) && !slices.ContainsFunc(lossy, func(ch change) bool {
			return ch.have.GetName() == p.Name && parking(ch) == 0
		}) {
			out = append(out, p)
		}
	}
	return out
}

// lost returns the Services that would be left without a policy of ours on some node.
func (b *Backend) lost(ctx context.Context, c *client, ch change, keepers []*policy) ([]types.NamespacedName, error) {
	have := ch.have.(*policy)
	if want, ok := ch.want.(*policy); ok && want != nil {
		keepers = append(slices.Clone(keepers), want)
	}
	keepers = slices.DeleteFunc(slices.Clone(keepers), func(p *policy) bool {
		return p != ch.want && p.Name == have.Name || !p.Spec.LoadBalancerIPs || !sameNodes(p, have)
	})
	namespace, selector, err := listed(have, lostPools(have, ch.want))
	if err != nil {
		return nil, err
	}
	services := c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"})
	var out []types.NamespacedName
	err = each(ctx, services.Namespace(namespace), selector, func(u *unstructured.Unstructured) error {
		set := serviceLabels(u)
		// Without a selector a policy has all Services, the opposite of what it means elsewhere.
		selectedBy := func(p *policy) bool { return p.Spec.ServiceSelector == nil || selects(p.Spec.ServiceSelector, set) }
		if selectedBy(have) && !slices.ContainsFunc(keepers, selectedBy) {
			out = append(out, types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the Services that CiliumL2AnnouncementPolicy %q selects: %w", have.Name, err)
	}
	slices.SortFunc(out, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func serviceLabels(u *unstructured.Unstructured) map[string]string {
	set := u.GetLabels()
	if set == nil {
		set = map[string]string{}
	}
	set[labelServiceNamespace], set[labelServiceName] = u.GetNamespace(), u.GetName()
	return set
}

// lostPools returns the labels of the pools whose Services may be lost when want, which may be nil, takes the place of have: all of
// them, unless the difference is in the pools alone.
func lostPools(have *policy, want object) []string {
	all := poolsIn(have.Spec.ServiceSelector)
	next, ok := want.(*policy)
	if !ok || have.Spec.ServiceSelector == nil {
		return all
	}
	stays := map[string]bool{}
	insert(stays, poolsIn(next.Spec.ServiceSelector))
	less := have.DeepCopy()
	for i, r := range have.Spec.ServiceSelector.MatchExpressions {
		if r.Key == labelPool {
			less.Spec.ServiceSelector.MatchExpressions[i].Values = slices.DeleteFunc(slices.Clone(r.Values),
				func(l string) bool { return !stays[l] })
		}
	}
	if !widens(less, next) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(l string) bool { return stays[l] })
}

// listed returns what to ask the API server for to find at least the Services of pools that a policy selects.
func listed(p *policy, pools []string) (namespace string, selector labels.Selector, err error) {
	const most = 100 // a request has to stay short
	selector = labels.Everything()
	switch {
	case len(pools) > most:
		selector = selector.Add(must(labels.NewRequirement(labelPool, selection.Exists, nil)))
	case len(pools) > 0:
		q, err := labels.NewRequirement(labelPool, selection.In, pools)
		if err != nil {
			return "", nil, fmt.Errorf("CiliumL2AnnouncementPolicy %q spec.serviceSelector: %w", p.Name, err)
		}
		selector = selector.Add(*q)
	}
	if p.Spec.ServiceSelector == nil {
		return "", selector, nil
	}
	for _, r := range p.Spec.ServiceSelector.MatchExpressions {
		if r.Key == labelServiceNamespace && r.Operator == "In" && len(r.Values) == 1 {
			namespace = r.Values[0]
		}
	}
	return namespace, selector, nil
}

func must(r *labels.Requirement, err error) labels.Requirement {
	if err != nil {
		panic(err) // the arguments are constants
	}
	return *r
}

// park returns the new policies that keep Services announced as p does, those for the first of them if they are many.
func (t *translation) park(p *policy, services []types.NamespacedName) []change {
	var out []change
	for len(services) > 0 && len(out) < mostParked {
		namespace, n := services[0].Namespace, 0
		var names []string
		for n < len(services) && n < batch && services[n].Namespace == namespace {
			names = append(names, services[n].Name)
			n++
		}
		services = services[n:]
		q := &policy{ObjectMeta: t.meta(objectName("l2drain", backends.Hash(append([]string{p.Name, namespace}, names...)...)),
			backends.Source{}), Spec: *p.Spec.DeepCopy()}
		q.Annotations = map[string]string{backends.AnnotationSource: p.Annotations[backends.AnnotationSource]}
		q.Labels[labelDrains] = backends.LabelValue(p.Name)
		if q.Spec.ServiceSelector == nil {
			q.Spec.ServiceSelector = expressions()
		}
		q.Spec.ServiceSelector.MatchExpressions = append(q.Spec.ServiceSelector.MatchExpressions, in(labelServiceNamespace, namespace),
			in(labelServiceName, names...))
		if t.have[keyOf(q)] == nil {
			out = append(out, change{want: q})
		}
	}
	return out
}

// settled reports whether the announcers have dealt with the batch before: its Leases are given up, have run out, or are another node's, or
// it has taken too long.
func (b *Backend) settled(ctx context.Context, c *client) (bool, error) {
	if b.now().Sub(b.drained.since) < leasePatience {
		terms, err := b.terms(ctx, c, b.drained.services)
		if apierrors.IsForbidden(err) {
			return len(b.drained.services) == 0, nil // the time has to do
		}
		if err != nil {
			return false, err
		}
		for _, s := range b.drained.services {
			if now := terms[s]; now != (term{}) && (b.drained.terms[s] == term{} || b.drained.terms[s] == now) {
				return false, nil
			}
		}
	}
	b.drained = drained{}
	return true, nil
}

// terms returns the terms of the Leases of Services.
func (b *Backend) terms(ctx context.Context, c *client, services []types.NamespacedName) (map[types.NamespacedName]term, error) {
	leases := c.Resource(coordinationv1.SchemeGroupVersion.WithResource("leases")).Namespace(b.namespace())
	out := map[types.NamespacedName]term{}
	for _, s := range services {
		u, err := leases.Get(ctx, leasePrefix+"-"+s.Namespace+"-"+s.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the Lease of Service %s: %w", s, err)
		}
		var lease coordinationv1.Lease
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &lease); err != nil {
			return nil, fmt.Errorf("read the Lease of Service %s: %w", s, err)
		}
		out[s] = termOf(lease.Spec, b.now())
	}
	return out, nil
}

func held(l coordinationv1.LeaseSpec, now time.Time) bool {
	if l.HolderIdentity == nil || *l.HolderIdentity == "" {
		return false
	}
	if l.RenewTime == nil || l.LeaseDurationSeconds == nil {
		return true
	}
	return now.Before(l.RenewTime.Add(time.Duration(*l.LeaseDurationSeconds) * time.Second))
}
