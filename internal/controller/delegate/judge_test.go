package delegate

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/keep/keeptest"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/service"
)

const system = "metallb-system"

// TestJudge: verdicts follow what speakers, sessions and endpoints do, and only the Services that it is about are looked at again.
func TestJudge(t *testing.T) {
	d := keeptest.New(t, cli.NewScheme())
	create := func(o client.Object) {
		t.Helper()
		require.NoError(t, d.Create(t.Context(), o))
	}
	snapshot := config.Build(config.Objects{
		Pools: []v1beta1.IPAddressPool{{ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{
			Addresses: []string{"192.0.2.0/24"},
		}}},
		L2Advertisements:  []v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "l2"}}},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "bgp"}}},
		BGPPeers: []v1beta2.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: v1beta2.BGPPeerSpec{
			MyASN: 64512, PeerASN: 64513, PeerAddress: "198.51.100.1",
		}}},
	}, nil)
	var again []string
	s := &speakers{
		cache: d.Cache(), client: d, namespace: system, log: slog.New(slog.DiscardHandler), changed: wake.New(), judgedAnew: func() {},
		secret: func(context.Context) error { return nil }, reconsider: func(o allocator.Owner) { again = append(again, o.Name) },
	}
	for _, name := range []string{"web", "other"} {
		addr := map[string]string{"web": "192.0.2.1", "other": "192.0.2.2"}[name]
		create(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{service.LabelPool: "main"}, Annotations: map[string]string{service.AnnotationFromPool: "main"}},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
			Status:     corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: addr}}}},
		})
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Endpoints:  []discoveryv1.Endpoint{{}},
	}
	create(slice)
	create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue},
	}}})
	s.set(snapshot, announce.Choice{BGP: Speaker, Layer2: Speaker})
	require.NoError(t, s.follow(t.Context()))
	expect := func(kind, reason string, looked ...string) {
		t.Helper()
		s.judge()
		v, known := s.verdict(kind, "default", "web")
		require.True(t, known)
		assert.Equal(t, reason, v.Reason, v.Message)
		if len(looked) == 0 {
			assert.Empty(t, again)
		} else {
			assert.Subset(t, looked, again)
			assert.NotEmpty(t, again)
		}
		again = nil
	}
	expect(kindBGP, announce.ReasonNoSpeaker, "web", "other")
	create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "new", Labels: map[string]string{service.LabelPool: "main"},
			Annotations: map[string]string{service.AnnotationFromPool: "main"}},
		Spec:   corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.3"}}}},
	})
	create(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "new-1", Labels: map[string]string{discoveryv1.LabelServiceName: "new"}},
		Endpoints:  []discoveryv1.Endpoint{{}},
	})
	lease := presence.Lease(system, "speaker-n1", "n1", time.Now())
	lease.Annotations = map[string]string{presence.Annotation: (&presence.Links{}).String()}
	create(lease)
	expect(kindBGP, announce.ReasonPending, "web", "other", "new")
	_, said := s.verdict(kindBGP, "default", "new")
	assert.False(t, said, "that a new one waits is told after a while")
	assert.Contains(t, s.hearing(&backends.BGPAdvertisement{Pools: []backends.Pool{{Name: "main"}}}, &backends.Desired{
		Announcements: []backends.Announcement{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Pool: "main"}},
		Services:      []backends.Service{{Namespace: "default", Name: "new", Pool: "main", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}},
	}).Lacks, "Service/default/new", "and nobody takes it for announced")
	require.NoError(t, d.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "new"}}))
	s.judge()
	assert.Equal(t, announce.ReasonNoEndpoints, s.verdicts[judged{kindBGP, types.NamespacedName{Namespace: "default", Name: "other"}}].Reason)
	assert.Equal(t, 1, s.pending)

	status := &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "x"}, Status: v1beta1.ServiceBGPStatusStatus{
		Node: "n1", ServiceNamespace: "default", ServiceName: "web", Peers: []string{"tor"},
	}}
	session := &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "y"}, Status: v1alpha1.BGPSessionStatus{
		Node: "n1", Peer: "tor", State: backends.Established,
	}}
	create(session)
	create(status)
	expect(kindBGP, announce.ReasonAdvertised, "web")
	expect(kindBGP, announce.ReasonAdvertised)
	session.Status = v1alpha1.BGPSessionStatus{Node: "n1", Peer: "tor", State: "Active", LastError: "refused"}
	require.NoError(t, d.Update(t.Context(), session))
	expect(kindBGP, announce.ReasonNoSession, "web")
	require.NoError(t, d.Delete(t.Context(), status))
	expect(kindBGP, announce.ReasonPending, "web")
	slice.Endpoints = nil
	require.NoError(t, d.Update(t.Context(), slice))
	expect(kindBGP, announce.ReasonNoEndpoints, "web")
	assert.Zero(t, s.pending)
	require.NoError(t, d.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}))
	s.judge()
	_, known := s.verdict(kindBGP, "default", "web")
	assert.False(t, known)
}

