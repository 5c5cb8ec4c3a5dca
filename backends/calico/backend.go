package calico

import (
	"context"
	"errors"
	"fmt"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
	"slices"
	"time"

	"github.com/fairlead/fairlead/backends"
)

// Settle is how long Calico's nodes may take to act on what was written: confd and BIRD take 0.06 to 0.2 s on three nodes with two
// processors between them (integration/cni/calico), and more where there is more to render.
const Settle = 700 * time.Millisecond

// Config is what a Backend needs. Everything is required but Aggregation, AllowWider, Settle, Report and Now.
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
	// Settle is how long what narrows has to be in place before anything wider is written: confd renders filters, sessions and lists
	// each in its own time, and tells nobody when it has. 0: nothing is waited for.
	Settle time.Duration
	// Report is told how things are at the end of each Apply that found Calico.
	Report func(backends.Outcome)
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Backend makes Calico advertise. It is not safe for concurrent use.
type Backend struct {
	cfg    Config
	memory memory
	// known is what Calico's schema has, and no write has shown to be missing; a change of group or version has it read again.
	known features
	seen  string
	// looked is set once objects were looked for that the record does not name, because it was lost.
	looked bool
	// wrote is when something was last written that has to be in force before anything wider is.
	wrote time.Time
	// before is what was wanted the last time, and done; nil: it is not known.
	before *backends.Desired
	// refused names the BGPPeers that Calico's API did not take the last time.
	refused map[string]bool
}

var _ backends.ClusterBackend = (*Backend)(nil)

// New returns a Backend; it contacts nobody.
func New(cfg Config) *Backend {
	if cfg.Aggregation == "" {
		cfg.Aggregation = Auto
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Backend{cfg: cfg, known: allFeatures, wrote: cfg.Now()} // another process may just have written
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
	unused := empty(want) && record.IsEmpty()
	if unused && b.looked {
		return bad
	}
	d, err := Detect(ctx, b.cfg.Discovery, b.cfg.Client)
	x := &apply{b: b, d: &d, record: record, want: want, objects: objects{
		client: b.cfg.Client, group: d.group, installation: b.cfg.Installation, manager: b.cfg.FieldManager,
	}}
	switch {
	case unused && (err != nil || !d.Available() || d.migrating):
		return bad
	case err != nil:
	case !d.Available() && empty(want):
		return errors.Join(bad, x.abandon(ctx))
	case !d.Available():
		err = errUnavailable
	case d.migrating:
		err = ErrMigrating
	}
	if err != nil {
		return errors.Join(bad, backends.AnnounceErrors(want, err))
	}
	if seen := fmt.Sprint(d.group, d.version); seen != b.seen {
		b.seen, b.looked = seen, false
		b.known = installed(b.cfg.Discovery, d.group)
	}
	x.api = api{d.group, b.cfg.Client.Resource(d.group.WithResource(resource)), b.cfg.FieldManager}
	if unused {
		if err := x.look(ctx); err != nil || len(x.record.Objects) == 0 {
			return bad
		}
	}
	err = x.settling(ctx, func() error {
		return retry.OnError(retry.DefaultBackoff, again, func() error { return x.try(ctx) })
	})
	if err == nil {
		b.before = &want
	}
	if b.cfg.Report != nil && x.reached {
		b.cfg.Report(x.outcome())
	}
	return errors.Join(bad, err)
}

// errAgain has a try repeated: it has shown that this Calico lacks a field.
var errAgain = errors.New("the installed Calico lacks a field")

func again(err error) bool { return errors.Is(err, errAgain) || apierrors.IsConflict(err) }

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
