package explain_test

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// TestHelp: there is help for every reason that docs/reasons.md says can be other than good.
func TestHelp(t *testing.T) {
	b, err := os.ReadFile("../../../docs/reasons.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (True|False|Unknown) \\|").FindAllStringSubmatch(string(b), -1)
	require.Greater(t, len(rows), 30)
	for _, r := range rows {
		if r[1] == "Allocated" || r[1] == "Advertised" {
			continue // nothing to do
		}
		text := explain.Help(&survey.Survey{}, r[1])
		assert.NotEmpty(t, text, r[1])
		assert.NotContains(t, text, "what the message says", "%s: that is no advice", r[1])
	}
}

// TestAdvice: advice is about flags, or, where Helm has installed, about values of the chart.
func TestAdvice(t *testing.T) {
	byHelm := &survey.Survey{Controller: survey.Controller{Deployment: "d", Release: "lb"}}
	plain := &survey.Survey{Controller: survey.Controller{Deployment: "d"}}
	unseen := &survey.Survey{Gaps: []survey.Gap{{What: "Deployments"}}}
	const flags, values = "--backend, --bgp-backend or --l2-backend of the controller", "backend, bgpBackend or l2Backend of the chart"
	assert.Equal(t, "choose who advertises by "+values, explain.Help(byHelm, "NoBackend"))
	assert.Equal(t, "choose who advertises by "+flags, explain.Help(plain, "NoBackend"))
	assert.Equal(t, "choose who advertises by "+flags+", or "+values, explain.Help(unseen, "NoBackend"))
	for _, finding := range []backends.FindingType{
		backends.UnsupportedField, backends.BackendInactive, backends.Contended, backends.IPAMConflict, backends.PeerExists, backends.PeerNotReady, backends.CoveredByExisting, backends.ConfigFrozen,
		backends.HandingOver, backends.SharedAddress,
	} {
		for _, s := range []*survey.Survey{byHelm, plain} {
			text := explain.Help(s, string(finding))
			assert.NotEmpty(t, text, finding)
			assert.NotContains(t, text, "{", finding)
		}
	}
}

// TestKept: who keeps an address because another one is not to be had is told what makes that possible, and how to take the request back.
func TestKept(t *testing.T) {
	m := surveytest.Model(t, surveytest.Shop, func(s *survey.Survey) {
		svc := s.Service("shop", "mail")
		svc.Annotations["metallb.io/loadBalancerIPs"] = "192.0.2.0" // that of web
		meta.FindStatusCondition(svc.Status.Conditions, "fairlead.io/Allocated").Reason = "AddressKept"
	})
	f := explain.OfService(m, "shop", "mail").Fix
	require.NotNil(t, f)
	assert.Equal(t, "AddressKept", f.Reason)
	assert.Equal(t, "ask for another address, or set metallb.io/allow-shared-ip to one value on both Services; or keep the address, and take the request back", f.Help)
	assert.Equal(t, "kubectl -n shop annotate service mail metallb.io/loadBalancerIPs-", f.Command)
}

// TestWithheld: an advertisement that a backend withholds is mended as what it has found is.
func TestWithheld(t *testing.T) {
	m := surveytest.Model(t, surveytest.Shop, func(s *survey.Survey) {
		s.Backends[0].Status.Conditions = append(s.Backends[0].Status.Conditions, metav1.Condition{
			Type: "UnsupportedField", Status: metav1.ConditionTrue, Message: "BGPAdvertisement/metallb-system/routed spec.peers: cannot be kept from others",
		})
		c := meta.FindStatusCondition(s.Service("shop", "web").Status.Conditions, "fairlead.io/Advertised")
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, "NotAdvertised", `calico withholds BGPAdvertisement "routed": spec.peers: cannot be kept from others`
	})
	f := explain.OfService(m, "shop", "web").Fix
	require.NotNil(t, f)
	assert.Contains(t, f.Help, "take the field out of the object")
	assert.Contains(t, f.Help, "allowWiderAdvertisement of the chart has it advertised")
}

type change = func(*survey.Survey)

