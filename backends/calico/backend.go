package calico

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/fairlead/fairlead/backends"
)

const (
	// contentionLimit is how many times within contentionWindow an entry that somebody took out is put back.
	contentionLimit  = 3
	contentionWindow = 10 * time.Minute
)

// Config is what a Backend needs. Everything is required but Aggregation, AllowWider and Report.
type Config struct {
	Discovery discovery.DiscoveryInterface
	Client    dynamic.Interface
	Ledger    Ledger
	// Installation tells the objects of this installation from those of others; the namespace it is installed in.
	Installation string
	// FieldManager is the name to write under.
	FieldManager string
	// Aggregation says how addresses become routes; Auto if empty.
	Aggregation Aggregation
	// AllowWider has fields ignored that cannot be expressed, where that lets more peers or nodes hear a route than the user asked
	// for. Else such pools are not advertised.
	AllowWider bool
	// Report is told how things are at the end of each Apply that found Calico.
	Report func(backends.Outcome)
}

// Backend makes Calico advertise. It is not safe for concurrent use.
type Backend struct {
	cfg Config
	now func() time.Time
	// noAggregation is set once a write has shown that this Calico lacks the field; a change of group or version resets it.
	noAggregation bool
	seen          string
	putBack       []time.Time // when entries that somebody took out were put back
}

var _ backends.Backend = (*Backend)(nil)

// New returns a Backend; it contacts nobody.
func New(cfg Config) *Backend {
	if cfg.Aggregation == "" {
		cfg.Aggregation = Auto
	}
	return &Backend{cfg: cfg, now: time.Now}
}

// Run waits for ctx to end: Calico's nodes do the work.
func (b *Backend) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Apply brings the BGPConfiguration "default" and the objects of sessions to want: what is recorded as ours and not wanted goes,
// what is wanted and not there is added; everything else stays. The BGPConfiguration is written only if it has not changed since it
// was read.
func (b *Backend) Apply(ctx context.Context, want backends.Desired) error {
	record, err := b.cfg.Ledger.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the record of what was written to Calico: %w", err)
	}
	want, bad := masked(want)
	if empty(want) && record.IsEmpty() {
		return bad
	}
	d, err := Detect(ctx, b.cfg.Discovery, b.cfg.Client)
	switch {
	case err != nil:
	case !d.Available() && empty(want):
		// With its API, everything that was written is gone too.
		return errors.Join(bad, b.cfg.Ledger.Save(ctx, Record{}))
	case !d.Available():
		err = ErrUnavailable
	case d.migrating:
		err = ErrMigrating
	}
	if err != nil {
		return errors.Join(bad, announceErrors(want, err))
	}
	if seen := fmt.Sprint(d.group, d.version); seen != b.seen {
		b.seen, b.noAggregation = seen, false
	}
	x := &apply{b: b, d: &d, record: record, want: want, objects: objects{
		client: b.cfg.Client, group: d.group, namespace: d.nodeNamespace, installation: b.cfg.Installation, manager: b.cfg.FieldManager, recorded: record.Objects,
	}}
	x.api = api{d.group, b.cfg.Client.Resource(d.group.WithResource(resource)), b.cfg.FieldManager}
	err = x.run(ctx)
	if b.cfg.Report != nil && x.reached {
		b.cfg.Report(x.outcome())
	}
	return errors.Join(bad, err)
}

// empty reports whether nothing is wanted that Calico could serve.
func empty(want backends.Desired) bool {
	return len(want.Announcements)+len(want.BGPAdvertisements)+len(want.Peers) == 0
}

// masked drops prefixes with host bits: one such entry freezes the BIRD of every node.
func masked(want backends.Desired) (backends.Desired, error) {
	var bad error
	want.Announcements = slices.DeleteFunc(slices.Clone(want.Announcements), func(a backends.Announcement) bool {
		if a.Prefix.IsValid() && a.Prefix == a.Prefix.Masked() {
			return false
		}
		bad = errors.Join(bad, &backends.AnnounceError{Prefix: a.Prefix, Err: errors.New("the prefix has host bits")})
		return true
	})
	return want, bad
}

func announceErrors(want backends.Desired, err error) error {
	if len(want.Announcements) == 0 {
		return err
	}
	all := make([]error, len(want.Announcements))
	for i, a := range want.Announcements {
		all[i] = &backends.AnnounceError{Prefix: a.Prefix, Err: err}
	}
	return errors.Join(all...)
}

