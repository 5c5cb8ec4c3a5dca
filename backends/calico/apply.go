package calico

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/fairlead/fairlead/backends"
)

// apply is one Apply.
type apply struct {
	b       *Backend
	d       *Detection
	api     api
	objects objects
	has     features
	record  Record // what the ledger holds
	want    backends.Desired

	// What follows is of one try.
	reached   bool // Calico's objects were read
	world     world
	routes    routes
	merged    merged
	findings  []backends.Finding // of sessions
	exposed   map[string]error   // pools that a session would show to peers that must not hear them
	contended bool
	last      *sessions
	broken    map[string]error // objects that could not be written, by key
	late      newcomers        // while communities change of what nodes tell already
	leaving   bool             // communities of entries that were taken out are there still
}

// taken reports whether the object of that name is somebody else's.
func (x *apply) taken(key string) bool {
	return slices.ContainsFunc(x.findings, func(f backends.Finding) bool {
		return f.Type == backends.Contended && key == keyOf(f.Object.Kind, f.Object.Namespace, f.Object.Name)
	})
}

// refused reports whether Calico's API does not take the object of that name, and there is none.
func (x *apply) refused(key string) bool { return x.b.refused[key] }

// isThere reports whether the BGPPeer of that name is there, and ours.
func (x *apply) isThere(key string) bool {
	_, _, name := splitKey(key)
	return x.world.peers[name] != nil
}

// look reads the sessions that there are, and adds to the record those of ours that it lacks. Without managed peers it does so only
// once, and goes on if it cannot.
func (x *apply) look(ctx context.Context) error {
	if x.want.Peers == nil && x.b.looked {
		x.world = world{}
		return nil
	}
	w, err := x.objects.look(ctx, x.d)
	if err != nil && x.want.Peers != nil {
		return err
	}
	if err != nil {
		w = world{}
	}
	x.world, x.b.looked = w, err == nil
	return x.save(ctx, x.record.with(Record{Objects: w.ours(x.d.nodeNamespace)}))
}

func (x *apply) plan(current *configuration, narrowing bool) *sessions {
	rest, going := x.rest(narrowing)
	in := planning{narrowing: narrowing, rest: rest, going: going,
		want: x.want, world: x.world, installation: x.b.cfg.Installation, namespace: x.d.nodeNamespace, has: x.has, filters: x.d.filters,
		recorded: map[string]bool{}, asNumber: defaultASNumber, late: x.late,
	}
	in.want.BGPAdvertisements, in.want.Announcements = x.routes.served, x.announced()
	for _, k := range x.record.Objects {
		in.recorded[k] = true
	}
	if current != nil && current.Spec.ASNumber != nil {
		in.asNumber = uint32(*current.Spec.ASNumber)
	}
	return plan(in)
}

// rest returns the prefixes of ours that no announcement covers: those of pools that are held, and, at first, those that are about
// to go; going are those of them that no other pool takes over anything of.
func (x *apply) rest(leaving bool) (rest, going []netip.Prefix) {
	announced, all := map[string][]netip.Prefix{}, []netip.Prefix{}
	for _, a := range x.announced() {
		announced[a.Pool], all = append(announced[a.Pool], a.Prefix), append(all, a.Prefix)
	}
	for _, e := range x.record.Owned {
		held := slices.Contains(x.want.Hold, e.Pool)
		if slices.ContainsFunc(announced[e.Pool], e.Prefix.Overlaps) || !leaving && !held {
			continue
		}
		rest = append(rest, e.Prefix)
		if !held && !slices.ContainsFunc(all, e.Prefix.Overlaps) {
			going = append(going, e.Prefix)
		}
	}
	return rest, going
}

// put makes those objects of s that are of some kinds. A failure that keeps something from being hidden is remembered by pool; err
// says that there has to be another try at once.
func (x *apply) put(ctx context.Context, s *sessions, some ...string) (failed, err error) {
	results := x.objects.put(ctx, s, &x.world, x.broken, some...)
	for _, r := range results {
		if r.wrote && r.err == nil {
			x.b.wrote = x.b.cfg.Now()
		}
		if known, less := x.b.known.without(r.err); less {
			x.b.known = known
			return nil, errAgain
		}
		if apierrors.IsConflict(r.err) {
			return nil, r.err
		}
		problem := r.err
		switch source, ok := s.sources[r.key]; {
		case ok && apierrors.IsInvalid(r.err):
			then := "no such object is there"
			if x.isThere(r.key) {
				then = "it stays as it was"
			} else {
				x.b.refused[r.key] = true
			}
			x.find(backends.Finding{Type: backends.UnsupportedField, Object: source, Missing: true,
				Message: fmt.Sprintf("Calico's API refuses the session, %s: %v", then, r.err)})
		case r.foreign:
			x.find(foreignFinding(r.key))
			problem = fmt.Errorf("somebody else's %s is in the way", r.key)
		default:
			failed = errors.Join(failed, r.err)
		}
		for _, pool := range s.hides[r.key] {
			if problem != nil {
				x.exposed[pool] = problem
			}
		}
	}
	return failed, nil
}

// find adds a finding about a session, unless it is known.
func (x *apply) find(f backends.Finding) {
	if !slices.Contains(x.findings, f) {
		x.findings = append(x.findings, f)
	}
}

// abandon lets go of everything when Calico's API is gone, and with it what was written through it.
func (x *apply) abandon(ctx context.Context) error {
	left, err := x.objects.sweep(ctx, x.record.Objects, &sessions{}, &x.world)
	next := Record{Objects: left}
	if len(left) > 0 {
		next.APIVersion = x.record.APIVersion
	}
	return errors.Join(err, x.save(ctx, next))
}

