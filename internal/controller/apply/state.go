package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/text"
)

// ErrTaken: another installation delegates to this CNI.
var ErrTaken = errors.New("the CNI is taken")

// annotationInstallation tells which installation, by its namespace, a Backend object belongs to.
const annotationInstallation = backends.LabelInstallation

// Condition and reasons of Backend objects. The other conditions are the types of findings (backends.FindingType).
const (
	ConditionReady     = "Ready"
	reasonApplied      = "Applied"
	reasonApplyFailed  = "ApplyFailed"
	reasonNotInstalled = "NotInstalled"
	reasonNotDetected  = "NotDetected"
	reasonIncomplete   = "Incomplete" // some of what is wanted is not there, or nobody acts on it
	reasonFound        = "Found"      // of the conditions that findings make
	reasonNotHeard     = "NotHeard"   // of HandingOver
)

// State is a Backend object: the public face of a backend. A backend that has to know what it has written keeps its record there, too.
type State struct {
	// Client must read from the API server, not from a cache: the record decides what may be removed.
	Client       client.Client
	Name         string
	Installation string // namespace of the installation
}

var _ Reporter = (*State)(nil)

// Report keeps the conditions and what was detected. outcome is nil if the CNI was not reached.
func (s *State) Report(ctx context.Context, serves []string, outcome *backends.Outcome, err error) error {
	return s.Update(ctx, func(status *v1alpha1.BackendStatus) {
		status.Serves = serves
		c := metav1.Condition{Type: ConditionReady, Status: metav1.ConditionTrue, Reason: reasonApplied, Message: "everything wanted is in place"}
		switch lacks := lacking(outcome); {
		case err != nil:
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonOf(err), message(err)
		case lacks != "":
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonIncomplete, lacks
		}
		meta.SetStatusCondition(&status.Conditions, c)
		if outcome == nil {
			return
		}
		status.APIVersion = outcome.APIVersion
		status.Detected = nil
		for _, f := range outcome.Facts {
			status.Detected = append(status.Detected, v1alpha1.DetectedFact{Name: f.Name, Value: f.Value, Source: f.Source})
		}
		if status.Owned.APIVersion == "" { // else it is the backend's own record
			status.Owned.Objects = outcome.Owned
		}
		setFindings(&status.Conditions, outcome.Findings)
	})
}

// Waits has the object say why the backend goes on with what another one is to have. One that has no object has nothing to go on with. The
// next Report takes the condition away.
func (s *State) Waits(ctx context.Context, message string) (goesOn bool, err error) {
	if o, err := s.get(ctx); err != nil || o == nil {
		if errors.Is(err, ErrTaken) {
			return false, nil // it is another installation's
		}
		return false, err
	}
	return true, s.Update(ctx, func(status *v1alpha1.BackendStatus) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: string(backends.HandingOver), Status: metav1.ConditionTrue, Reason: reasonNotHeard,
			Message: text.Cut("goes on until another backend is heard. "+message, text.MaxMessage),
		})
		sortConditions(status.Conditions)
	})
}

// lacking says what of that which is wanted is not there, or has nobody who acts on it; empty if nothing is known to be lacking.
func lacking(o *backends.Outcome) string {
	if o == nil {
		return ""
	}
	var all []string
	for _, f := range o.Findings {
		if f.Missing || f.Type == backends.BackendInactive || f.Type == backends.ConfigFrozen {
			all = append(all, f.String())
		}
	}
	return text.Cut(strings.Join(all, "; "), text.MaxMessage)
}

// setFindings makes one condition of all findings of a type, and drops those of types that there are none of any more.
func setFindings(conditions *[]metav1.Condition, findings []backends.Finding) {
	messages := map[string][]string{}
	for _, f := range findings {
		messages[string(f.Type)] = append(messages[string(f.Type)], f.String())
	}
	*conditions = slices.DeleteFunc(*conditions, func(c metav1.Condition) bool { return c.Type != ConditionReady && messages[c.Type] == nil })
	for kind, all := range messages {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: reasonFound, Message: text.Cut(strings.Join(all, "; "), text.MaxMessage),
		})
	}
	sortConditions(*conditions)
}

func sortConditions(all []metav1.Condition) {
	slices.SortFunc(all, func(a, b metav1.Condition) int { return strings.Compare(order(a.Type), order(b.Type)) })
}

// order has Ready come first.
func order(condition string) string {
	if condition == ConditionReady {
		return ""
	}
	return condition
}

// Forget deletes the object, once nothing is owned any more.
func (s *State) Forget(ctx context.Context) error {
	o, err := s.get(ctx)
	if errors.Is(err, ErrTaken) {
		return nil // nothing of ours
	}
	if err != nil || o == nil {
		return err
	}
	if r := &o.Status.Owned; r.APIVersion != "" && len(r.Prefixes)+len(r.Communities)+len(r.Objects) > 0 {
		return fmt.Errorf("backend %q still owns %d prefixes and %d objects", s.Name, len(r.Prefixes), len(r.Objects))
	}
	err = s.Client.Delete(ctx, o, client.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion})
	return client.IgnoreNotFound(err)
}

// Status returns the status of the object, nil if there is none; an object that belongs to another installation is an error.
func (s *State) Status(ctx context.Context) (*v1alpha1.BackendStatus, error) {
	o, err := s.get(ctx)
	if err != nil || o == nil {
		return nil, err
	}
	return &o.Status, nil
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
		return nil, fmt.Errorf("%w: backend %q belongs to the installation in namespace %q, not to that in %q; only one can write to this CNI",
			ErrTaken, s.Name, owner, s.Installation)
	}
	return &o, nil
}

// Update changes the status of the object, which it makes if there is none. It writes nothing if nothing changes.
func (s *State) Update(ctx context.Context, change func(*v1alpha1.BackendStatus)) error {
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
		"serves": s.Serves, "apiVersion": s.APIVersion, "detected": s.Detected, "conditions": s.Conditions,
		"owned": map[string]any{
			"apiVersion": s.Owned.APIVersion, "createdDefault": s.Owned.CreatedDefault, "prefixes": s.Owned.Prefixes,
			"communities": s.Owned.Communities, "aggregation": s.Owned.Aggregation, "objects": s.Owned.Objects,
		},
	}
}