// TestToldOnce: a new Service is told that it is advertised once all nodes say so, or after a while; that it comes and goes while the nodes
// start anew does not make what is told later late.
func TestToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &speakers{verdicts: map[judged]announce.Verdict{}, mum: map[judged]bool{}}
		s.judging = judging{table: announce.NewVerdictTable(), begun: true, unsettled: map[judged]time.Time{}, flaps: calm[judged]{}, steady: newSteady()}
		table := s.judging.table
		table.Configure(config.Build(config.Objects{
			Pools: []v1beta1.IPAddressPool{{ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{
				Addresses: []string{"192.0.2.0/24"},
			}}},
			BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "bgp"}}},
			BGPPeers: []v1beta2.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: v1beta2.BGPPeerSpec{
				MyASN: 64512, PeerASN: 64513, PeerAddress: "198.51.100.1",
			}}},
		}, nil), func(*config.L2Advertisement) bool { return true }, func(*config.BGPAdvertisement) bool { return true })
		for _, n := range []string{"a", "b", "c"} {
			table.SetNode(n, &announce.Node{})
			table.SetSpeaker(n, &announce.Speaker{}, false)
			table.SetSession(announce.NodePeer{Node: n, Peer: "tor"}, &announce.Session{Up: true})
		}
		web := &announce.Service{Namespace: "default", Name: "web", Pools: []string{"main"}, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			Endpoints: announce.Endpoints{Any: true}}
		table.SetService(web.ID(), web)
		k := judged{kindBGP, web.ID()}
		told := 0
		shown := func(nodes ...string) string {
			var over []announce.NodePeer
			for _, n := range nodes {
				over = append(over, announce.NodePeer{Node: n, Peer: "tor"})
			}
			table.SetTold(web.ID(), nil, over)
			table.Decide()
			another, _ := s.show(k, time.Now())
			if another {
				told++
			}
			time.Sleep(judgeEvery)
			v, known := s.verdict(kindBGP, "default", "web")
			if !known {
				return ""
			}
			return v.Reason
		}
		assert.Empty(t, shown())
		assert.Empty(t, shown("a"), "the others are about to say so, too")
		assert.Empty(t, shown("a", "b"))
		assert.Equal(t, announce.ReasonAdvertised, shown("a", "b", "c"))
		assert.Equal(t, 1, told)
		for range 2 { // all speakers start anew
			assert.Equal(t, announce.ReasonPending, shown())
			for range 3 {
				assert.Equal(t, announce.ReasonPending, shown("a"))
			}
			assert.Equal(t, announce.ReasonAdvertised, shown("a", "b", "c"), "at once")
		}
		for range 5 {
			assert.Equal(t, announce.ReasonAdvertised, shown("a", "b"))
		}
		assert.Equal(t, 5, told)
		shown("a", "b")
		shown("a", "b")
		assert.Equal(t, 6, told, "c does not come back")
		assert.Contains(t, s.verdicts[k].Message, `"a", "b"`)
	})
}

// TestSaid: what is said of a Service is what its objects say now, whatever becomes of them, but for what silent nodes say.
func TestSaid(t *testing.T) {
	var s said
	var got map[string][]string
	take := func(all bool, silent ...string) map[string][]string {
		got = map[string][]string{}
		mute := map[string]bool{}
		for _, n := range silent {
			mute[n] = true
		}
		s.take(all, mute, func(svc types.NamespacedName, announcers []string, over []announce.NodePeer) {
			got[svc.Name] = announcers
			for _, x := range over {
				got[svc.Name] = append(got[svc.Name], x.Node+" to "+x.Peer)
			}
		})
		return got
	}
	l2 := func(svc string) *v1beta1.ServiceL2Status {
		o := &v1beta1.ServiceL2Status{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
		o.Status = v1beta1.ServiceL2StatusStatus{Node: "n1", ServiceNamespace: "default", ServiceName: svc}
		return o
	}
	bgp := &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	bgp.Status = v1beta1.ServiceBGPStatusStatus{Node: "n2", ServiceNamespace: "default", ServiceName: "a", Peers: []string{"tor"}}
	assert.Empty(t, take(true))
	s.note(nil, l2("a"))
	assert.Equal(t, map[string][]string{"a": {"n1"}}, take(false))
	assert.Empty(t, take(false))
	s.note(l2("a"), l2("b"))
	assert.Equal(t, map[string][]string{"a": nil, "b": {"n1"}}, take(false))
	s.note(nil, bgp)
	s.note(nil, &v1beta1.ServiceL2Status{})
	assert.Equal(t, map[string][]string{"a": {"n2 to tor"}}, take(false))
	assert.Equal(t, map[string][]string{"a": nil, "b": {"n1"}}, take(true, "n2"))
	s.note(l2("b"), nil)
	s.note(bgp, nil)
	assert.Equal(t, map[string][]string{"a": nil, "b": nil}, take(false))
}
