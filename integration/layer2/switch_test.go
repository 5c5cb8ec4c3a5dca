package layer2

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestSwitch moves an L2Advertisement from Cilium to the speakers and back. Cilium's object goes only when the speakers announce,
// and the speakers fall silent only when Cilium has been told.
func TestSwitch(t *testing.T) {
	require.NoError(t, bed.InstallCRDs(testbed.CiliumCRDs(t, "ciliuml2announcementpolicies")...))
	s := site.New(t, bed, 2)
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	p := s.Probe(s.Client, vips, site.Every)
	p.AwaitAnswer(t, vips[0], time.Now(), nil)
	hand := func(to string) {
		var a v1beta1.L2Advertisement
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "main"}, &a))
		a.Annotations = map[string]string{"fairlead.io/backend": to}
		require.NoError(t, bed.Client.Update(t.Context(), &a))
	}
	policies := func(ctx context.Context) (int, error) {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: "cilium.io", Version: "v2alpha1", Kind: "CiliumL2AnnouncementPolicyList"})
		err := bed.Client.List(ctx, list)
		return len(list.Items), err
	}
	await := func(want int) {
		t.Helper()
		testbed.Eventually(t, "Cilium's policies", func(ctx context.Context) error {
			n, err := policies(ctx)
			if err == nil && n != want {
				err = fmt.Errorf("there are %d, want %d", n, want)
			}
			return err
		})
	}

	hand("cilium")
	await(1)
	p.Await(t, "silence of the speakers", func() bool { return p.Owner(vips[0]) == nil })
	s.Told(svc, nil)

	// Without speakers nobody would announce it: Cilium goes on.
	for _, n := range s.Nodes() {
		_, err := s.Speakers[n.Name()].Stop()
		require.NoError(t, err)
	}
	hand("speaker")
	testbed.Eventually(t, "the speakers to be told", func(ctx context.Context) error {
		var b v1alpha1.Backend
		if err := bed.Client.Get(ctx, client.ObjectKey{Name: "speaker"}, &b); err != nil {
			return err
		}
		if len(b.Status.Owned.Objects) != 1 || len(b.Status.Conditions) != 2 || b.Status.Conditions[1].Type != "BackendInactive" {
			return errors.New("they have not been, or nothing says that none runs")
		}
		return nil
	})
	n, err := policies(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, n, "Cilium announces until the speakers do")
	for _, n := range s.Nodes() {
		s.Speak(n)
	}
	p.AwaitAnswer(t, vips[0], time.Now(), nil)
	await(0)
	s.Advertised(svc, "True Advertised: speaker")

	// What is taken back leaves nothing behind.
	_, err = s.Controller.Stop()
	require.NoError(t, err)
	bed.Cleanup(t, s.Namespace)
	p.Await(t, "silence", func() bool { return p.Owner(vips[0]) == nil })
	s.Told(svc, nil)
	var all v1alpha1.BackendList
	require.NoError(t, bed.Client.List(t.Context(), &all))
	assert.Empty(t, all.Items)
}
