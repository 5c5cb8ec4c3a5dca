package config

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/internal/process/keep"
)

// Conditions of AddressReservations, as kstatus and so GitOps tools know them.
const (
	conditionReady   = "Ready"
	conditionStalled = "Stalled"
	reasonInForce    = "InForce"
)

// readiness keeps the statuses of AddressReservations, by their UIDs. The controller does so; holds, which it makes itself, say nothing.
type readiness = keep.Keeper[types.UID, v1alpha1.AddressReservationStatus, *v1alpha1.AddressReservation]

func (r *reporter) newReadiness(from cache.Cache) *readiness {
	return keep.New(keep.Options[types.UID, v1alpha1.AddressReservationStatus, *v1alpha1.AddressReservation]{
		Client: r.client, Cache: from, Log: r.log, Every: stateEvery, Theirs: true,
		Mine:   func(o *v1alpha1.AddressReservation) bool { return o.Namespace == r.namespace && !Hold(o) },
		Key:    func(o *v1alpha1.AddressReservation) types.UID { return o.UID },
		New:    func(types.UID) *v1alpha1.AddressReservation { return &v1alpha1.AddressReservation{} },
		Status: func(o *v1alpha1.AddressReservation) *v1alpha1.AddressReservationStatus { return &o.Status },
		Fit:    fitReadiness,
	})
}

// setReadiness has each of the reservations that a Snapshot was made from say whether it is in force.
func (r *reporter) setReadiness(s *Snapshot, reservations []v1alpha1.AddressReservation) {
	if r.readiness == nil {
		return
	}
	want := map[types.UID]v1alpha1.AddressReservationStatus{}
	for i := range reservations {
		o := &reservations[i]
		if Hold(o) {
			continue
		}
		faults := slices.DeleteFunc(slices.Clone(s.Faults()), func(f Fault) bool { return f.Object.UID != o.UID })
		want[o.UID] = readinessOf(o.Generation, faults)
	}
	r.readiness.Set(want, nil)
}

// readinessOf returns a status that tells of the faults of its object. Its conditions do not say since when; see fitReadiness.
func readinessOf(generation int64, faults []Fault) v1alpha1.AddressReservationStatus {
	ready := metav1.Condition{
		Type: conditionReady, Status: metav1.ConditionTrue, Reason: reasonInForce, Message: "the addresses are kept",
		ObservedGeneration: generation,
	}
	status := v1alpha1.AddressReservationStatus{ObservedGeneration: generation}
	if len(faults) > 0 {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, reasonConfigFaulty, summary(faults)
		stalled := ready
		stalled.Type, stalled.Status = conditionStalled, metav1.ConditionTrue
		status.Conditions = append(status.Conditions, stalled)
	}
	status.Conditions = append(status.Conditions, ready)
	return status
}

// fitReadiness returns want with conditions that say since when they are as they are, and with all of is that is somebody else's.
func fitReadiness(is, want v1alpha1.AddressReservationStatus) v1alpha1.AddressReservationStatus {
	out := *is.DeepCopy()
	out.ObservedGeneration = want.ObservedGeneration
	if meta.FindStatusCondition(want.Conditions, conditionStalled) == nil {
		meta.RemoveStatusCondition(&out.Conditions, conditionStalled)
	}
	for _, c := range want.Conditions {
		meta.SetStatusCondition(&out.Conditions, c)
	}
	return out
}
