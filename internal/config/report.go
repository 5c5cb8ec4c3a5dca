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
	"github.com/fairlead/fairlead/internal/text"
)

// The ConfigurationStates of the controller and the speakers, as MetalLB names them.
const (
	controllerState    = "controller"
	stateComponent     = "metallb.io/component-type"
	stateNode          = "metallb.io/node-name"
	conditionPools     = "poolReconcilerValid"
	conditionConfig    = "configReconcilerValid"
	reasonReconciled   = "Reconciled"
	reasonConfigFaulty = "ConfigurationError"

	// EventConfigurationError is the reason of the event on a faulty object.
	EventConfigurationError = "ConfigurationError"
)

// SpeakerState returns the name of the ConfigurationState of the speaker on a node.
func SpeakerState(node string) string { return "speaker-" + node }

// reporter tells of faults: in the log and by an event on the object when a fault is new, and in the ConfigurationState.
type reporter struct {
	client    client.Client
	namespace string
	node      string               // of the speaker; empty for the controller
	recorder  events.EventRecorder // nil: no events
	log       *slog.Logger
	told      []Fault
}

func (r *reporter) report(ctx context.Context, s *Snapshot) error {
	for _, f := range s.Faults() {
		if slices.Contains(r.told, f) {
			continue
		}
		r.log.Warn("faulty configuration", "object", f.Object.String(), "field", f.Field, "err", f.Problem, "lastValidInForce", f.LastValid)
		if r.recorder == nil {
			continue
		}
		r.recorder.Eventf(f.Object.Reference(), nil, corev1.EventTypeWarning, EventConfigurationError, "Validate", "%s", f.Message())
	}
	r.told = s.Faults()
	if err := r.writeReservations(ctx, s); err != nil {
		return err
	}
	return r.writeState(ctx, s)
}

func (r *reporter) writeState(ctx context.Context, s *Snapshot) error {
	var state v1beta1.ConfigurationState
	key, labels := types.NamespacedName{Namespace: r.namespace, Name: controllerState}, map[string]string{stateComponent: "controller"}
	if r.node != "" {
		key.Name, labels = SpeakerState(r.node), map[string]string{stateComponent: "speaker", stateNode: r.node}
	}
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
	setState(want, s.Faults())
	if equality.Semantic.DeepEqual(state.Status, want.Status) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": state.ResourceVersion}, "status": want.Status,
	})
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
