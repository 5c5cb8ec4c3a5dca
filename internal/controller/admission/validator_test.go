package admission

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

const namespace = "metallb-system"

func scheme(t *testing.T) *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, v1beta1.AddToScheme, v1beta2.AddToScheme} {
		require.NoError(t, add(s))
	}
	return s
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }

func pool(name string, addresses ...string) *v1beta1.IPAddressPool {
	return &v1beta1.IPAddressPool{ObjectMeta: named(name), Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}}
}

func reservation(name, service string, addresses ...string) *v1alpha1.AddressReservation {
	return &v1alpha1.AddressReservation{ObjectMeta: named(name), Spec: v1alpha1.AddressReservationSpec{
		Addresses: addresses, Service: &v1alpha1.ServiceReference{Namespace: "default", Name: service},
	}}
}

func peer(name, address string, change func(*v1beta2.BGPPeer)) *v1beta2.BGPPeer {
	p := &v1beta2.BGPPeer{ObjectMeta: named(name), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: address}}
	if change != nil {
		change(p)
	}
	return p
}

func TestHandle(t *testing.T) {
	length := int32(24)
	short := &v1beta1.BGPAdvertisement{ObjectMeta: named("short"), Spec: v1beta1.BGPAdvertisementSpec{AggregationLength: &length}}
	with := func(p *v1beta1.IPAddressPool, change func(*v1beta1.IPAddressPool)) *v1beta1.IPAddressPool {
		change(p)
		return p
	}
	for _, tc := range []struct {
		name     string
		stored   []client.Object
		incoming client.Object // nil: old is deleted
		old      client.Object // nil: incoming is created
		refused  string        // empty: it is accepted
		warned   string
	}{
		{name: "a good pool", incoming: pool("a", "10.0.0.0/24", "2001:db8::/64")},
		{name: "a faulty pool", incoming: pool("a", "10.0.0.300"), refused: `spec.addresses[0]: "10.0.0.300" is neither a CIDR`},
		{name: "overlap inside a pool", incoming: pool("a", "2001:db8::/64", "2001:db8::1/128"), refused: `spec.addresses[1]: "2001:db8::1/128" overlaps`},
		{name: "overlap across pools", stored: []client.Object{pool("b", "10.0.0.0/25")}, incoming: pool("a", "10.0.0.0/24"), refused: `of pool "b"`},
		{
			name: "an edit of the older pool", stored: []client.Object{pool("a", "10.0.0.0/24"), pool("b", "10.0.1.0/24")},
			old: pool("a", "10.0.0.0/24"), incoming: pool("a", "10.0.0.0/23"), refused: `spec.addresses[0]: 10.0.0.0-10.0.1.255 overlaps 10.0.1.0-10.0.1.255 of pool "b"`,
		},
		{
			name: "another pool's old fault is not this one's", stored: []client.Object{pool("a", "10.0.0.0/24"), pool("b", "10.0.0.0/25"), pool("c", "10.0.0.300")},
			old: pool("a", "10.0.0.0/24"), incoming: pool("a", "10.0.0.0/24", "2001:db8::/64"),
		},
		{
			name: "a fault brought to another object", stored: []client.Object{short}, incoming: pool("a", "10.0.0.0/25"),
			refused: "BGPAdvertisement metallb-system/short: spec.aggregationLength: 24 is too short for 10.0.0.0-10.0.0.127",
		},
		{
			name: "a finalizer on a faulty pool", stored: []client.Object{pool("a", "10.0.0.300")}, old: pool("a", "10.0.0.300"),
			incoming: with(pool("a", "10.0.0.300"), func(p *v1beta1.IPAddressPool) { p.Finalizers = []string{"example.org/x"} }),
		},
		{
			name: "created elsewhere", incoming: with(pool("a", "10.0.0.0/24"), func(p *v1beta1.IPAddressPool) { p.Namespace = "default" }),
			refused: `IPAddressPool objects are read in namespace "metallb-system" only: create it there`,
		},
		{
			name:     "edited elsewhere",
			incoming: with(pool("a", "10.0.0.300"), func(p *v1beta1.IPAddressPool) { p.Namespace = "default" }),
			old:      with(pool("a"), func(p *v1beta1.IPAddressPool) { p.Namespace = "default" }),
		},
		{
			name: "references to what does not exist",
			incoming: &v1beta1.BGPAdvertisement{ObjectMeta: named("a"), Spec: v1beta1.BGPAdvertisementSpec{
				IPAddressPools: []string{"later"}, Peers: []string{"later"}, Communities: []string{"later"},
			}},
		},
		{name: "a profile that does not exist", incoming: peer("a", "192.0.2.1", func(p *v1beta2.BGPPeer) { p.Spec.BFDProfile = "later" })},
		//lint:ignore SA1019 that the field is deprecated is what is tested
		{name: "disableMP", incoming: peer("a", "2001:db8::1", func(p *v1beta2.BGPPeer) { p.Spec.DisableMP = true }), warned: disableMPWarning},
		{
			name: "the same peer twice", stored: []client.Object{peer("b", "2001:db8::1", nil)}, incoming: peer("a", "2001:db8::1", nil),
			refused: `spec.peerAddress: 2001:db8::1 port 179 is the peer of BGPPeer "b" already`,
		},
		{
			name: "a profile in use is deleted", old: &v1beta1.BFDProfile{ObjectMeta: named("fast")},
			stored:  []client.Object{peer("b", "192.0.2.1", func(p *v1beta2.BGPPeer) { p.Spec.BFDProfile = "fast" })},
			refused: `BFDProfile "fast" is used by BGPPeer "b"`,
		},
		{name: "a profile not in use is deleted", old: &v1beta1.BFDProfile{ObjectMeta: named("fast")}, stored: []client.Object{peer("b", "192.0.2.1", nil)}},
		{
			name: "a duplicate alias",
			incoming: &v1beta1.Community{ObjectMeta: named("a"), Spec: v1beta1.CommunitySpec{Communities: []v1beta1.CommunityAlias{
				{Name: "x", Value: "1:1"}, {Name: "x", Value: "1:2"},
			}}},
			refused: `spec.communities[1].name: the alias "x" is defined twice`,
		},
		{name: "a good reservation", stored: []client.Object{reservation("b", "mail", "10.0.0.9")}, incoming: reservation("a", "web", "10.0.0.8", "2001:db8::8")},
		{name: "a faulty reservation", incoming: reservation("a", "web", "10.0.0.8", "2001:db8::g"), refused: `spec.addresses[1]: "2001:db8::g" is neither a CIDR`},
		{
			name: "an address reserved for another", stored: []client.Object{reservation("b", "mail", "2001:db8::/64")}, incoming: reservation("a", "web", "2001:db8::8"),
			refused: `which AddressReservation "`,
		},
		{
			name: "a bad selector", refused: "spec.nodeSelectors[0]",
			incoming: &v1beta1.L2Advertisement{ObjectMeta: named("a"), Spec: v1beta1.L2AdvertisementSpec{NodeSelectors: []metav1.LabelSelector{
				{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}},
			}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := scheme(t)
			v := &validator{
				cache:     fake.NewClientBuilder().WithScheme(s).WithObjects(tc.stored...).Build(),
				namespace: namespace, log: slog.New(slog.DiscardHandler),
			}
			response := v.Handle(t.Context(), request(t, s, tc.incoming, tc.old))
			assert.Equal(t, tc.warned, strings.Join(response.Warnings, "\n"))
			if tc.refused == "" {
				assert.True(t, response.Allowed, "%+v", response.Result)
				return
			}
			assert.False(t, response.Allowed)
			assert.Contains(t, response.Result.Message, tc.refused)
		})
	}

	t.Run("a peer that cannot be decoded", func(t *testing.T) {
		s := scheme(t)
		v := &validator{cache: fake.NewClientBuilder().WithScheme(s).Build(), namespace: namespace, log: slog.New(slog.DiscardHandler)}
		r := request(t, s, peer("a", "192.0.2.1", nil), nil)
		r.Object.Raw = []byte(`{"metadata": {"name": "a", "namespace": "metallb-system"}, "spec": {"holdTime": "soon"}}`)
		response := v.Handle(t.Context(), r)
		assert.False(t, response.Allowed)
		assert.Contains(t, response.Result.Message, "the object cannot be read: ")
	})
	t.Run("what cannot be judged passes", func(t *testing.T) {
		s := scheme(t)
		v := &validator{cache: fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build(), namespace: namespace, log: slog.New(slog.DiscardHandler)}
		response := v.Handle(t.Context(), request(t, s, pool("a", "10.0.0.300"), nil))
		assert.True(t, response.Allowed)
		assert.Len(t, response.Warnings, 1)
	})
}

func request(t *testing.T, s *runtime.Scheme, incoming, old client.Object) admission.Request {
	o, operation := incoming, admissionv1.Create
	switch {
	case incoming == nil:
		o, operation = old, admissionv1.Delete
	case old != nil:
		operation = admissionv1.Update
	}
	gvk, err := apiutil.GVKForObject(o, s)
	require.NoError(t, err)
	r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind(gvk), Namespace: o.GetNamespace(), Name: o.GetName(), Operation: operation,
	}}
	if incoming != nil {
		r.Object.Raw, err = json.Marshal(incoming)
		require.NoError(t, err)
	}
	if old != nil {
		r.OldObject.Raw, err = json.Marshal(old)
		require.NoError(t, err)
	}
	return r
}