// TestFirstFix: what is first on the way from the request to the packets is named first.
func TestFirstFix(t *testing.T) {
	web := func(do func(*corev1.Service)) change {
		return func(s *survey.Survey) { do(s.Service("shop", "web")) }
	}
	condition := func(i int, status metav1.ConditionStatus, reason string) change {
		return web(func(s *corev1.Service) {
			s.Status.Conditions[i].Status, s.Status.Conditions[i].Reason, s.Status.Conditions[i].Message = status, reason, "message"
		})
	}
	backend := func(do func(*v1alpha1.Backend)) change {
		return func(s *survey.Survey) { do(&s.Backends[0]) }
	}
	sessionDown := func(s *survey.Survey) {
		for i := range s.Sessions {
			s.Sessions[i].Status.State, s.Sessions[i].Status.LastError = "Idle", "hold timer expired"
		}
	}
	noEndpoints := func(s *survey.Survey) { s.Slices = nil }
	for _, tc := range []struct {
		name          string
		change        []change
		want          string // reason; empty: nothing
		what, command string // parts of them
	}{
		{name: "nothing"},
		{name: "type", change: []change{web(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })}, want: explain.FixNotLoadBalancer, what: "ClusterIP"},
		{name: "class", change: []change{web(func(s *corev1.Service) { s.Spec.LoadBalancerClass = new("other") })}, want: explain.FixClassNotServed, what: `"other"; served are Services without a class`},
		{name: "the controller has stopped", change: []change{func(s *survey.Survey) { s.At = s.At.Add(time.Hour) }}, want: explain.FixNoController, what: "1h0m5s", command: "get pods"},
		{name: "no controller ever", change: []change{func(s *survey.Survey) { s.Controller = survey.Controller{} }, web(func(s *corev1.Service) { s.Status = corev1.ServiceStatus{} })}, want: explain.FixNoController, what: "metallb-system"},
		{name: "Leases may not be read", change: []change{func(s *survey.Survey) {
			s.Controller.LeaseFound, s.Gaps = false, []survey.Gap{{What: "Leases", Why: "you may not"}}
		}}},
		{name: "not judged", change: []change{web(func(s *corev1.Service) { s.Status.Conditions = nil })}, want: explain.FixNotJudged},
		{name: "kept", change: []change{condition(0, metav1.ConditionTrue, "AddressKept")}, want: "AddressKept", what: "message"},
		{name: "pool full comes before no endpoints", change: []change{condition(0, metav1.ConditionFalse, "PoolExhausted"), noEndpoints}, want: "PoolExhausted", command: "kubectl fairlead pools"},
		{name: "not advertised", change: []change{condition(1, metav1.ConditionFalse, "NoAdvertisement")}, want: "NoAdvertisement", command: "get bgpadvertisements,l2advertisements"},
		{name: "not known whether it is advertised", change: []change{condition(1, metav1.ConditionUnknown, "ApplyFailed")}, want: "ApplyFailed", command: "kubectl fairlead backends"},
		{name: "backend missing", change: []change{func(s *survey.Survey) { s.Backends = nil }}, want: explain.FixBackendNotReady, what: `"speaker"`},
		{name: "backend not ready", change: []change{backend(func(b *v1alpha1.Backend) { b.Status.Conditions[0].Status = metav1.ConditionFalse })}, want: explain.FixBackendNotReady, command: "kubectl describe backends.fairlead.io speaker"},
		{name: "backend inactive", change: []change{backend(func(b *v1alpha1.Backend) {
			b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: "BackendInactive", Status: metav1.ConditionTrue, Message: "asleep"})
		})}, want: "BackendInactive", what: "asleep"},
		{name: "no endpoints", change: []change{noEndpoints}, want: announce.ReasonNoEndpoints, what: "no endpoints", command: "service-name=web"},
		{name: "endpoints may not be read", change: []change{noEndpoints, func(s *survey.Survey) { s.Gaps = []survey.Gap{{What: "EndpointSlices"}} }}},
		{name: "session down", change: []change{sessionDown}, want: explain.FixSessionDown, what: `node "n2" with peer "tor" is Idle: hold timer expired`},
		{name: "no endpoints come before sessions", change: []change{sessionDown, noEndpoints}, want: announce.ReasonNoEndpoints},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := explain.OfService(surveytest.Model(t, surveytest.Shop, tc.change...), "shop", "web").Fix
			if tc.want == "" {
				require.Nil(t, f)
				return
			}
			require.NotNil(t, f)
			assert.Equal(t, tc.want, f.Reason)
			assert.Contains(t, f.What, tc.what)
			assert.Contains(t, f.Command, tc.command)
			assert.NotEmpty(t, f.Help)
		})
	}
}