// apply is one Apply.
type apply struct {
	b       *Backend
	d       *Detection
	api     api
	objects objects
	record  Record // what the ledger holds
	want    backends.Desired

	reached   bool // Calico's objects were read
	routes    routes
	merged    merged
	findings  []backends.Finding
	contended bool
}

func (x *apply) run(ctx context.Context) error {
	foreign, err := x.objects.foreignPeers(ctx)
	if err != nil && (x.want.Peers != nil || !apierrors.IsNotFound(err)) {
		return announceErrors(x.want, err)
	}
	s := plan(x.want, foreign, x.b.cfg.Installation, x.objects.namespace)
	x.findings = s.findings
	// The intent is recorded before anything is made, so that nothing of ours is ever unknown.
	var names []string
	for _, o := range s.objects {
		names = append(names, keyOf(kindName(o), o.GetNamespace(), o.GetName()))
	}
	if err := x.save(ctx, x.record.with(Record{Objects: names})); err != nil {
		return err
	}
	taken, putErr := x.objects.put(ctx, s)
	x.findings = append(x.findings, taken...)
	for _, f := range taken { // somebody else's is never swept
		x.record.Objects = slices.DeleteFunc(slices.Clone(x.record.Objects), func(k string) bool { return k == keyOf(f.Object.Kind, f.Object.Namespace, f.Object.Name) })
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error { return x.configure(ctx, foreign) })
	if err != nil {
		return errors.Join(putErr, announceErrors(x.want, err))
	}
	x.objects.recorded = x.record.Objects
	left, sweepErr := x.objects.sweep(ctx, s)
	after := x.record
	after.Objects = slices.Concat(names, left)
	for k := range s.keep {
		if slices.Contains(x.record.Objects, k) {
			after.Objects = append(after.Objects, k)
		}
	}
	slices.Sort(after.Objects)
	after.Objects = slices.DeleteFunc(slices.Compact(after.Objects), func(k string) bool {
		return slices.ContainsFunc(taken, func(f backends.Finding) bool { return k == keyOf(f.Object.Kind, f.Object.Namespace, f.Object.Name) })
	})
	return errors.Join(putErr, sweepErr, x.save(ctx, after))
}

// configure is one try at the BGPConfiguration. It keeps the record equal to what the ledger holds.
func (x *apply) configure(ctx context.Context, foreign []v3.BGPPeer) error {
	current, err := x.api.get(ctx)
	if err != nil {
		return err
	}
	x.reached = true
	x.routes = route(x.want, x.surroundings(current, foreign))
	x.merged = merge(current, x.record, x.routes, x.held(), x.b.cfg.FieldManager)
	m := &x.merged
	if x.contended = x.b.contends(m.removed); x.contended {
		var list []string
		for _, p := range m.removed {
			list = append(list, p.String())
		}
		m.report(backends.Contended, "spec.serviceLoadBalancerIPs", fmt.Sprintf("somebody took %s out %d times within %s; it is left so for that long",
			strings.Join(list, ", "), contentionLimit, contentionWindow))
		return nil
	}
	after := m.ours
	after.APIVersion, after.CreatedDefault, after.Objects = x.d.group.String(), x.record.CreatedDefault, x.record.Objects
	empty := len(after.Owned)+len(after.Tags) == 0 && after.Aggregation == nil
	switch {
	case current == nil && len(after.Owned) > 0:
		after.CreatedDefault = true
		if after.Aggregation != nil {
			after.Aggregation.Before = ""
		}
		if err := x.save(ctx, after.with(x.record)); err != nil {
			return err
		}
		stored, err := x.api.create(ctx, m.spec)
		if apierrors.IsAlreadyExists(err) {
			x.record.CreatedDefault = false
			return apierrors.NewConflict(x.api.group.WithResource(resource).GroupResource(), defaultName, err)
		}
		if again := x.fallBack(m.spec, stored, err); again != nil || err != nil {
			return errors.Join(again, err)
		}
	case current == nil:
		after.CreatedDefault = false
	case empty && x.record.CreatedDefault && current.after(m.spec).onlyDefaults():
		if err := x.api.delete(ctx, current); err != nil {
			return err
		}
		after.CreatedDefault = false
	case len(m.spec) > 0:
		if err := x.save(ctx, after.with(x.record)); err != nil {
			return err
		}
		stored, err := x.api.patch(ctx, current, m.spec)
		if again := x.fallBack(m.spec, stored, err); again != nil {
			return again
		}
		if err != nil {
			return err
		}
		if len(m.removed) > 0 {
			x.b.putBack = append(x.b.putBack, x.b.now())
		}
	}
	if empty && (current == nil || !current.after(m.spec).onlyDefaults()) {
		after.CreatedDefault = false // there is nothing left of ours that could be deleted later
	}
	return x.save(ctx, after)
}

