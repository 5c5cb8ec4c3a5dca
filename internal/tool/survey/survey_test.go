package survey_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

func forbidden(verb, group, resource, namespace string) error {
	e := apierrors.NewForbidden(schema.GroupResource{Group: group, Resource: resource}, "", errors.New(`User "bob" cannot `+verb+` resource "`+resource+`"`+namespace))
	return e
}

// TestPartial: what may not be read is a gap, and the rest is there.
func TestPartial(t *testing.T) {
	c := interceptor.NewClient(surveytest.Client(t, surveytest.Shop), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			switch list.(type) {
			case *corev1.NodeList:
				return forbidden("list", "", "nodes", " in API group \"\" at the cluster scope")
			case *v1alpha1.BGPSessionList:
				return &meta.NoKindMatchError{GroupKind: v1alpha1.GroupVersion.WithKind("BGPSession").GroupKind()}
			}
			return c.List(ctx, list, opts...)
		},
	})
	s, err := survey.Read(t.Context(), c, surveytest.Namespace)
	require.NoError(t, err)
	var gaps []string
	for _, g := range s.Gaps {
		gaps = append(gaps, g.String())
	}
	assert.Equal(t, []string{"cannot check Nodes: you may not list nodes", "cannot check BGPSessions: the API server does not have them"}, gaps)
	assert.Len(t, s.Services, 4)
	assert.Len(t, s.Config.Pools, 3)
	_, err = s.Model()
	assert.NoError(t, err)
}

// TestNeed: without permission nothing certain is told; a kind that does not exist has no objects.
func TestNeed(t *testing.T) {
	s := &survey.Survey{Gaps: []survey.Gap{{What: "Services", Why: "you may not list services"}, {What: "Nodes", Why: "you may not list nodes"}, {What: "BGPPeers", Missing: true}}}
	require.NoError(t, s.Need("IPAddressPools", "BGPPeers"))
	err := s.Need("Services", "BGPPeers")
	require.ErrorIs(t, err, survey.ErrNotReadable)
	assert.ErrorContains(t, err, "you may not list services; ask for these permissions")
}

// TestBroken: an API server that does not answer is an error, not a gap.
func TestBroken(t *testing.T) {
	c := interceptor.NewClient(surveytest.Client(t), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("connection refused")
		},
	})
	_, err := survey.Read(t.Context(), c, surveytest.Namespace)
	require.ErrorContains(t, err, "connection refused")
	_, err = survey.FindNamespace(t.Context(), c, "", survey.DefaultNamespace)
	require.ErrorContains(t, err, "look for IPAddressPools: connection refused")
}

func TestGapOf(t *testing.T) {
	g := survey.GapOf("EndpointSlices", forbidden("list", "discovery.k8s.io", "endpointslices", ` in API group "discovery.k8s.io" in the namespace "shop"`))
	assert.Equal(t, `cannot check EndpointSlices: you may not list endpointslices.discovery.k8s.io in namespace "shop"`, g.String())
}

func TestFindNamespace(t *testing.T) {
	pool := func(ns string) []byte {
		return []byte("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: " + ns + "}\nspec: {addresses: [192.0.2.0/24]}\n")
	}
	lease := func(ns string) []byte {
		return []byte("apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: fairlead-controller, namespace: " + ns + "}\n")
	}
	for _, tc := range []struct {
		name      string
		manifests [][]byte
		near      string
		want      string
		ambiguous bool
	}{
		{name: "nothing", want: survey.DefaultNamespace},
		{name: "one", manifests: [][]byte{pool("lb")}, want: "lb"},
		{name: "two, one is led", manifests: [][]byte{pool("lb"), pool("other"), lease("other")}, want: "other"},
		{name: "two, both led", manifests: [][]byte{pool("lb"), pool("other"), lease("other"), lease("lb")}, ambiguous: true},
		{name: "two, one is named", manifests: [][]byte{pool("lb"), pool("other"), lease("other"), lease("lb")}, near: "lb", want: "lb"},
		{name: "one, and another namespace is named", manifests: [][]byte{pool("lb")}, near: "shop", want: "lb"},
		{name: "nothing, and a namespace is named", near: "shop", want: survey.DefaultNamespace},
		{name: "two, none led", manifests: [][]byte{pool("lb"), pool("other")}, ambiguous: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ns, err := survey.FindNamespace(t.Context(), surveytest.Client(t, tc.manifests...), tc.near, survey.DefaultNamespace)
			if tc.ambiguous {
				require.ErrorIs(t, err, survey.ErrAmbiguous)
				assert.ErrorContains(t, err, "lb, other; choose one by --system-namespace")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.want, ns)
		})
	}
}