// TestSessionsOver: each session counts once, if it is of the backend that is to advertise and of a node that the advertisement selects.
func TestSessionsOver(t *testing.T) {
	over := func(change ...change) []string {
		m := surveytest.Model(t, surveytest.Shop, change...)
		var out []string
		for _, o := range explain.SessionsOver(m, m.Service("shop", "web"), "main") {
			out = append(out, o.Name)
		}
		return out
	}
	before := over()
	require.NotEmpty(t, before)
	another := func(s *survey.Survey) {
		a := *s.Config.BGPAdvertisements[0].DeepCopy()
		a.Name = "another"
		s.Config.BGPAdvertisements = append(s.Config.BGPAdvertisements, a)
	}
	assert.Equal(t, before, over(another), "two advertisements, one session")
	assert.Empty(t, over(func(s *survey.Survey) {
		for i := range s.Sessions {
			s.Sessions[i].Labels = map[string]string{"fairlead.io/backend": "calico"}
		}
	}), "they are another backend's")
	assert.Empty(t, over(func(s *survey.Survey) {
		s.Config.BGPAdvertisements[0].Spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"no": "such"}}}
	}), "no node is to advertise")
}

// TestPoolsInOrder: each pool has the verdict that the controller comes to.
func TestPoolsInOrder(t *testing.T) {
	web := func(do func(*corev1.Service)) change {
		return func(s *survey.Survey) { do(s.Service("shop", "lost")) } // it has no address
	}
	ask := func(key, value string) change {
		return web(func(s *corev1.Service) { s.Annotations = map[string]string{key: value} })
	}
	type row struct{ pool, verdict string }
	for _, tc := range []struct {
		name   string
		change []change
		want   []row
		first  string // address that it would get
	}{
		{name: "by itself", change: []change{ask("x", "y")}, want: []row{{"main", explain.PoolWouldDo}, {"tenants", explain.PoolRefuses}, {"manual", explain.PoolPassed}}, first: "192.0.2.2"},
		{name: "a restricted pool comes first where it admits", change: []change{ask("x", "y"), func(s *survey.Survey) {
			s.Config.Pools[2].Spec.AllocateTo.Namespaces = []string{"shop"}
		}}, want: []row{{"tenants", explain.PoolWouldDo}, {"main", explain.PoolWouldDo}, {"manual", explain.PoolPassed}}, first: "203.0.113.10"},
		{name: "by name", change: []change{ask("metallb.universe.tf/address-pool", "manual")}, want: []row{{"manual", explain.PoolWouldDo}, {"tenants", explain.PoolPassed}, {"main", explain.PoolPassed}}, first: "198.51.100.1"},
		{name: "by address", change: []change{ask("metallb.io/loadBalancerIPs", "198.51.100.7")}, want: []row{{"manual", explain.PoolWouldDo}, {"tenants", explain.PoolPassed}, {"main", explain.PoolPassed}}, first: "198.51.100.7"},
		{name: "an address that is avoided", change: []change{ask("metallb.io/loadBalancerIPs", "198.51.100.0")}, want: []row{{"manual", explain.PoolRefuses}, {"tenants", explain.PoolPassed}, {"main", explain.PoolPassed}}},
		{name: "an address that is reserved for another", change: []change{ask("metallb.io/loadBalancerIPs", "192.0.2.3")}, want: []row{{"main", explain.PoolRefuses}, {"tenants", explain.PoolPassed}, {"manual", explain.PoolPassed}}},
		{name: "an address of no pool", change: []change{ask("metallb.io/loadBalancerIPs", "10.0.0.1")}, want: []row{{"tenants", explain.PoolPassed}, {"main", explain.PoolPassed}, {"manual", explain.PoolPassed}}},
		{name: "IPv6", change: []change{ask("x", "y"), web(func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "fd00::1", []string{"fd00::1"} })}, want: []row{{"main", explain.PoolWouldDo}, {"tenants", explain.PoolRefuses}, {"manual", explain.PoolPassed}}, first: "2001:db8::1"},
		{name: "a faulty pool that is asked for", change: []change{ask("metallb.io/address-pool", "main"), func(s *survey.Survey) {
			s.Config.Pools[0].Spec.Addresses = []string{"192.0.2.0/33"}
		}}, want: []row{{"main", explain.PoolSetAside}, {"tenants", explain.PoolPassed}, {"manual", explain.PoolPassed}}},
		{name: "a request that cannot be read", change: []change{ask("metallb.io/loadBalancerIPs", "192.0.2.300")}, want: []row{{"tenants", explain.PoolRefuses}, {"main", explain.PoolRefuses}, {"manual", explain.PoolRefuses}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := explain.OfService(surveytest.Model(t, surveytest.Shop, tc.change...), "shop", "lost")
			var got []row
			for _, p := range r.Pools {
				got = append(got, row{p.Name, p.Verdict})
				assert.True(t, p.Why != "" || p.Verdict == explain.PoolWouldDo, "%s says nothing", p.Name)
			}
			assert.Equal(t, tc.want, got)
			if tc.first != "" {
				assert.Equal(t, []string{tc.first}, r.Pools[0].Addresses)
			}
		})
	}
}