// fallBack has the try repeated without the aggregation if a write shows that this Calico does not know it.
func (x *apply) fallBack(spec map[string]any, stored *configuration, err error) error {
	if !lacksAggregation(spec, stored, err) {
		return nil
	}
	x.b.noAggregation, x.record.Aggregation = true, nil
	return apierrors.NewConflict(x.api.group.WithResource(resource).GroupResource(), defaultName, errors.New("spec.serviceLoadBalancerAggregation is not known"))
}

// contends reports whether entries were put back too often to do it again.
func (b *Backend) contends(removed []netip.Prefix) bool {
	b.putBack = slices.DeleteFunc(b.putBack, func(t time.Time) bool { return b.now().Sub(t) > contentionWindow })
	return len(removed) > 0 && len(b.putBack) >= contentionLimit
}

// held returns the entries of ours for pools whose addresses are not known at present.
func (x *apply) held() []Entry {
	var out []Entry
	for _, e := range x.record.Owned {
		if slices.Contains(x.want.Hold, e.Pool) && !slices.ContainsFunc(x.routes.entries, func(o Entry) bool { return o.Prefix == e.Prefix }) {
			out = append(out, e)
		}
	}
	return out
}

func (x *apply) surroundings(current *configuration, foreign []v3.BGPPeer) surroundings {
	s := surroundings{
		mode: x.b.cfg.Aggregation, allowWider: x.b.cfg.AllowWider, managesPeers: x.want.Peers != nil,
		perIP: x.d.perIP(), canDisable: !x.b.noAggregation,
	}
	for _, p := range foreign {
		s.foreignPeers = append(s.foreignPeers, p.Name)
	}
	if current == nil {
		return s
	}
	s.current = current.aggregation()
	switch {
	case len(current.Spec.ServiceClusterIPs) > 0:
		s.others = "spec.serviceClusterIPs"
	case len(current.Spec.ServiceExternalIPs) > 0:
		s.others = "spec.serviceExternalIPs"
	}
	for _, block := range current.Spec.ServiceLoadBalancerIPs {
		if p, err := netip.ParsePrefix(block.CIDR); err != nil || !x.record.owns(p.Masked()) {
			s.others = "spec.serviceLoadBalancerIPs[" + block.CIDR + "]"
		}
	}
	return s
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
	o := backends.Outcome{
		IgnoresServices: x.routes.ignoresServices, Claims: x.d.claims(), ClaimsLoadBalancerIP: len(x.d.loadBalancerPools()) > 0 && x.d.assigns() == v3.RequestedServicesOnly,
		APIVersion: x.d.group.String(), Facts: x.d.Facts, Owned: slices.Clone(x.record.Objects), Pools: x.routes.pools,
		Findings: slices.Concat(x.d.findings(x.routes.entries), x.routes.findings, x.merged.findings, x.findings),
	}
	if len(x.record.Owned) > 0 {
		o.Owned = append([]string{keyOf(v3.KindBGPConfiguration, "", defaultName)}, o.Owned...)
	}
	for pool, p := range o.Pools {
		switch {
		case !p.Advertised:
		case x.d.bird == "off":
			p = backends.PoolOutcome{Message: "Calico: BIRD does not run on the nodes"}
		case x.merged.frozen != "":
			p = backends.PoolOutcome{Message: fmt.Sprintf("Calico: %s keeps the nodes from reading any change", x.merged.frozen)}
		case x.contended || slices.ContainsFunc(x.merged.findings, func(f backends.Finding) bool {
			return f.Type == backends.Contended && f.Field == "spec.serviceLoadBalancerIPs"
		}):
			p = backends.PoolOutcome{Message: "Calico: somebody else writes spec.serviceLoadBalancerIPs"}
		}
		o.Pools[pool] = p
	}
	return o
}
