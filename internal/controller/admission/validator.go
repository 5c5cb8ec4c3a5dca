package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/config"
)

// disableMPWarning is what a user of the field hears.
const disableMPWarning = "spec.disableMP is deprecated and has no effect: remove it, or see dualStackAddressFamily"

// validator answers the API server.
type validator struct {
	cache     client.Reader
	namespace string
	log       *slog.Logger
}

// Handle refuses an object that is faulty, or that makes another one faulty. What it cannot judge it lets pass, with a warning.
func (v *validator) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation == admissionv1.Create && req.Namespace != v.namespace {
		return admission.Denied(fmt.Sprintf("%s objects are read in namespace %q only: create it there", req.Kind.Kind, v.namespace))
	}
	if req.Namespace != v.namespace {
		return admission.Allowed("")
	}
	var refusal string
	var warnings []string
	var err error
	switch req.Operation {
	case admissionv1.Create, admissionv1.Update:
		refusal, warnings, err = v.judge(ctx, req)
	case admissionv1.Delete:
		if req.Kind.Kind == "BFDProfile" {
			refusal, err = v.inUse(ctx, req.Name)
		}
	}
	if err != nil {
		v.log.Warn("admission not judged", "object", req.Kind.Kind+" "+req.Namespace+"/"+req.Name, "err", err)
		return admission.Allowed("").WithWarnings("not validated: " + err.Error())
	}
	if refusal != "" {
		return admission.Denied(refusal).WithWarnings(warnings...)
	}
	return admission.Allowed("").WithWarnings(warnings...)
}

// judge returns why an object is refused, or "".
func (v *validator) judge(ctx context.Context, req admission.Request) (refusal string, warnings []string, err error) {
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(req.Object.Raw, &o.Object); err != nil {
		return "", nil, fmt.Errorf("decode the object: %w", err)
	}
	if mp, _, _ := unstructured.NestedBool(o.Object, "spec", "disableMP"); mp && req.Kind.Kind == "BGPPeer" {
		warnings = append(warnings, disableMPWarning)
	}
	if req.Operation == admissionv1.Update {
		old := &unstructured.Unstructured{}
		if err := json.Unmarshal(req.OldObject.Raw, &old.Object); err != nil {
			return "", nil, fmt.Errorf("decode the old object: %w", err)
		}
		// A faulty object that is stored already must not be kept from getting or losing a finalizer.
		same := equality.Semantic.DeepEqual(o.Object["spec"], old.Object["spec"]) && equality.Semantic.DeepEqual(o.GetLabels(), old.GetLabels())
		if same || o.GetDeletionTimestamp() != nil {
			return "", warnings, nil
		}
	}
	objects, err := config.List(ctx, v.cache, v.namespace)
	if err != nil {
		return "", nil, err
	}
	// What is in force now counts as unchanged, so that of two objects that contradict each other the incoming one is refused.
	before := config.Build(objects, nil)
	if err := place(&objects, req.Kind.Kind, req.Object.Raw); err != nil {
		return fmt.Sprintf("the object cannot be read: %s", err), warnings, nil
	}
	return strings.Join(refusals(before, config.Build(objects, before), req.Kind.Kind, o.GetName()), "; "), warnings, nil
}

// refusals returns the faults of the incoming object, and those that it brings to others. A reference to something that does not
// exist is none: objects may come in any order.
func refusals(before, after *config.Snapshot, kind, name string) []string {
	type fault struct {
		object         config.Ref
		field, problem string
	}
	known := map[fault]bool{}
	for _, f := range before.Faults() {
		known[fault{f.Object, f.Field, f.Problem}] = true
	}
	var out []string
	for _, f := range after.Faults() {
		switch {
		case f.Missing:
		case f.Object.Kind == kind && f.Object.Name == name:
			out = append(out, f.Field+": "+f.Problem)
		case !known[fault{f.Object, f.Field, f.Problem}]:
			out = append(out, fmt.Sprintf("%s: %s: %s", f.Object, f.Field, f.Problem))
		}
	}
	return out
}

// inUse returns which peers use a BFDProfile.
func (v *validator) inUse(ctx context.Context, profile string) (string, error) {
	objects, err := config.List(ctx, v.cache, v.namespace)
	if err != nil {
		return "", err
	}
	var users []string
	for _, p := range objects.BGPPeers {
		if p.Spec.BFDProfile == profile {
			users = append(users, fmt.Sprintf("%q", p.Name))
		}
	}
	if len(users) == 0 {
		return "", nil
	}
	slices.Sort(users)
	return fmt.Sprintf("BFDProfile %q is used by BGPPeer %s: remove spec.bfdProfile there first", profile, strings.Join(users, ", ")), nil
}

// place puts the incoming object among the current ones.
func place(o *config.Objects, kind string, raw []byte) error {
	var err error
	switch kind {
	case "IPAddressPool":
		o.Pools, err = put[v1beta1.IPAddressPool](o.Pools, raw)
	case "BGPAdvertisement":
		o.BGPAdvertisements, err = put[v1beta1.BGPAdvertisement](o.BGPAdvertisements, raw)
	case "L2Advertisement":
		o.L2Advertisements, err = put[v1beta1.L2Advertisement](o.L2Advertisements, raw)
	case "Community":
		o.Communities, err = put[v1beta1.Community](o.Communities, raw)
	case "BFDProfile":
		o.BFDProfiles, err = put[v1beta1.BFDProfile](o.BFDProfiles, raw)
	case "AddressReservation":
		o.Reservations, err = put[v1alpha1.AddressReservation](o.Reservations, raw)
	case "BGPPeer": // v1beta1 has the same shape
		if o.BGPPeers, err = put[v1beta2.BGPPeer](o.BGPPeers, raw); err == nil {
			name := o.BGPPeers[len(o.BGPPeers)-1].Name
			o.Unreadable = slices.DeleteFunc(o.Unreadable, func(f config.Fault) bool { return f.Object.Name == name })
		}
	}
	return err
}

// put decodes an object to the end of a list, in place of the one with its name.
func put[T any, P interface {
	*T
	client.Object
}](in []T, raw []byte) ([]T, error) {
	var o T
	if err := json.Unmarshal(raw, &o); err != nil {
		return in, err
	}
	name := P(&o).GetName()
	in = slices.DeleteFunc(in, func(other T) bool { return P(&other).GetName() == name })
	return append(in, o), nil
}