func TestAddressStates(t *testing.T) {
	hold := func(s *survey.Survey) {
		r := v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "hold-gone"}}
		r.Spec.Addresses, r.Spec.Service = []string{"192.0.2.2/32"}, &v1alpha1.ServiceReference{Namespace: "shop", Name: "gone"}
		r.Spec.HoldAfterDelete = &metav1.Duration{Duration: time.Hour}
		r.Status.ExpiresAt = &metav1.Time{Time: s.At}
		s.Config.Reservations = append(s.Config.Reservations, r)
	}
	m := surveytest.Model(t, surveytest.Shop, hold)
	for _, tc := range []struct{ addr, state, pool string }{
		{"192.0.2.0", explain.AddressHeld, "main"}, {"2001:db8::", explain.AddressHeld, "main"}, {"::ffff:192.0.2.1", explain.AddressHeld, "main"},
		{"192.0.2.2", explain.AddressKept, "main"}, {"192.0.2.3", explain.AddressReserved, "main"}, {"198.51.100.255", explain.AddressAvoided, "manual"},
		{"198.51.100.254", explain.AddressFree, "manual"}, {"2001:db8::3", explain.AddressFree, "main"}, {"10.0.0.1", explain.AddressOutside, ""}, {"fe80::1", explain.AddressOutside, ""},
	} {
		r := explain.OfAddress(m, netip.MustParseAddr(tc.addr))
		assert.Equal(t, tc.state, r.State, tc.addr)
		assert.Equal(t, tc.pool, r.Pool, tc.addr)
	}
	kept := explain.OfAddress(m, netip.MustParseAddr("192.0.2.2"))
	assert.Equal(t, []string{"shop/gone"}, kept.Holders)
	assert.Equal(t, []explain.Reservation{{Name: "hold-gone", For: "shop/gone", HoldAfterDelete: "1h0m0s", ExpiresAt: "2026-01-02T03:04:05Z"}}, kept.Reservations)
	between := explain.OfAddress(m, netip.MustParseAddr("200.0.0.1"))
	assert.Equal(t, []explain.Near{{Pool: "manual", Range: "198.51.100.0/24", Side: "below"}, {Pool: "tenants", Range: "203.0.113.10-203.0.113.19", Side: "above"}}, between.Nearest)
	held := explain.OfAddress(m, netip.MustParseAddr("2001:db8::"))
	assert.Equal(t, []string{"n2"}, names(held.Nodes))
}

func names(nodes []explain.Node) []string {
	var out []string
	for _, n := range nodes {
		if n.Layer2 || len(n.Peers) > 0 {
			out = append(out, n.Name)
		}
	}
	return out
}

