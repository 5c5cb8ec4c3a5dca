package config

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// TestReadiness: each reservation says whether it is in force, for which of its generations, and since when; holds say nothing.
func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := desk(t)
		reserve := func(name string, addresses ...string) *v1alpha1.AddressReservation {
			o := &v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name, Generation: 1}}
			o.Spec.Addresses = addresses
			return o
		}
		hold := reserve("hold", "192.0.2.9")
		hold.Spec.HoldAfterDelete = &metav1.Duration{Duration: time.Minute}
		for _, o := range []*v1alpha1.AddressReservation{reserve("good", "192.0.2.7", "2001:db8::7"), reserve("bad", "192.0.2.300"), hold} {
			require.NoError(t, d.Create(t.Context(), o))
		}
		r := reports(t, d, "")
		report := func() {
			t.Helper()
			var list v1alpha1.AddressReservationList
			require.NoError(t, d.List(t.Context(), &list))
			r.report(t.Context(), Build(Objects{Reservations: list.Items}, nil), list.Items, nil)
			pause()
		}
		read := func(name string) (o v1alpha1.AddressReservation, ready, stalled *metav1.Condition) {
			t.Helper()
			require.NoError(t, d.Get(t.Context(), client.ObjectKey{Namespace: "metallb-system", Name: name}, &o))
			all := o.Status.Conditions
			return o, meta.FindStatusCondition(all, conditionReady), meta.FindStatusCondition(all, conditionStalled)
		}
		report()
		_, ready, stalled := read("good")
		require.NotNil(t, ready)
		assert.Equal(t, metav1.ConditionTrue, ready.Status)
		assert.Nil(t, stalled)
		bad, ready, stalled := read("bad")
		assert.Equal(t, metav1.ConditionFalse, ready.Status)
		assert.Contains(t, stalled.Message, "192.0.2.300")
		assert.EqualValues(t, 1, bad.Status.ObservedGeneration)
		held, _, _ := read("hold")
		assert.Empty(t, held.Status)
		before := d.Writes("patch")
		time.Sleep(time.Minute)
		report()
		assert.Equal(t, before, d.Writes("patch"), "nothing has changed")

		good, ready, _ := read("good")
		since := ready.LastTransitionTime
		good.Generation = 2
		require.NoError(t, d.Update(t.Context(), &good))
		bad.Spec.Addresses, bad.Generation = []string{"192.0.2.30"}, 2
		require.NoError(t, d.Update(t.Context(), &bad))
		report()
		good, ready, _ = read("good")
		assert.EqualValues(t, 2, good.Status.ObservedGeneration)
		assert.True(t, since.Equal(&ready.LastTransitionTime), "it is as it was")
		_, ready, stalled = read("bad")
		assert.Equal(t, metav1.ConditionTrue, ready.Status, "mended")
		assert.Nil(t, stalled)

		good.Status.Conditions = append(good.Status.Conditions[:0], metav1.Condition{Type: "theirs", Status: metav1.ConditionTrue})
		require.NoError(t, d.Status().Update(t.Context(), &good))
		pause()
		good, ready, _ = read("good")
		require.NotNil(t, ready, "put right")
		assert.Len(t, good.Status.Conditions, 2)
	})
}