func TestRulesAndChoice(t *testing.T) {
	unknown := func(s *survey.Survey) { s.Controller = survey.Controller{} }
	settings := func(set survey.Settings) func(*survey.Survey) {
		return func(s *survey.Survey) { s.Controller.Settings = set }
	}
	backends := func(serves map[string][]string) func(*survey.Survey) {
		return func(s *survey.Survey) {
			s.Backends = nil
			for name, kinds := range serves {
				b := v1alpha1.Backend{Status: v1alpha1.BackendStatus{Serves: kinds}}
				b.Name, b.Annotations = name, map[string]string{"fairlead.io/installation": s.Namespace}
				s.Backends = append(s.Backends, b)
			}
		}
	}
	named := func(s *survey.Survey) {
		s.Config.BGPAdvertisements[0].Annotations = map[string]string{"fairlead.io/backend": "cilium"}
	}
	class := func(s *survey.Survey) {
		for i := range s.Services {
			s.Services[i].Spec.LoadBalancerClass = new("internal")
		}
	}
	for _, tc := range []struct {
		name        string
		change      []func(*survey.Survey)
		classes     []string
		rulesKnown  bool
		choice      announce.Choice
		choiceKnown bool
	}{
		{name: "by flags", classes: []string{""}, rulesKnown: true, choice: announce.Choice{BGP: "speaker", Layer2: "speaker"}, choiceKnown: true},
		{name: "classes by flag", change: []func(*survey.Survey){settings(survey.Settings{"lb-class": ",internal", "backend": "none"})}, classes: []string{"", "internal"}, rulesKnown: true, choiceKnown: true},
		{name: "one kind by flag", change: []func(*survey.Survey){settings(survey.Settings{"backend": "calico", "l2-backend": "speaker"})}, classes: []string{""}, rulesKnown: true, choice: announce.Choice{BGP: "calico", Layer2: "speaker"}, choiceKnown: true},
		{name: "calico has no layer 2", change: []func(*survey.Survey){settings(survey.Settings{"backend": "calico"})}, classes: []string{""}, rulesKnown: true, choice: announce.Choice{BGP: "calico"}, choiceKnown: true},
		{name: "classes of Services that were judged", change: []func(*survey.Survey){unknown, class}, classes: []string{"internal"}, choice: announce.Choice{BGP: "speaker", Layer2: "speaker"}, choiceKnown: true},
		{name: "nobody has said", change: []func(*survey.Survey){unknown, backends(nil)}, classes: []string{""}},
		{name: "auto found nobody", change: []func(*survey.Survey){unknown, backends(map[string][]string{"none": nil})}, classes: []string{""}, choiceKnown: true},
		{name: "one by annotation, one by choice", change: []func(*survey.Survey){unknown, named, backends(map[string][]string{"cilium": {"bgp"}, "calico": {"bgp"}})}, classes: []string{""}, choice: announce.Choice{BGP: "calico"}, choiceKnown: true},
		{name: "one by annotation, nobody by choice", change: []func(*survey.Survey){unknown, named, backends(map[string][]string{"cilium": {"bgp"}, "none": nil})}, classes: []string{""}, choiceKnown: true},
		{name: "another installation's", change: []func(*survey.Survey){unknown, func(s *survey.Survey) { s.Backends[0].Annotations = nil }}, classes: []string{""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := surveytest.Survey(t, surveytest.Shop, tc.change...)
			rules, known := s.Rules()
			assert.Equal(t, tc.classes, rules.Classes)
			assert.Equal(t, tc.rulesKnown, known)
			choice, known := s.Choice()
			assert.Equal(t, tc.choice, choice)
			assert.Equal(t, tc.choiceKnown, known)
		})
	}
}

func TestWorks(t *testing.T) {
	s := surveytest.Survey(t, surveytest.Shop)
	assert.True(t, s.Controller.Works(s.At))
	assert.False(t, s.Controller.Works(s.At.Add(15*time.Second)), "the Lease has run out")
	s.Controller.Leader = ""
	assert.False(t, s.Controller.Works(s.At), "nobody holds the Lease")
}

