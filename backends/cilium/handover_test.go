package cilium

import (
	"errors"
	"slices"
	"testing"
	"time"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/fairlead/fairlead/backends"
)

// upgraded is a cluster in which an earlier version has set up the sessions of two nodes by one cluster config.
type upgraded struct {
	t    *testing.T
	api  *fake.FakeDynamicClient
	b    *Backend
	want backends.Desired
	now  time.Time
	// refuses has the API server refuse to hand nodes over; patches counts how often that was asked for.
	refuses bool
	patches int
}

var upgradedKinds = map[string]schema.GroupVersionResource{
	kindAdvert: v2.SchemeGroupVersion.WithResource(v2.BGPAPluralName), kindPeerConfig: v2.SchemeGroupVersion.WithResource(v2.BGPPCPluralName),
	kindClusterConfig: v2.SchemeGroupVersion.WithResource(v2.BGPCCPluralName), v2.BGPNCKindDefinition: v2.SchemeGroupVersion.WithResource(v2.BGPNCPluralName),
	kindPolicy: v2alpha1.SchemeGroupVersion.WithResource(v2alpha1.L2AnnouncementPluralName),
}

func newUpgraded(t *testing.T) *upgraded {
	u := &upgraded{t: t, now: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), refuses: true}
	u.want = backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a")}, Peers: []backends.Peer{router("tor", "192.0.2.1")}, Nodes: nodes("n1", "n2")}
	old := &v2.CiliumBGPClusterConfig{ObjectMeta: metav1.ObjectMeta{
		Name: "fairlead-bgp", UID: "old", Labels: backends.OwnLabels(installation), Annotations: map[string]string{backends.AnnotationSource: u.want.Peers[0].Source.String()},
	}}
	all := []runtime.Object{untyped(t, kindClusterConfig, old)}
	for _, n := range u.want.Nodes {
		all = append(all, untyped(t, v2.BGPNCKindDefinition, &v2.CiliumBGPNodeConfig{ObjectMeta: metav1.ObjectMeta{
			Name: n.Name, OwnerReferences: []metav1.OwnerReference{{Kind: kindClusterConfig, Name: old.Name, UID: old.UID}},
		}}))
	}
	lists := map[schema.GroupVersionResource]string{}
	for kind, r := range upgradedKinds {
		lists[r] = kind + "List"
	}
	u.api = fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, all...)
	u.api.PrependReactor("patch", v2.BGPNCPluralName, func(a clienttesting.Action) (bool, runtime.Object, error) {
		u.patches++
		if !u.refuses {
			return false, nil, nil
		}
		return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), a.(clienttesting.PatchAction).GetName(), errors.New("not in its ClusterRole"))
	})
	u.b = New(Config{Installation: installation})
	u.b.now = func() time.Time { return u.now }
	return u
}

func untyped(t *testing.T, kind string, o any) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	require.NoError(t, err)
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v2.SchemeGroupVersion.WithKind(kind))
	return u
}

// apply is one round; it returns what is told, and whether there is more to do.
func (u *upgraded) apply() (told []backends.Finding, more bool) {
	u.t.Helper()
	c := newClient(Config{Client: u.api, Installation: installation}, Detection{served: upgradedKinds})
	world, err := c.readWorld(u.t.Context(), "", u.want.Peers, false)
	require.NoError(u.t, err)
	x := translate(u.want, facts{installation: installation, world: world})
	failed, err := u.b.write(u.t.Context(), c, x, x.compare())
	require.Empty(u.t, failed)
	require.True(u.t, err == nil || errors.Is(err, backends.ErrInProgress), "%v", err)
	return x.findings, err != nil
}

// has returns the names of the cluster configs.
func (u *upgraded) has() []string {
	list, err := u.api.Resource(upgradedKinds[kindClusterConfig]).List(u.t.Context(), metav1.ListOptions{})
	require.NoError(u.t, err)
	var out []string
	for _, o := range list.Items {
		out = append(out, o.GetName())
	}
	slices.Sort(out)
	return out
}

// TestHandOverRefused: without the right to hand nodes over, their sessions go on for a while, in which the user is told which right is missing,
// and are set up anew then.
func TestHandOverRefused(t *testing.T) {
	all, own := []string{"fairlead-bgp", "fairlead-bgp-n1", "fairlead-bgp-n2"}, []string{"fairlead-bgp-n1", "fairlead-bgp-n2"}
	message := `CiliumBGPClusterConfig "fairlead-bgp" of an earlier version has the node, and the controller may not give it to "fairlead-bgp-n1": ` +
		"its ClusterRole lacks the verb patch for ciliumbgpnodeconfigs.cilium.io. Add it, or all sessions of that object end and are set up anew at 15:05:05 UTC"
	missing := backends.Finding{
		Type: backends.PeerNotReady, Object: backends.Source{Kind: "CiliumBGPNodeConfig", Name: "n1"}, Field: "metadata.ownerReferences", Message: message, Missing: true,
	}
	t.Run("for good", func(t *testing.T) {
		u := newUpgraded(t)
		told, more := u.apply()
		assert.Empty(t, told, "the agents have yet to hear of the new objects")
		assert.True(t, more)
		for range 30 { // the loop comes back each two seconds
			told, more = u.apply()
			assert.Equal(t, []backends.Finding{missing}, told)
			assert.True(t, more)
			assert.Equal(t, all, u.has(), "the sessions go on")
			u.now = u.now.Add(2 * time.Second)
		}
		assert.Equal(t, 30, u.patches, "one that is refused is enough for a round")
		told, more = u.apply()
		assert.Empty(t, told)
		assert.False(t, more, "nothing is left to do")
		assert.Equal(t, own, u.has())
		u.api.ClearActions()
		for range 5 {
			_, more = u.apply()
			assert.False(t, more)
		}
		assert.Equal(t, 31, u.patches)
		for _, a := range u.api.Actions() {
			assert.Equal(t, "list", a.GetVerb(), "%v is written again", a.GetResource())
		}
	})
	t.Run("until it is granted", func(t *testing.T) {
		u := newUpgraded(t)
		u.apply()
		told, _ := u.apply()
		assert.Equal(t, []backends.Finding{missing}, told)
		u.refuses, u.now = false, u.now.Add(30*time.Second)
		told, more := u.apply()
		assert.Empty(t, told)
		assert.True(t, more)
		assert.Equal(t, all, u.has(), "nodes are handed over first")
		_, more = u.apply()
		assert.False(t, more)
		assert.Equal(t, own, u.has())
		assert.Equal(t, 3, u.patches, "each node once")
	})
}
