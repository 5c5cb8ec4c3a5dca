package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/process/cli"
)

// TestAtWork: an installation works if its Lease is held and its configuration is valid; else it is said what is missing.
func TestAtWork(t *testing.T) {
	now := time.Now()
	lease := func(holder string, age time.Duration) client.Object {
		renewed := metav1.NewMicroTime(now.Add(-age))
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: leaseName},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &renewed},
		}
	}
	state := func(name string, result v1beta1.ConfigurationResult) client.Object {
		return &v1beta1.ConfigurationState{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name},
			Status:     v1beta1.ConfigurationStateStatus{Result: result, ErrorSummary: "pool a"},
		}
	}
	const nobody, unread = `no controller holds the Lease fairlead-controller in namespace "metallb-system"`, "one has not read the configuration yet"
	for _, c := range []struct {
		name    string
		objects []client.Object
		want    string
	}{
		{"nothing", nil, nobody},
		{"a Lease that was given back", []client.Object{lease("", 0)}, nobody},
		{"a Lease that ran out", []client.Object{lease("one", time.Minute), state("controller", v1beta1.ConfigurationValid)}, nobody},
		{"no configuration", []client.Object{lease("one", 0)}, unread},
		{"only that of a speaker", []client.Object{lease("one", 0), state("speaker-n1", v1beta1.ConfigurationValid)}, unread},
		{"not known yet", []client.Object{lease("one", 0), state("controller", v1beta1.ConfigurationUnknown)}, unread},
		{"faulty", []client.Object{lease("one", 0), state("controller", v1beta1.ConfigurationInvalid)}, "the configuration is faulty: pool a"},
		{"valid", []client.Object{lease("one", 2*time.Second), state("controller", v1beta1.ConfigurationValid)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			reader := fake.NewClientBuilder().WithScheme(cli.NewScheme()).WithObjects(c.objects...).Build()
			leader, err := atWork(t.Context(), reader, "metallb-system", now)
			if c.want != "" {
				require.EqualError(t, err, c.want)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "one", leader)
		})
	}
}