func TestPercent(t *testing.T) {
	for _, tc := range []struct {
		use  explain.FamilyUse
		want int
	}{
		{explain.FamilyUse{Capacity: 10, Free: 10}, 0}, {explain.FamilyUse{Capacity: 1000, Free: 999}, 1}, {explain.FamilyUse{Capacity: 3, Free: 1}, 66}, {explain.FamilyUse{Capacity: 4}, 100},
		{explain.FamilyUse{}, 0}, {explain.FamilyUse{Capacity: 1<<63 - 1, Free: 1<<63 - 1, InUse: 5}, 0}, {explain.FamilyUse{Capacity: 1 << 62, Free: 1 << 61}, 50},
	} {
		assert.Equal(t, tc.want, tc.use.Percent(), "%+v", tc.use)
	}
}

// TestPeers: what a backend says of a peer, and the objects that it made for it, are told with the peer.
func TestPeers(t *testing.T) {
	delegated := func(s *survey.Survey) {
		s.Controller.Settings["backend"] = "calico"
		s.Sessions = nil
		b := v1alpha1.Backend{ObjectMeta: metav1.ObjectMeta{Name: "calico", Annotations: map[string]string{"fairlead.io/installation": s.Namespace}}}
		b.Status.Owned.Objects = []string{"BGPFilter/fairlead--remote", "BGPPeer/fairlead-tor", "BGPPeer/fairlead-tor-0123456789abcdef", "BGPPeer/fairlead-tor-2", "BGPPeer/fairlead-torso", "CiliumBGPPeerConfig/fairlead-bgppeer-tor.n1", "Secret/kube-system/fairlead-bgppeer-tor"}
		b.Status.Conditions = []metav1.Condition{{Type: "UnsupportedField", Message: "BGPAdvertisement/metallb-system/routed spec.localPref: not honoured; or so; BGPPeer/metallb-system/tor spec.bfdProfile: Calico has no BFD; BGPPeer/metallb-system/torso: x"}}
		s.Backends = append(s.Backends, b)
	}
	faulty := func(s *survey.Survey) { s.Config.BFDProfiles = nil }
	r := explain.OfPeers(surveytest.Model(t, surveytest.Shop, delegated, faulty))
	require.Len(t, r.Peers, 1)
	p := r.Peers[0]
	assert.Equal(t, "calico", p.Backend)
	assert.Equal(t, []string{"BGPPeer/fairlead-tor", "BGPPeer/fairlead-tor-0123456789abcdef", "CiliumBGPPeerConfig/fairlead-bgppeer-tor.n1"}, p.Objects)
	assert.True(t, slices.Contains(p.Problems, "UnsupportedField: spec.bfdProfile: Calico has no BFD"), "%q", p.Problems)
	assert.Contains(t, p.Problems[0], "spec.bfdProfile", "the reference to a profile that does not exist")
	assert.True(t, p.Faulty, "it is not in force")
	assert.Equal(t, "10.0.0.1", p.Address)
	assert.NotZero(t, p.PeerASN)
}

// TestAddressInUseElsewhere: an address that a node has, or that a Service shows which was not given it here, is not said to be free.
func TestAddressInUseElsewhere(t *testing.T) {
	for _, addr := range []string{"198.51.100.3", "2001:db8::3"} {
		m := surveytest.Model(t, surveytest.Shop, func(s *survey.Survey) {
			s.Nodes[0].Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: addr}}
		})
		r := explain.OfAddress(m, netip.MustParseAddr(addr))
		assert.Equal(t, explain.AddressNode, r.State)
		assert.Contains(t, r.Notes, `it is an address of node "n1"; no Service is given it`)
		assert.Empty(t, r.Reservations)

		m = surveytest.Model(t, surveytest.Shop, func(s *survey.Survey) {
			other, svc := "example.com/other", s.Service("shop", "web").DeepCopy()
			svc.Name, svc.Spec.LoadBalancerClass = "shows", &other
			svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: addr}}
			s.Services = append(s.Services, *svc)
		})
		r = explain.OfAddress(m, netip.MustParseAddr(addr))
		assert.Equal(t, explain.AddressShown, r.State)
		assert.Equal(t, []string{"shop/shows"}, r.AlsoShown)
	}
}
