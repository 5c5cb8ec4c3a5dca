package calico

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/fairlead/fairlead/backends"
)

// Config is what a Backend needs; all fields are required.
type Config struct {
	Discovery discovery.DiscoveryInterface
	Client    dynamic.Interface
	Ledger    Ledger
	// FieldManager is the name to write under.
	FieldManager string
}

// Backend makes Calico advertise. It is not safe for concurrent use.
type Backend struct{ cfg Config }

var _ backends.Backend = (*Backend)(nil)

// New returns a Backend; it contacts nobody.
func New(cfg Config) *Backend { return &Backend{cfg} }

// Run waits for ctx to end: Calico's nodes do the work.
func (b *Backend) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Apply brings spec.serviceLoadBalancerIPs to want: what is recorded as ours and not wanted goes, what is wanted and not there
// is added at the end, sorted; everything else stays, in its order. Each try writes only if the object has not changed since it
// was read.
func (b *Backend) Apply(ctx context.Context, want backends.Desired) error {
	record, err := b.cfg.Ledger.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the record of what was written to Calico: %w", err)
	}
	entries, bad := entriesOf(want, record)
	if len(entries)+len(record.Owned) == 0 && !record.CreatedDefault {
		return bad
	}
	a, err := detect(ctx, b.cfg.Discovery, b.cfg.Client)
	if err != nil {
		return errors.Join(bad, announceErrors(entries, err))
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error { return b.reconcile(ctx, a, &record, entries) })
	if err != nil {
		return errors.Join(bad, announceErrors(entries, err))
	}
	return bad
}

// entriesOf returns the entries that want asks for, sorted. Only masked prefixes may reach Calico: one with host bits freezes
// the BIRD of every node.
func entriesOf(want backends.Desired, record Record) ([]Entry, error) {
	var out []Entry
	var bad error
	for _, a := range want.Announcements {
		if !a.Prefix.IsValid() || a.Prefix != a.Prefix.Masked() {
			bad = errors.Join(bad, &backends.AnnounceError{Prefix: a.Prefix, Err: errors.New("the prefix has host bits")})
			continue
		}
		out = append(out, Entry(a))
	}
	for _, e := range record.Owned {
		if slices.Contains(want.Hold, e.Pool) && !slices.ContainsFunc(out, func(o Entry) bool { return o.Prefix == e.Prefix }) {
			out = append(out, e)
		}
	}
	sortEntries(out)
	return out, bad
}

func announceErrors(entries []Entry, err error) error {
	if len(entries) == 0 {
		return err
	}
	all := make([]error, len(entries))
	for i, e := range entries {
		all[i] = &backends.AnnounceError{Prefix: e.Prefix, Err: err}
	}
	return errors.Join(all...)
}

// reconcile is one try. It keeps record equal to what the ledger holds.
func (b *Backend) reconcile(ctx context.Context, a *api, record *Record, want []Entry) error {
	current, err := a.get(ctx)
	if err != nil {
		return err
	}
	var foreign []v3.ServiceLoadBalancerIPBlock
	var present, claimed []netip.Prefix // all that is in the list; what of it is not ours
	if current != nil {
		for _, block := range current.Spec.ServiceLoadBalancerIPs {
			p, err := netip.ParsePrefix(block.CIDR)
			p = p.Masked()
			present = append(present, p)
			if err != nil || !record.owns(p) {
				foreign, claimed = append(foreign, block), append(claimed, p)
			}
		}
	}
	ours := slices.DeleteFunc(slices.Clone(want), func(e Entry) bool { return slices.Contains(claimed, e.Prefix) })
	after := Record{APIVersion: a.group.String(), CreatedDefault: record.CreatedDefault, Owned: ours}

	adds := slices.ContainsFunc(ours, func(e Entry) bool { return !slices.Contains(present, e.Prefix) })
	removes := slices.ContainsFunc(record.Owned, func(e Entry) bool {
		return slices.Contains(present, e.Prefix) && !slices.ContainsFunc(ours, func(o Entry) bool { return o.Prefix == e.Prefix })
	})
	blocks := foreign
	for _, e := range ours {
		blocks = append(blocks, v3.ServiceLoadBalancerIPBlock{CIDR: e.Prefix.String()})
	}

	switch {
	case current == nil && len(ours) > 0:
		after.CreatedDefault = true
		if err := b.save(ctx, record, after.with(record.Owned)); err != nil {
			return err
		}
		err := a.create(ctx, blocks, b.cfg.FieldManager)
		if apierrors.IsAlreadyExists(err) {
			record.CreatedDefault = false
			return apierrors.NewConflict(a.group.WithResource(resource).GroupResource(), defaultName, err)
		}
		if err != nil {
			return err
		}
	case current == nil:
		after.CreatedDefault = false
	case len(ours) == 0 && record.CreatedDefault && len(foreign) == 0 && current.onlyDefaults():
		if err := a.delete(ctx, current); err != nil {
			return err
		}
		after.CreatedDefault = false
	case adds || removes:
		if err := b.save(ctx, record, after.with(record.Owned)); err != nil {
			return err
		}
		if err := a.setBlocks(ctx, current, blocks, b.cfg.FieldManager); err != nil {
			return err
		}
	}
	if len(ours) == 0 && (current == nil || !current.onlyDefaults()) {
		after.CreatedDefault = false // there is nothing left of ours that could be deleted later
	}
	return b.save(ctx, record, after)
}

func (b *Backend) save(ctx context.Context, record *Record, next Record) error {
	if record.Equal(next) {
		return nil
	}
	if err := b.cfg.Ledger.Save(ctx, next); err != nil {
		return fmt.Errorf("record what is written to Calico: %w", err)
	}
	*record = next
	return nil
}
