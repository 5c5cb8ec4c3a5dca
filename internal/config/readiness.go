package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Conditions of AddressReservations, as kstatus and so GitOps tools know them.
const (
	conditionReady   = "Ready"
	conditionStalled = "Stalled"
	reasonInForce    = "InForce"
)

// writeReservations has every reservation say whether it is in force. The controller does so; holds, which it makes itself, say
// nothing.
func (r *reporter) writeReservations(ctx context.Context, s *Snapshot) error {
	if r.node != "" {
		return nil
	}
	var all v1alpha1.AddressReservationList
	if err := r.client.List(ctx, &all, client.InNamespace(r.namespace)); err != nil {
		return fmt.Errorf("list the AddressReservations: %w", err)
	}
	var failed []error
	for i := range all.Items {
		o := &all.Items[i]
		if Hold(o) {
			continue
		}
		want := o.Status.DeepCopy()
		setReadiness(want, o.Generation, slices.DeleteFunc(slices.Clone(s.Faults()), func(f Fault) bool { return f.Object.UID != o.UID }))
		if equality.Semantic.DeepEqual(o.Status, *want) {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": o.ResourceVersion}, "status": want})
		if err != nil {
			return fmt.Errorf("encode the status of an AddressReservation: %w", err)
		}
		if err := r.client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("write the status of AddressReservation %q: %w", o.Name, err))
		}
	}
	return errors.Join(failed...)
}

// setReadiness makes a status tell of the faults of its object.
func setReadiness(status *v1alpha1.AddressReservationStatus, generation int64, faults []Fault) {
	status.ObservedGeneration = generation
	ready := metav1.Condition{Type: conditionReady, Status: metav1.ConditionTrue, Reason: reasonInForce, Message: "the addresses are kept", ObservedGeneration: generation}
	if len(faults) == 0 {
		meta.RemoveStatusCondition(&status.Conditions, conditionStalled)
	} else {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, reasonConfigFaulty, summary(faults)
		stalled := ready
		stalled.Type, stalled.Status = conditionStalled, metav1.ConditionTrue
		meta.SetStatusCondition(&status.Conditions, stalled)
	}
	meta.SetStatusCondition(&status.Conditions, ready)
}
