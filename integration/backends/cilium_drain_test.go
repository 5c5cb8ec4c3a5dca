package backends

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	slimv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
)

// hangs is how many Services an announcer can drop at once, at least (pkg/l2announcer/l2announcer.go in Cilium's repository).
const hangs = 16

// announcer sees the policies as Cilium's L2 announcer on a node does.
type announcer struct {
	node     labels.Set
	services []corev1.Service
}

// announced returns the Services that a policy selects, with Cilium's own selectors.
func (a announcer) announced(t testing.TB, f ciliumFixture) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, u := range all(t, f.resources()[3], "") {
		var p v2alpha1.CiliumL2AnnouncementPolicy
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p))
		require.NotNil(t, p.Spec.ServiceSelector, "it would have all Services")
		nodes, err := slimv1.LabelSelectorAsSelector(p.Spec.NodeSelector)
		require.NoError(t, err)
		selected, err := slimv1.LabelSelectorAsSelector(p.Spec.ServiceSelector)
		require.NoError(t, err)
		for _, s := range a.services {
			set := map[string]string{"io.kubernetes.service.namespace": s.Namespace, "io.kubernetes.service.name": s.Name}
			for k, v := range s.Labels {
				set[k] = v
			}
			if nodes.Matches(slimLabels(a.node)) && selected.Matches(slimLabels(set)) {
				out[s.Namespace+"/"+s.Name] = true
			}
		}
	}
	return out
}

type slimLabels map[string]string

func (l slimLabels) Has(k string) bool              { _, ok := l[k]; return ok }
func (l slimLabels) Get(k string) string            { return l[k] }
func (l slimLabels) Lookup(k string) (string, bool) { v, ok := l[k]; return v, ok }

// TestCiliumDrain: no Apply takes the last policy from so many Services that an announcer would hang, every Service that is
// wanted is announced at any time, and what is not wanted ends.
func TestCiliumDrain(t *testing.T) {
	f := installCilium(t, false)
	defer f.Reset(t)
	services(t, 60)
	defer func() {
		for _, ns := range []string{"tenant-0", "tenant-1"} {
			require.NoError(t, kube.DeleteAllOf(context.Background(), &corev1.Service{}, client.InNamespace(ns)))
		}
	}()
	var list corev1.ServiceList
	require.NoError(t, kube.List(t.Context(), &list, client.HasLabels{"fairlead.io/pool"}))
	require.Len(t, list.Items, 60)
	announcers := []announcer{{labels.Set{"rack": "1"}, list.Items}, {labels.Set{"rack": "2"}, list.Items}}

	lan := func(change ...func(*backends.L2Advertisement)) backends.Desired {
		a := backends.L2Advertisement{Source: source("L2Advertisement", "lan"), Pools: poolsNamed("main")}
		for _, c := range change {
			c(&a)
		}
		return backends.Desired{L2Advertisements: []backends.L2Advertisement{a}}
	}
	parts := func(parts ...string) func(*backends.L2Advertisement) {
		return func(a *backends.L2Advertisement) {
			for _, p := range parts {
				a.ServiceSelectors = append(a.ServiceSelectors, selector("part="+p))
			}
		}
	}
	rack := func(racks ...string) func(*backends.L2Advertisement) {
		return func(a *backends.L2Advertisement) {
			for _, r := range racks {
				a.NodeSelectors = append(a.NodeSelectors, selector("rack="+r))
			}
		}
	}
	for _, tc := range []struct {
		name     string
		from, to backends.Desired
		applies  int // at most
	}{
		{"remove all", lan(), backends.Desired{}, 9},
		{"narrow to a third", lan(), lan(parts("0")), 7},
		{"widen", lan(parts("0")), lan(), 2},
		{"split without a loss", lan(), lan(parts("0", "1", "2")), 2},
		{"other nodes", lan(rack("1")), lan(rack("2")), 9},
		{"nodes apart", lan(), lan(rack("1", "2")), 9},
		{"two go at once", lan(parts("0", "1")), backends.Desired{}, 7},
		{"one of two goes", lan(parts("0", "1")), lan(parts("1")), 6},
		{"another pool", lan(), lan(func(a *backends.L2Advertisement) { a.Pools = poolsNamed("other") }), 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.Reset(t)
			b := f.New(t, &backendtest.Recorder{})
			require.NoError(t, b.Apply(t.Context(), tc.from))
			golden := map[string]map[string]bool{}
			for _, a := range announcers {
				golden[a.node["rack"]+"from"] = a.announced(t, f)
			}
			done := false
			for n := 1; !done; n++ {
				require.LessOrEqual(t, n, tc.applies, "it takes too many rounds")
				var before []map[string]bool
				for _, a := range announcers {
					before = append(before, a.announced(t, f))
				}
				if n%3 == 0 {
					b = f.New(t, &backendtest.Recorder{}) // a restart changes nothing
				}
				err := b.Apply(t.Context(), tc.to)
				done = err == nil
				if err != nil {
					require.ErrorIs(t, err, backends.ErrInProgress)
				}
				for i, a := range announcers {
					lost := 0
					after := a.announced(t, f)
					for s := range before[i] {
						if !after[s] {
							lost++
						}
					}
					assert.LessOrEqual(t, lost, 10, "round %d takes the last policy from too many Services on the node of rack %s", n, a.node["rack"])
					assert.Less(t, lost, hangs)
				}
			}
			got := f.Dump(t)
			assert.NotContains(t, got, "fairlead.io/drains")
			f.Reset(t)
			require.NoError(t, f.New(t, &backendtest.Recorder{}).Apply(t.Context(), tc.to))
			assert.Equal(t, f.Dump(t), got)
		})
	}
}

