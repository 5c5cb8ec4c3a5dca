package calico

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/fairlead/fairlead/backends"
)

// configure brings the BGPConfiguration to the routes that are wanted. It keeps the record equal to what the ledger holds.
func (x *apply) configure(ctx context.Context, current *configuration, leaves bool) error {
	in := merging{current: current, record: x.record, want: x.routes, held: x.held(), manager: x.b.cfg.FieldManager,
		leave:     leave{aggregation: leaves},
		lingering: x.b.cfg.Settle > 0,
	}
	m := merge(in)
	gone := x.b.memory.takenOut(&m)
	if x.contended = gone && x.b.memory.tired(x.b.cfg.Now()); x.contended {
		in.leave = m.leaves()
		in.leave.aggregation = leaves
		removed, tags := m.removed, m.removedTags
		m = merge(in)
		m.removed, m.removedTags = removed, tags
		m.reportContention()
	}
	x.merged, x.leaving = m, m.leaving
	if len(m.spec) > 0 && x.unsettled() > 0 {
		return errUnsettled
	}
	after := m.ours
	after.APIVersion, after.CreatedDefault, after.Objects = x.d.group.String(), x.record.CreatedDefault, x.record.Objects
	empty := len(after.Owned)+len(after.Tags) == 0 && after.Aggregation == nil
	switch {
	case current == nil && m.spec[fieldBlocks] != nil:
		if err := x.create(ctx, &after); err != nil {
			return err
		}
	case current == nil:
		after.CreatedDefault, after.Aggregation = false, nil
	case len(m.spec) > 0:
		if err := x.save(ctx, after.with(x.record)); err != nil {
			return err
		}
		stored, err := x.api.patch(ctx, current, m.spec)
		if err := x.stored(m.spec, stored, err); err != nil {
			return err
		}
		if _, tagsOnly := m.spec[fieldTags]; !tagsOnly || len(m.spec) > 1 {
			x.b.wrote = x.b.cfg.Now()
		}
	}
	if gone && !x.contended && len(m.spec) > 0 {
		x.b.memory.putBack = append(x.b.memory.putBack, x.b.cfg.Now())
	}
	if empty {
		// It stays, empty: confd crashes on every node when it is deleted (getNodeMeshPasswordKVPair in
		// confd/pkg/backends/calico/client.go), and an empty one is to Calico as none.
		after.CreatedDefault = false
	}
	x.b.memory.see(after)
	return x.save(ctx, after)
}

// create makes the BGPConfiguration.
func (x *apply) create(ctx context.Context, after *Record) error {
	after.CreatedDefault = true
	if after.Aggregation != nil {
		after.Aggregation.Before = ""
	}
	if err := x.save(ctx, after.with(x.record)); err != nil {
		return err
	}
	x.b.wrote = x.b.cfg.Now()
	stored, err := x.api.create(ctx, x.merged.spec)
	if apierrors.IsAlreadyExists(err) {
		next := x.record
		next.CreatedDefault = false
		if err := x.save(ctx, next); err != nil {
			return err
		}
		return apierrors.NewConflict(x.api.group.WithResource(resource).GroupResource(), defaultName, err)
	}
	return x.stored(x.merged.spec, stored, err)
}

// stored looks at the answer to a write: it has to be tried again without a field that this Calico lacks. A write that failed may
// have been carried out all the same; what is missing then was not taken out by somebody else.
func (x *apply) stored(spec map[string]any, stored *configuration, err error) error {
	if err != nil {
		x.b.memory.see(Record{})
	}
	if lacksAggregation(spec, stored, err) {
		x.b.known.aggregation = false
		return errAgain
	}
	return err
}

// withhold takes entries out of what is wanted that would be shown to peers that must not hear them, unless they are there already,
// and returns an error for each.
func (x *apply) withhold() error {
	if len(x.exposed) == 0 {
		return nil
	}
	owned := map[Entry]bool{}
	for _, e := range x.record.Owned {
		owned[e] = true
	}
	var errs []error
	x.routes.entries = slices.DeleteFunc(x.routes.entries, func(e Entry) bool {
		why := x.exposed[e.Pool]
		if why == nil {
			return false
		}
		errs = append(errs, &backends.AnnounceError{Prefix: e.Prefix, Err: fmt.Errorf("cannot be kept from peers that must not hear it: %w",
			why)})
		return !owned[e]
	})
	return errors.Join(errs...)
}

func (m *merged) reportContention() {
	lasting := fmt.Sprintf("out, and it was put back %d times within %s; it is left so for that long", contentionLimit, contentionWindow)
	if len(m.removed) > 0 {
		m.report(backends.Contended, "spec."+fieldBlocks, fmt.Sprintf("somebody takes %s %s", join(m.removed), lasting))
	}
	var tags []string
	for _, t := range m.removedTags {
		tags = append(tags, t.String())
	}
	if len(tags) > 0 {
		m.report(backends.Contended, "spec."+fieldTags, fmt.Sprintf("somebody takes %s %s", strings.Join(tags, "; "), lasting))
	}
}
