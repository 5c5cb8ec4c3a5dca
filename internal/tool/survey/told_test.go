package survey_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

var web = types.NamespacedName{Namespace: "shop", Name: "web"}

// TestReadTold: what speakers tell of one Service is the same whether it was read for all of them or not.
func TestReadTold(t *testing.T) {
	c := surveytest.Client(t, surveytest.Shop)
	whole, err := survey.ReadAt(t.Context(), c, surveytest.Namespace, surveytest.At)
	require.NoError(t, err)
	require.NotEmpty(t, whole.L2)
	require.NotEmpty(t, whole.BGP)
	spare := []string{survey.EndpointSlices, survey.ServiceL2Statuses, survey.ServiceBGPStatuses}
	s, err := survey.ReadAt(t.Context(), c, surveytest.Namespace, surveytest.At, spare...)
	require.NoError(t, err)
	assert.Empty(t, s.Slices)
	assert.Empty(t, s.L2)
	assert.Empty(t, s.BGP)
	assert.Equal(t, whole.Services, s.Services)
	m, err := s.Model()
	require.NoError(t, err)
	require.NoError(t, m.ReadTold(t.Context(), c, types.NamespacedName{Namespace: "shop", Name: "other"}))
	assert.Empty(t, m.L2)
	require.NoError(t, m.ReadTold(t.Context(), c, web))
	assert.Equal(t, whole.L2, m.L2)
	assert.Equal(t, whole.BGP, m.BGP)
}

// TestSpareForbidden: that something may not be read is told although it was to be spared.
func TestSpareForbidden(t *testing.T) {
	c := interceptor.NewClient(surveytest.Client(t, surveytest.Shop), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, is := list.(*v1beta1.ServiceL2StatusList); is {
				return forbidden("list", "metallb.io", "servicel2statuses", "")
			}
			return c.List(ctx, list, opts...)
		},
	})
	s, err := survey.ReadAt(t.Context(), c, surveytest.Namespace, surveytest.At, survey.ServiceL2Statuses, survey.ServiceBGPStatuses)
	require.NoError(t, err)
	require.Len(t, s.Gaps, 1)
	assert.Equal(t, "cannot check ServiceL2Statuses: you may not list servicel2statuses.metallb.io", s.Gaps[0].String())
	m, err := s.Model()
	require.NoError(t, err)
	require.NoError(t, m.ReadTold(t.Context(), c, web))
	assert.Empty(t, m.L2)
	assert.NotEmpty(t, m.BGP)
	assert.Len(t, m.Gaps, 1, "it is told once")
}