// TestCiliumLeases: the next batch waits until the Leases of the one before are given up, or another node has them.
func TestCiliumLeases(t *testing.T) {
	f := installCilium(t, false)
	defer f.Reset(t)
	services(t, 25)
	defer func() {
		for _, ns := range []string{"tenant-0", "tenant-1"} {
			require.NoError(t, kube.DeleteAllOf(context.Background(), &corev1.Service{}, client.InNamespace(ns)))
		}
		require.NoError(t, kube.DeleteAllOf(context.Background(), &coordinationv1.Lease{}, client.InNamespace(ciliumNamespace)))
	}()
	for i := range 25 {
		holder, duration, now := "n1", int32(15), metav1.NowMicro()
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ciliumNamespace, Name: fmt.Sprintf("cilium-l2announce-tenant-%d-web-%02d", i%2, i)}}
		l.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &duration, RenewTime: &now}
		require.NoError(t, kube.Create(t.Context(), l))
	}
	release := func() {
		var list coordinationv1.LeaseList
		require.NoError(t, kube.List(t.Context(), &list, client.InNamespace(ciliumNamespace)))
		for _, l := range list.Items {
			if strings.HasPrefix(l.Name, "cilium-l2announce-") {
				none := ""
				l.Spec.HolderIdentity = &none
				require.NoError(t, kube.Update(t.Context(), &l))
			}
		}
	}
	hold := func(holder string) {
		var list coordinationv1.LeaseList
		require.NoError(t, kube.List(t.Context(), &list, client.InNamespace(ciliumNamespace)))
		for _, l := range list.Items {
			now := metav1.NewMicroTime(time.Now())
			l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, &now
			require.NoError(t, kube.Update(t.Context(), &l))
		}
	}
	b, _, r := f.report(t)
	require.NoError(t, b.Apply(t.Context(), f.States()[4].Want)) // layer 2
	require.ErrorIs(t, b.Apply(t.Context(), backends.Desired{}), backends.ErrInProgress, "parks them")
	require.ErrorIs(t, b.Apply(t.Context(), backends.Desired{}), backends.ErrInProgress, "removes the policy and the first batch")
	r.Take()
	err := b.Apply(t.Context(), backends.Desired{})
	require.ErrorIs(t, err, backends.ErrInProgress)
	assert.ErrorContains(t, err, "have yet to be given up by Cilium")
	assert.Empty(t, r.Take())
	hold("n2") // which has another policy
	require.ErrorIs(t, b.Apply(t.Context(), backends.Desired{}), backends.ErrInProgress)
	assert.NotEmpty(t, r.Take(), "n1 has given them up")
	require.ErrorIs(t, b.Apply(t.Context(), backends.Desired{}), backends.ErrInProgress)
	assert.Empty(t, r.Take(), "n2 has them yet")
	release()
	require.ErrorIs(t, b.Apply(t.Context(), backends.Desired{}), backends.ErrInProgress, "some are left")
	assert.NotEmpty(t, r.Take(), "nobody has them any more")
	require.NoError(t, b.Apply(t.Context(), backends.Desired{}))
	assert.NotEmpty(t, r.Take())
}
