package status_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// TestOf: an installation is ready if each of its parts is, and nothing waits.
func TestOf(t *testing.T) {
	served := func(s *survey.Survey) {
		for i := range s.Services {
			for j := range s.Services[i].Status.Conditions {
				s.Services[i].Status.Conditions[j].Status = metav1.ConditionTrue
			}
		}
	}
	gap := func(what string) func(*survey.Survey) {
		return func(s *survey.Survey) {
			s.Gaps = append(s.Gaps, survey.Gap{What: what, Why: "you may not list " + what})
		}
	}
	set := func(desired, ready int32) []appsv1.DaemonSet {
		return []appsv1.DaemonSet{{Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: desired, NumberReady: ready}}}
	}
	calico := func(s *survey.Survey) { s.Controller.Settings["backend"] = "calico" }
	for _, tc := range []struct {
		name    string
		change  []func(*survey.Survey)
		sets    []appsv1.DaemonSet
		ready   bool
		unknown bool
		check   func(*testing.T, *status.Report)
	}{
		{name: "all is well", change: []func(*survey.Survey){served}, sets: set(2, 2), ready: true, check: func(t *testing.T, r *status.Report) {
			assert.Equal(t, status.Controller{State: status.Ready, Version: "1", Replicas: 2, ReadyReplicas: 2, Leader: "pod_1"}, r.Controller)
			assert.Equal(t, &status.Speakers{State: status.Ready, Needed: true, Desired: 2, ReadyPods: 2, Alive: []string{"n1", "n2"}}, r.Speakers)
			assert.Equal(t, status.Pool{Name: "tenants", Family: "IPv4", Capacity: 10}, r.Pools[0])
		}},
		{name: "Services wait", check: func(t *testing.T, r *status.Report) {
			var got []string
			for _, x := range r.Services.Waiting {
				got = append(got, x.Name+" "+x.Reason)
			}
			assert.Equal(t, []string{"lost PoolNotFound", "mail NoEndpoints", "wide AddressInUse"}, got)
		}},
		{name: "it has not been said whether an address is advertised", change: []func(*survey.Survey){served, calico, func(s *survey.Survey) {
			for i := range s.Services {
				meta.RemoveStatusCondition(&s.Services[i].Status.Conditions, "fairlead.io/Advertised")
			}
		}}, sets: set(2, 2), check: func(t *testing.T, r *status.Report) {
			require.NotEmpty(t, r.Services.Waiting)
			assert.Equal(t, "Pending", r.Services.Waiting[0].Reason)
		}},
		{name: "nobody says whether a router hears it", change: []func(*survey.Survey){served, calico, func(s *survey.Survey) {
			for i := range s.Services {
				if c := meta.FindStatusCondition(s.Services[i].Status.Conditions, "fairlead.io/Advertised"); c != nil {
					c.Status, c.Reason = metav1.ConditionUnknown, "SessionsUnknown"
					c.Message = "calico has been told; whether a session carries the IPv4 routes is not known: Calico's nodes are not asked (--calico-session-samples=0)"
				}
			}
		}}, sets: set(2, 2), check: func(t *testing.T, r *status.Report) {
			assert.Empty(t, r.Services.Waiting)
			require.NotEmpty(t, r.Services.Unknown)
			assert.Contains(t, r.Services.Unknown[0].Message, "Calico's nodes are not asked")
			assert.Contains(t, r.Services.UnknownHelp, "set calico.sessionSamples of the chart to 1 to 10")
			assert.Contains(t, r.Services.UnknownHelp, "enable-bgp-control-plane-status-report")
			r.Services.Unknown = nil
			assert.True(t, r.Complete(), "nothing else lacks")
		}},
		{name: "a speaker is not ready", change: []func(*survey.Survey){served}, sets: set(2, 1)},
		{name: "a speaker that nobody needs is not ready", change: []func(*survey.Survey){served, calico}, sets: set(2, 1), ready: true},
		{name: "no speaker says that it runs", change: []func(*survey.Survey){served, func(s *survey.Survey) { s.Leases = nil }}, sets: set(2, 2)},
		{name: "the controller has stopped", change: []func(*survey.Survey){served, func(s *survey.Survey) { s.At = s.At.Add(time.Hour) }}, check: func(t *testing.T, r *status.Report) {
			assert.Equal(t, status.NotReady, r.Controller.State)
			assert.Contains(t, r.Controller.Why, "has not renewed its Lease since 2026-01-02T03:04:00Z")
		}},
		{name: "there is no controller", change: []func(*survey.Survey){served, func(s *survey.Survey) { s.Controller = survey.Controller{} }}, check: func(t *testing.T, r *status.Report) {
			assert.Equal(t, status.NotReady, r.Controller.State)
		}},
		{name: "the controller may not be read", change: []func(*survey.Survey){served, gap("Leases"), gap("Deployments"), func(s *survey.Survey) { s.Controller = survey.Controller{} }}, unknown: true,
			check: func(t *testing.T, r *status.Report) { assert.Equal(t, status.Unknown, r.Controller.State) }},
		{name: "a backend is not ready", change: []func(*survey.Survey){served, func(s *survey.Survey) { s.Backends[0].Status.Conditions[0].Status = metav1.ConditionFalse }}},
		{name: "an object is faulty", change: []func(*survey.Survey){served, func(s *survey.Survey) { s.Config.Pools[1].Spec.Addresses = []string{"x"} }}},
		{name: "Services may not be read", change: []func(*survey.Survey){served, gap("Services")}, unknown: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := status.Of(surveytest.Model(t, surveytest.Shop, tc.change...), tc.sets)
			assert.Equal(t, tc.ready, r.Ready, "%+v", r)
			if tc.unknown {
				require.ErrorIs(t, r.Unknown(), survey.ErrNotReadable)
			} else {
				require.NoError(t, r.Unknown())
			}
			if tc.check != nil {
				tc.check(t, r)
			}
		})
	}
}
