// Package rehearse has the backends that write a CNI's objects do their work on a copy of the cluster, and tells what they would write
// and what they find. Nothing is written to the cluster.
package rehearse

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/controller/ledger"
	"github.com/fairlead/fairlead/internal/service"
)

// Options are what a Stage needs.
type Options struct {
	Discovery discovery.DiscoveryInterface
	Dynamic   dynamic.Interface
	// Client reads the Backend objects.
	Client client.Client
	// Installation is the namespace of the installation.
	Installation string
	// Aggregation, AllowWider and CiliumNamespace are the controller's flags; empty ones are the defaults.
	Aggregation     string
	AllowWider      bool
	CiliumNamespace string
}

// Stage is where one backend rehearses.
type Stage struct {
	cluster *Cluster
	backend backends.ClusterBackend
	outcome *backends.Outcome
}

// Backends are the names of those that write a CNI's objects.
var Backends = []string{delegate.Calico, delegate.Cilium}

// New returns a Stage for a backend by its name.
func New(name string, o Options) (*Stage, error) {
	s := &Stage{cluster: newCluster(o.Dynamic)}
	report := func(out backends.Outcome) { s.outcome = &out }
	switch name {
	case delegate.Calico:
		book := &once{ledger: ledger.Ledger{State: &apply.State{Client: o.Client, Name: name, Installation: o.Installation}}}
		s.backend = calico.New(calico.Config{
			Discovery: o.Discovery, Client: s.cluster, Ledger: book, Installation: o.Installation, FieldManager: service.FieldManager,
			Aggregation: calico.Aggregation(o.Aggregation), AllowWider: o.AllowWider, Report: report,
		})
	case delegate.Cilium:
		s.backend = cilium.New(cilium.Config{
			Discovery: o.Discovery, Client: s.cluster, Namespace: o.CiliumNamespace, Installation: o.Installation,
			FieldManager: service.FieldManager, AllowWider: o.AllowWider, Report: report,
		})
	default:
		return nil, fmt.Errorf("backend %q writes no objects of a CNI", name)
	}
	return s, nil
}

// Result is what became of a rehearsal.
type Result struct {
	Writes []Write
	// Outcome is nil if the CNI was not reached.
	Outcome *backends.Outcome
	// Steps is set if the backend would go on once what it has written has taken effect.
	Steps bool
}

// Apply has the backend make want so, and returns what it wrote since the Apply before.
func (s *Stage) Apply(ctx context.Context, want backends.Desired) (Result, error) {
	s.outcome = nil
	s.cluster.Mark()
	err := s.backend.Apply(ctx, want)
	r := Result{Writes: s.cluster.Writes(), Outcome: s.outcome, Steps: errors.Is(err, backends.ErrInProgress)}
	if r.Steps {
		err = nil
	}
	return r, err
}

// once reads the record of the real backend once, then keeps it to itself.
type once struct {
	ledger ledger.Ledger
	loaded bool
	record calico.Record
}

// Load returns the record.
func (l *once) Load(ctx context.Context) (calico.Record, error) {
	if !l.loaded {
		r, err := l.ledger.Load(ctx)
		if err != nil {
			return calico.Record{}, err
		}
		l.record, l.loaded = r, true
	}
	return l.record, nil
}

// Save keeps the record.
func (l *once) Save(_ context.Context, r calico.Record) error {
	l.record, l.loaded = r, true
	return nil
}