// TestSettings: flags are read in every form that the controller takes them in; the command line wins over the environment.
func TestSettings(t *testing.T) {
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: metallb-system, labels: {app.kubernetes.io/name: fairlead, app.kubernetes.io/component: controller}}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - {name: sidecar, image: x, args: ["--backend=none"]}
      - name: controller
        image: x
        command: [/controller, --manage-peers]
        args: ["--backend=calico", --lb-class, ",internal", --leader-elect=false]
        env: [{name: FAIRLEAD_BACKEND, value: cilium}, {name: FAIRLEAD_L2_BACKEND, value: speaker}, {name: OTHER, value: x}]
`
	s := surveytest.Survey(t, []byte(deployment))
	assert.Equal(t, survey.Settings{"manage-peers": "true", "backend": "calico", "lb-class": ",internal", "leader-elect": "false", "l2-backend": "speaker"}, s.Controller.Settings)
	assert.Equal(t, "d", s.Controller.Deployment)
}

// TestSilent: what the speaker of a node told that gives no sign of life does not count. The time is that of the controller, whatever the clock here.
func TestSilent(t *testing.T) {
	renewed := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC) // of the controller's Lease
	for _, tc := range []struct {
		name  string
		age   time.Duration
		alive bool
	}{
		{"alive", presence.LeaseFor, true},
		{"silent", presence.LeaseFor + time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := surveytest.Client(t, surveytest.Shop)
			var lease coordinationv1.Lease
			require.NoError(t, c.Get(t.Context(), client.ObjectKey{Namespace: surveytest.Namespace, Name: "speaker-n2"}, &lease))
			lease.Spec.RenewTime.Time = renewed.Add(-tc.age)
			require.NoError(t, c.Update(t.Context(), &lease))
			s, err := survey.ReadAt(t.Context(), c, surveytest.Namespace, surveytest.At)
			require.NoError(t, err)
			speakers, _ := s.Speakers()
			_, alive := speakers["n2"]
			assert.Equal(t, tc.alive, alive)
			told := 0
			for i := range s.L2 {
				if s.L2[i].Status.Node == "n2" {
					told++
				}
			}
			for i := range s.BGP {
				if s.BGP[i].Status.Node == "n2" {
					told++
				}
			}
			assert.Equal(t, tc.alive, told > 0)
			for i := range s.Sessions {
				if x := s.Sessions[i].Status; x.Node == "n2" {
					assert.Equal(t, tc.alive, x.State == "Established", "%+v", x)
					assert.Equal(t, !tc.alive, x.LastError == "the speaker has given no sign of life since 2026-01-02T03:03:34Z", "%+v", x)
				}
			}
		})
	}
}

// TestReadService: who may read only the Services of a namespace sees each of them with its endpoints. What is added to a copy of a Survey is
// not in the Survey.
func TestReadService(t *testing.T) {
	c := interceptor.NewClient(surveytest.Client(t, surveytest.Shop), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			everywhere := (&client.ListOptions{}).ApplyOptions(opts).Namespace == ""
			switch list.(type) {
			case *corev1.ServiceList:
				return forbidden("list", "", "services", " in API group \"\" at the cluster scope")
			case *discoveryv1.EndpointSliceList:
				if everywhere {
					return forbidden("list", "discovery.k8s.io", "endpointslices", " in API group \"discovery.k8s.io\" at the cluster scope")
				}
			case *corev1.NodeList:
				return forbidden("list", "", "nodes", " in API group \"\" at the cluster scope")
			}
			return c.List(ctx, list, opts...)
		},
	})
	s, err := survey.Read(t.Context(), c, surveytest.Namespace)
	require.NoError(t, err)
	s.Services, s.Slices = make([]corev1.Service, 0, 4), make([]discoveryv1.EndpointSlice, 0, 4) // a copy has room for more in the same arrays
	before := slices.Clone(s.Gaps)
	var copies []survey.Survey
	for _, name := range []string{"web", "mail"} {
		one := *s
		found, err := one.ReadService(t.Context(), c, "shop", name)
		require.NoError(t, err)
		require.True(t, found)
		copies = append(copies, one)
		assert.Equal(t, before, s.Gaps)
	}
	for i, name := range []string{"web", "mail"} {
		assert.NotNil(t, copies[i].Service("shop", name))
		assert.False(t, copies[i].Lacks(survey.EndpointSlices))
		assert.True(t, copies[i].Lacks("Nodes"))
	}
	assert.Len(t, copies[0].EndpointSlices("shop", "web"), 2)
	assert.Empty(t, s.Services)
}
