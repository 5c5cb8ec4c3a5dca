// Package ledger keeps the record of what was written to Calico in the Backend object, where it outlives the controller.
package ledger

import (
	"context"
	"fmt"
	"net/netip"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/internal/controller/apply"
)

// Ledger is the record in a Backend object.
type Ledger struct{ State *apply.State }

var _ calico.Ledger = (*Ledger)(nil)

// Load returns the record of what has been written.
func (l *Ledger) Load(ctx context.Context) (calico.Record, error) {
	status, err := l.State.Status(ctx)
	if err != nil || status == nil {
		return calico.Record{}, err
	}
	owned := &status.Owned
	r := calico.Record{APIVersion: owned.APIVersion, CreatedDefault: owned.CreatedDefault, Objects: owned.Objects}
	for i, p := range owned.Prefixes {
		prefix, err := netip.ParsePrefix(p.Prefix)
		if err != nil {
			return calico.Record{}, fmt.Errorf("backend %q: status.owned.prefixes[%d]: %w", l.State.Name, i, err)
		}
		r.Owned = append(r.Owned, calico.Entry{Prefix: prefix, Pool: p.Pool})
	}
	for i, c := range owned.Communities {
		prefix, err := netip.ParsePrefix(c.Prefix)
		if err != nil {
			return calico.Record{}, fmt.Errorf("backend %q: status.owned.communities[%d]: %w", l.State.Name, i, err)
		}
		r.Tags = append(r.Tags, calico.Tag{Prefix: prefix, Communities: c.Communities})
	}
	if a := owned.Aggregation; a != nil {
		r.Aggregation = &calico.Switched{Before: v3.ServiceLoadBalancerAggregation(a.Before), Set: v3.ServiceLoadBalancerAggregation(a.Set)}
	}
	return r, nil
}

// Save replaces the record.
func (l *Ledger) Save(ctx context.Context, r calico.Record) error {
	return l.State.Update(ctx, func(status *v1alpha1.BackendStatus) {
		status.APIVersion = r.APIVersion
		status.Owned = v1alpha1.OwnedObjects{APIVersion: r.APIVersion, CreatedDefault: r.CreatedDefault, Objects: r.Objects}
		for _, e := range r.Owned {
			status.Owned.Prefixes = append(status.Owned.Prefixes, v1alpha1.OwnedPrefix{Prefix: e.Prefix.String(), Pool: e.Pool})
		}
		for _, t := range r.Tags {
			status.Owned.Communities = append(status.Owned.Communities, v1alpha1.OwnedCommunities{Prefix: t.Prefix.String(),
				Communities: t.Communities})
		}
		if a := r.Aggregation; a != nil {
			status.Owned.Aggregation = &v1alpha1.OwnedAggregation{Before: string(a.Before), Set: string(a.Set)}
		}
	})
}
