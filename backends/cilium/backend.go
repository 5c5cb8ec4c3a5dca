package cilium

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead/fairlead/backends"
)

// Config is what a Backend needs. Everything is required but Namespace, AllowWider and Report.
type Config struct {
	Discovery discovery.DiscoveryInterface
	Client    dynamic.Interface
	// Namespace is where Cilium's ConfigMap and Leases are; DefaultNamespace if empty.
	Namespace string
	// Installation tells the objects of this installation from those of others; the namespace it is installed in.
	Installation string
	// FieldManager is the name to write under.
	FieldManager string
	// AllowWider has fields ignored that cannot be expressed, where that lets more peers or nodes hear a route than the user asked
	// for. Else such pools are not advertised.
	AllowWider bool
	// Report is told how things are at the end of each Apply that found Cilium.
	Report func(backends.Outcome)
}

// Backend makes Cilium advertise. It is not safe for concurrent use.
type Backend struct {
	cfg     Config
	schema  schemaCache
	drained drained
	now     func() time.Time
	// noSecrets is set once no Secret of ours is left and none is wanted. A peer config that could not be made leaves one behind.
	noSecrets bool
	// refused is since when nodes may not be handed over; zero: they may, or there are none to hand over.
	refused time.Time
}

var _ backends.ClusterBackend = (*Backend)(nil)

// New returns a Backend; it contacts nobody.
func New(cfg Config) *Backend { return &Backend{cfg: cfg, now: time.Now} }

// Run waits for ctx to end: Cilium's agents do the work.
func (b *Backend) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (b *Backend) namespace() string {
	if b.cfg.Namespace == "" {
		return DefaultNamespace
	}
	return b.cfg.Namespace
}

// Apply brings the objects of this installation to want. What Cilium serves is found out each time, because it can be upgraded or
// removed under us: without its API there is nothing left to take back, so that the empty set succeeds, and any other fails with
// ErrUnavailable. ErrInProgress is returned while policies of the L2 announcer are emptied step by step, and while something waits for
// something else to be in force (order.go).
func (b *Backend) Apply(ctx context.Context, want backends.Desired) error {
	d, err := Detect(ctx, b.cfg.Discovery, b.cfg.Client, b.cfg.Namespace)
	if err == nil && !d.Available() {
		if want.IsEmpty() {
			return nil
		}
		err = ErrUnavailable
	}
	if err != nil {
		return unasked(want, err)
	}
	c := newClient(b.cfg, d)
	f := facts{installation: b.cfg.Installation, allowWider: b.cfg.AllowWider, secretsNamespace: d.config[keySecrets]}
	if f.world, err = c.readWorld(ctx, f.secretsNamespace, want.Peers, !b.noSecrets); err != nil {
		return unasked(want, err)
	}
	b.noSecrets = want.Peers == nil && len(f.world.secrets) == 0
	if d.serves(kindAdvert) && aggregates(want) {
		has4, has6, err := b.schema.aggregation(b.cfg.Discovery, d.served[kindAdvert].GroupVersion())
		if err != nil {
			return backends.AnnounceErrors(want, err)
		}
		f.noAggregation4, f.noAggregation6 = !has4, !has6
	}
	t := translate(want, f)
	failed, err := b.write(ctx, c, t, t.compare())
	if b.cfg.Report != nil {
		b.cfg.Report(t.outcome(d, failed))
	}
	if len(failed) > 0 && errors.Is(err, backends.ErrInProgress) {
		err = nil // it is in progress only if nothing failed
	}
	return errors.Join(append(t.errors(failed), err)...)
}

// unasked returns err, for each announcement; but nothing if nothing is wanted of a Cilium that must not be looked at: who has no
// permission has written nothing.
func unasked(want backends.Desired, err error) error {
	if want.IsEmpty() && onlyForbidden(err) {
		return nil
	}
	return backends.AnnounceErrors(want, err)
}

func onlyForbidden(err error) bool {
	for _, e := range backends.Flatten(err) {
		if !apierrors.IsForbidden(e) {
			return false
		}
	}
	return true
}

// write makes changes, creations and updates first, and goes on after a failure. failed are the objects that could not be written;
// err is what else went wrong.
func (b *Backend) write(ctx context.Context, c *client, t *translation, changes []change) (failed map[key]error, err error) {
	failed = map[key]error{}
	do := func(changes []change, deletes bool) {
		for _, ch := range changes {
			if (ch.want == nil) != deletes || blocked(ch, failed) {
				continue
			}
			if err := c.write(ctx, ch); err != nil {
				failed[ch.key()] = err
			}
		}
	}
	all := changes
	changes, waiting := t.order(all)
	refused, err := b.handOver(ctx, c, t, all)
	if b.endsSessions(t, refused) {
		changes, waiting = all, nil
	}
	harmless, lossy := losses(changes)
	create, now, drainErr := b.drain(ctx, c, t, lossy)
	err = errors.Join(err, drainErr)
	if len(waiting) > 0 {
		err = errors.Join(err, fmt.Errorf("%s: %w", strings.Join(waiting, "; "), backends.ErrInProgress))
	}
	do(harmless, false)
	do(create, false)
	do(now, false)
	do(now, true)
	do(harmless, true)
	return failed, err
}

// blocked reports whether a change of a peer config has to wait because of a Secret that could not be written: with it gone, a
// session would have no password; with the peer config gone, nobody would know of the Secret.
func blocked(ch change, failed map[key]error) bool {
	if ch.key().kind != kindPeerConfig {
		return false
	}
	for k := range failed {
		if k.kind != kindSecret {
			continue
		}
		p, ok := ch.want.(*v2.CiliumBGPPeerConfig)
		if !ok || p.Spec.AuthSecretRef != nil && *p.Spec.AuthSecretRef == k.name {
			return true
		}
	}
	return false
}

// aggregates reports whether any routes are wanted but those of single addresses.
func aggregates(want backends.Desired) bool {
	for _, a := range want.BGPAdvertisements {
		if a.AggregationLength > 0 && a.AggregationLength < 32 || a.AggregationLengthV6 > 0 && a.AggregationLengthV6 < 128 {
			return true
		}
	}
	return false
}
