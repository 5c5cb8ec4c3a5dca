package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends/calico"
)

// annotationInstallation tells which installation, by its namespace, a Backend object belongs to.
const annotationInstallation = "fairlead.io/installation"

// Condition and reasons of Backend objects.
const (
	ConditionReady     = "Ready"
	ReasonApplied      = "Applied"
	ReasonApplyFailed  = "ApplyFailed"
	ReasonNotInstalled = "NotInstalled"
)

// maxMessage is the most that a condition's message may hold.
const maxMessage = 32768

// State is a Backend object: the public face of a backend, and the durable record of what it has written.
type State struct {
	// Client must read from the API server, not from a cache: the record decides what may be removed.
	Client       client.Client
	Name         string
	Installation string // namespace of the installation
	Serves       []string
}

var (
	_ calico.Ledger = (*State)(nil)
	_ Reporter      = (*State)(nil)
)

// Load returns the record of what has been written.
func (s *State) Load(ctx context.Context) (calico.Record, error) {
	o, err := s.get(ctx)
	if err != nil || o == nil {
		return calico.Record{}, err
	}
	r := calico.Record{APIVersion: o.Status.Owned.APIVersion, CreatedDefault: o.Status.Owned.CreatedDefault}
	for _, p := range o.Status.Owned.Prefixes {
		prefix, err := netip.ParsePrefix(p.Prefix)
		if err != nil {
			return calico.Record{}, fmt.Errorf("backend %q: status.owned.prefixes: %w", s.Name, err)
		}
		r.Owned = append(r.Owned, calico.Entry{Prefix: prefix, Pool: p.Pool})
	}
	return r, nil
}

// Save replaces the record.
func (s *State) Save(ctx context.Context, r calico.Record) error {
	return s.update(ctx, func(status *v1alpha1.BackendStatus) {
		status.APIVersion = r.APIVersion
		status.Owned = v1alpha1.OwnedObjects{APIVersion: r.APIVersion, CreatedDefault: r.CreatedDefault}
		for _, e := range r.Owned {
			status.Owned.Prefixes = append(status.Owned.Prefixes, v1alpha1.OwnedPrefix{Prefix: e.Prefix.String(), Pool: e.Pool})
		}
	})
}

// Report keeps the condition Ready.
func (s *State) Report(ctx context.Context, err error) error {
	return s.update(ctx, func(status *v1alpha1.BackendStatus) {
		c := metav1.Condition{Type: ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonApplied}
		c.Message = fmt.Sprintf("%d prefixes of ours are in place", len(status.Owned.Prefixes))
		if err != nil {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonOf(err), message(err)
		}
		meta.SetStatusCondition(&status.Conditions, c)
	})
}

// Remove deletes the object, once nothing is owned any more.
func (s *State) Remove(ctx context.Context) error {
	o, err := s.get(ctx)
	if err != nil || o == nil {
		return err
	}
	if n := len(o.Status.Owned.Prefixes); n > 0 || o.Status.Owned.CreatedDefault {
		return fmt.Errorf("backend %q still owns %d prefixes", s.Name, n)
	}
	err = s.Client.Delete(ctx, o, client.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion})
	return client.IgnoreNotFound(err)
}

// get returns the object, nil if there is none; one that belongs to another installation is an error.
func (s *State) get(ctx context.Context) (*v1alpha1.Backend, error) {
	var o v1alpha1.Backend
	if err := s.Client.Get(ctx, types.NamespacedName{Name: s.Name}, &o); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read backend %q: %w", s.Name, err)
	}
	if owner := o.Annotations[annotationInstallation]; owner != s.Installation {
		return nil, fmt.Errorf("backend %q belongs to the installation in namespace %q, not to that in %q; only one can write to this CNI",
			s.Name, owner, s.Installation)
	}
	return &o, nil
}

func (s *State) update(ctx context.Context, change func(*v1alpha1.BackendStatus)) error {
	o, err := s.get(ctx)
	if err != nil {
		return err
	}
	if o == nil {
		o = &v1alpha1.Backend{ObjectMeta: metav1.ObjectMeta{
			Name: s.Name, Annotations: map[string]string{annotationInstallation: s.Installation},
		}}
		if err := s.Client.Create(ctx, o); err != nil {
			return fmt.Errorf("create backend %q: %w", s.Name, err)
		}
	}
	want := o.DeepCopy()
	want.Status.Serves = s.Serves
	change(&want.Status)
	if equality.Semantic.DeepEqual(o.Status, want.Status) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.ResourceVersion}, "status": statusPatch(want.Status),
	})
	if err != nil {
		return fmt.Errorf("encode the status of backend %q: %w", s.Name, err)
	}
	if err := s.Client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("write the status of backend %q: %w", s.Name, err)
	}
	return nil
}

// statusPatch spells out empty fields, which a merge patch would otherwise leave as they are.
func statusPatch(s v1alpha1.BackendStatus) map[string]any {
	return map[string]any{
		"serves": s.Serves, "apiVersion": s.APIVersion, "conditions": s.Conditions,
		"owned": map[string]any{
			"apiVersion": s.Owned.APIVersion, "createdDefault": s.Owned.CreatedDefault, "prefixes": s.Owned.Prefixes,
		},
	}
}
