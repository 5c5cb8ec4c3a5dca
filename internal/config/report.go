package config

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/text"
)

// The ConfigurationStates of the controller and the speakers, as MetalLB names them.
const (
	controllerState    = "controller"
	stateComponent     = "metallb.io/component-type"
	conditionPools     = "poolReconcilerValid"
	conditionConfig    = "configReconcilerValid"
	reasonReconciled   = "Reconciled"
	reasonConfigFaulty = "ConfigurationError"

	// eventConfigurationError is the reason of the event on a faulty object.
	eventConfigurationError = "ConfigurationError"
)

// SpeakerState returns the name of the ConfigurationState of the speaker on a node: "speaker-" and the name of the node, cut and with its
// hash if that is too long.
func SpeakerState(node string) string {
	const longest = 253
	name := "speaker-" + node
	if len(name) > longest {
		hash := backends.Hash(node)
		name = strings.TrimRight(name[:longest-1-len(hash)], "-.") + "-" + hash
	}
	return name
}

// reporter tells of faults: in the log and by an event on the object when a fault is new, and in the ConfigurationState.
type reporter struct {
	client    client.Client
	namespace string
	node      string               // of the speaker; empty for the controller
	recorder  events.EventRecorder // nil: no events
	log       *slog.Logger
	told      []Fault
	remarked  []Remark
	about     func(context.Context, []Fault) []Fault // of all faults those that the state is about; nil: all
}

// state returns where the ConfigurationState is, and its labels.
func (r *reporter) state() (types.NamespacedName, map[string]string) {
	if r.node == "" {
		return types.NamespacedName{Namespace: r.namespace, Name: controllerState}, map[string]string{stateComponent: "controller"}
	}
	return types.NamespacedName{Namespace: r.namespace, Name: SpeakerState(r.node)},
		map[string]string{stateComponent: "speaker", presence.LabelNode: backends.LabelValue(r.node)}
}

func (r *reporter) report(ctx context.Context, s *Snapshot, remarks []Remark) error {
	for _, f := range s.Faults() {
		if slices.Contains(r.told, f) {
			continue
		}
		r.log.Warn("faulty configuration", "object", f.Object.String(), "field", f.Field, "err", f.Problem, "lastValidInForce", f.LastValid)
		if r.recorder == nil {
			continue
		}
		r.recorder.Eventf(f.Object.Reference(), nil, corev1.EventTypeWarning, eventConfigurationError, "Validate", "%s", f.Message())
	}
	r.told = s.Faults()
	for _, x := range remarks {
		if slices.Contains(r.remarked, x) {
			continue
		}
		r.log.Warn("configuration to be looked at", "object", x.Object.String(), "reason", x.Reason, "err", x.Message)
		if r.recorder != nil {
			r.recorder.Eventf(x.Object.Reference(), nil, corev1.EventTypeWarning, x.Reason, "Validate", "%s", x.Message)
		}
	}
	r.remarked = remarks
	if err := r.writeReservations(ctx, s); err != nil {
		return err
	}
	return r.writeState(ctx, s)
}

func (r *reporter) writeState(ctx context.Context, s *Snapshot) error {
	var state v1beta1.ConfigurationState
	faults := s.Faults()
	if r.about != nil {
		faults = r.about(ctx, faults)
	}
	key, labels := r.state()
	err := r.client.Get(ctx, key, &state)
	if apierrors.IsNotFound(err) {
		state = v1beta1.ConfigurationState{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, Labels: labels,
		}}
		err = r.client.Create(ctx, &state)
	}
	if err != nil {
		return fmt.Errorf("configuration state %s: %w", key, err)
	}
	want := state.DeepCopy()
	setState(want, faults)
	if r.node == "" {
		setRemarks(want, r.remarked)
	}
	if equality.Semantic.DeepEqual(state.Status, want.Status) {
		return nil
	}
	status := map[string]any{"result": want.Status.Result, "errorSummary": want.Status.ErrorSummary, "conditions": want.Status.Conditions}
	if want.Status.ErrorSummary == "" {
		status["errorSummary"] = nil // a merge patch keeps what it does not name
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": state.ResourceVersion}, "status": status})
	if err != nil {
		return fmt.Errorf("encode the configuration state: %w", err)
	}
	if err := r.client.Status().Patch(ctx, &state, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("write configuration state %s: %w", key, err)
	}
	return nil
}

// setState makes the status tell of faults.
func setState(state *v1beta1.ConfigurationState, faults []Fault) {
	state.Status.Result, state.Status.ErrorSummary = v1beta1.ConfigurationValid, summary(faults)
	if len(faults) > 0 {
		state.Status.Result = v1beta1.ConfigurationInvalid
	}
	for _, c := range []struct {
		name string
		mine func(Fault) bool
	}{
		{conditionPools, func(f Fault) bool { return f.Object.Kind == "IPAddressPool" }},
		{conditionConfig, func(f Fault) bool { return f.Object.Kind != "IPAddressPool" }},
	} {
		mine := slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return !c.mine(f) })
		condition := metav1.Condition{Type: c.name, Status: metav1.ConditionTrue, Reason: reasonReconciled, Message: summary(mine)}
		if len(mine) > 0 {
			condition.Status, condition.Reason = metav1.ConditionFalse, reasonConfigFaulty
		}
		meta.SetStatusCondition(&state.Status.Conditions, condition)
	}
}

func summary(faults []Fault) string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
	}
	return text.Cut(strings.Join(lines, "\n"), text.MaxMessage)
}