// held returns the entries of ours for pools whose addresses are not known at present, and those of exposed pools.
func (x *apply) held() []Entry {
	wanted := map[netip.Prefix]bool{}
	for _, e := range x.routes.entries {
		wanted[e.Prefix] = true
	}
	var out []Entry
	for _, e := range x.record.Owned {
		if slices.Contains(x.want.Hold, e.Pool) && !wanted[e.Prefix] {
			out = append(out, e)
		}
	}
	return out
}

func (x *apply) surroundings(current *configuration, leaves bool) surroundings {
	s := surroundings{
		mode: x.b.cfg.Aggregation, allowWider: x.b.cfg.AllowWider, managesPeers: x.want.Peers != nil, filters: x.d.filters,
		perIP: x.d.perIP(), never: x.d.neverPerIP(), canDisable: x.has.aggregation, live: map[string]bool{},
	}
	for _, e := range x.record.Owned {
		s.live[e.Pool] = true
	}
	for _, p := range x.world.foreign {
		s.foreignPeers = append(s.foreignPeers, p.Name)
	}
	if current == nil {
		return s
	}
	s.current = current.aggregation()
	if was := x.record.Aggregation; was != nil && s.current == was.Set {
		s.current = was.Before // as it will be unless it is set again
	}
	s.mesh = !s.managesPeers && (current.Spec.NodeToNodeMeshEnabled == nil || *current.Spec.NodeToNodeMeshEnabled)
	s.applied = appliedBy(current.ManagedFields, fieldBlocks, x.b.cfg.FieldManager) != ""
	owned := map[netip.Prefix]bool{}
	for _, e := range x.record.Owned {
		owned[e.Prefix] = true
	}
	switch {
	case leaves, s.current != v3.ServiceLoadBalancerAggregationDisabled &&
		appliedBy(current.ManagedFields, fieldAggregation, x.b.cfg.FieldManager) != "":
		s.others = "spec." + fieldAggregation
	case len(current.Spec.ServiceClusterIPs) > 0:
		s.others = "spec.serviceClusterIPs"
	case len(current.Spec.ServiceExternalIPs) > 0:
		s.others = "spec.serviceExternalIPs"
	}
	for _, block := range current.Spec.ServiceLoadBalancerIPs {
		if p, ok := canonical(block.CIDR); block.CIDR != "" && (!ok || !owned[p]) {
			s.others = "spec." + fieldBlocks + "[" + block.CIDR + "]"
		}
	}
	return s
}

// leavesAggregation reports whether somebody else has changed the aggregation after it was set here.
func (x *apply) leavesAggregation(current *configuration) bool {
	was := x.record.Aggregation
	return current != nil && was != nil && x.b.memory.switched == was.Set && current.aggregation() != was.Set
}

func (x *apply) save(ctx context.Context, next Record) error {
	if x.record.Equal(next) {
		return nil
	}
	if err := x.b.cfg.Ledger.Save(ctx, next); err != nil {
		return fmt.Errorf("record what is written to Calico: %w", err)
	}
	x.record = next
	return nil
}

// outcome tells how things are.
func (x *apply) outcome() backends.Outcome {
	inactive, blocked := x.d.findings(x.want.Announcements)
	o := backends.Outcome{
		IgnoresServices: x.routes.ignoresServices, Claims: x.d.claims(), ClaimsLoadBalancerIP: len(x.d.loadBalancerPools()) > 0 &&
			x.d.assigns() == v3.RequestedServicesOnly,
		APIVersion: x.d.group.String(), Facts: append(slices.Clone(x.d.Facts), x.has.fact()), Owned: slices.Clone(x.record.Objects),
		Pools:    x.routes.pools,
		Findings: slices.Concat(inactive, x.routes.findings, x.merged.findings, x.findings, x.halfExcluded()),
		Unheard:  x.unheard(),
	}
	if len(x.record.Owned) > 0 {
		o.Owned = append([]string{keyOf(v3.KindBGPConfiguration, "", defaultName)}, o.Owned...)
	}
	missing := map[string]bool{}
	for _, e := range x.routes.entries {
		if slices.Contains(x.merged.missing, e.Prefix) || x.contended && slices.Contains(x.merged.removed, e.Prefix) {
			missing[e.Pool] = true
		}
	}
	covered := map[string][]string{}
	for e, by := range x.merged.covered {
		if text := by.String(); !slices.Contains(covered[e.Pool], text) {
			covered[e.Pool] = append(covered[e.Pool], text)
		}
	}
	for pool, p := range o.Pools {
		switch {
		case !p.Advertised:
		case x.d.bird == "off":
			p = backends.PoolOutcome{Message: "Calico: BIRD does not run on the nodes"}
		case x.merged.frozen != "":
			p = backends.PoolOutcome{Message: fmt.Sprintf("Calico: %s keeps the nodes from reading any change", x.merged.frozen)}
		case x.exposed[pool] != nil:
			p = backends.PoolOutcome{Message: fmt.Sprintf("Calico: it cannot be kept from peers that must not hear it: %v", x.exposed[pool])}
		case missing[pool]:
			p = backends.PoolOutcome{Message: "Calico: somebody else writes spec." + fieldBlocks}
		case blocked[pool] != "":
			p = backends.PoolOutcome{Message: fmt.Sprintf("Calico: IPPool %q keeps its routes on the nodes", blocked[pool])}
		case covered[pool] != nil:
			slices.Sort(covered[pool])
			p = backends.PoolOutcome{Advertised: true, Message: fmt.Sprintf("Calico: in %s, which is not ours", strings.Join(covered[pool], ", "))}
		}
		o.Pools[pool] = p
	}
	return o
}
