package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestEveryNoHasItsReason makes a Service one that is not announced, for one reason after the other, and reads its condition.
func TestEveryNoHasItsReason(t *testing.T) {
	s := site.New(t, bed, 2, "--same-subnet")
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	p := s.Probe(s.Client, vips, site.Every)
	yes := "True Advertised: speaker: announced on the local network from node"
	s.Advertised(svc, yes)
	l2 := func(change func(*v1beta1.L2AdvertisementSpec)) {
		var a v1beta1.L2Advertisement
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "main"}, &a))
		a.Spec = v1beta1.L2AdvertisementSpec{}
		change(&a.Spec)
		require.NoError(t, bed.Client.Update(t.Context(), &a))
	}
	both := func(do func(*netlab.Node)) {
		for _, n := range s.Nodes() {
			do(n)
		}
	}
	for _, tc := range []struct {
		name, want string
		hurt, heal func()
	}{
		{name: "no endpoint", want: "False NoEndpoints: no endpoint of the Service serves",
			hurt: func() { s.SetEndpoints(svc) }, heal: func() { s.SetEndpoints(svc, netlab.Ready(s.Nodes()...)...) }},
		{name: "excluded", want: "False NodeLabeledExcludeBalancers: " + vips[0].String() + ": no node announces the address; n1, n2: it has the label node.kubernetes.io/exclude-from-external-load-balancers",
			hurt: func() { both(func(n *netlab.Node) { s.Exclude(n, true) }) }, heal: func() { both(func(n *netlab.Node) { s.Exclude(n, false) }) }},
		{name: "different reasons", want: "False NotAnnounced: " + vips[0].String() + ": no node announces the address; n1: it has the label node.kubernetes.io/exclude-from-external-load-balancers; n2: its condition NetworkUnavailable is True",
			hurt: func() { s.Exclude(s.Nodes()[0], true); s.Nodes()[1].SetNetworkUnavailable(true) },
			heal: func() { s.Exclude(s.Nodes()[0], false); s.Nodes()[1].SetNetworkUnavailable(false) }},
		{name: "interfaces", want: "False NoInterface: " + vips[0].String() + ": no node announces the address; n1, n2: none of the interfaces eth7 is usable for IPv4 in the subnet of " + vips[0].String() + "; it has eth0",
			hurt: func() { l2(func(a *v1beta1.L2AdvertisementSpec) { a.Interfaces = []string{"eth7"} }) }, heal: func() { l2(func(*v1beta1.L2AdvertisementSpec) {}) }},
		{name: "no node selected", want: "False NodeNotSelected: ",
			hurt: func() {
				l2(func(a *v1beta1.L2AdvertisementSpec) {
					a.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"rack": "9"}}}
				})
			}, heal: func() { l2(func(*v1beta1.L2AdvertisementSpec) {}) }},
		{name: "no advertisement", want: "False NoAdvertisement: no BGPAdvertisement or L2Advertisement selects pool \"main\"",
			hurt: func() { l2(func(a *v1beta1.L2AdvertisementSpec) { a.IPAddressPools = []string{"other"} }) }, heal: func() { l2(func(*v1beta1.L2AdvertisementSpec) {}) }},
		{name: "links down", want: "False NoInterface: " + vips[0].String() + ": no node announces the address; n1, n2: no usable interface for IPv4 in the subnet of " + vips[0].String() + "; it has none at present",
			hurt: func() { both(func(n *netlab.Node) { n.LinkDown() }) }, heal: func() { both(func(n *netlab.Node) { n.LinkUp() }) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.hurt()
			s.Advertised(svc, tc.want)
			s.Told(svc, nil)
			quiet := time.Now()
			p.Await(t, "ten probes", func() bool { return len(p.Probes(vips[0], quiet, time.Time{})) > 10 })
			assert.Empty(t, netlab.Names(p.Answerers(vips[0], quiet, time.Time{})), "nobody answers")
			tc.heal()
			s.Advertised(svc, yes)
			p.AwaitAnswer(t, vips[0], time.Now(), nil)
		})
	}
}

// TestEvents checks that each change of node makes one event, and nothing else makes any, and what a Backend object and the metrics say.
func TestEvents(t *testing.T) {
	s := site.New(t, bed, 2, "--metrics-bind-address=127.0.0.1:9100")
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	p := s.Probe(s.Client, vips, site.Every)
	p.AwaitAnswer(t, vips[0], time.Now(), nil)
	events := func(ctx context.Context) []string {
		var list eventsv1.EventList
		require.NoError(t, bed.Client.List(ctx, &list, client.InNamespace(svc.Namespace)))
		var out []string
		for _, e := range list.Items {
			if e.Regarding.UID == svc.UID && e.ReportingController == "metallb-speaker" {
				out = append(out, fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Note))
			}
		}
		slices.Sort(out)
		return out
	}
	assigned := func(n *netlab.Node) string {
		return fmt.Sprintf("Normal nodeAssigned: announcing from node %q with protocol \"layer2\"", n.Name())
	}
	await := func(want ...string) {
		slices.Sort(want)
		testbed.Eventually(t, "events", func(ctx context.Context) error {
			if got := events(ctx); !slices.Equal(got, want) {
				return fmt.Errorf("there are %q, want %q", got, want)
			}
			return nil
		})
	}
	first := s.Owner(p, vips[0])
	await(assigned(first))
	second := s.Except(first)[0]
	// Nothing that changes: endpoints come and go, and the other node is excluded.
	for range 10 {
		s.SetEndpoints(svc, netlab.Ready(first)...)
		s.SetEndpoints(svc, netlab.Ready(s.Nodes()...)...)
	}
	s.Exclude(second, true)
	s.Exclude(second, false)
	s.Exclude(first, true)
	s.Moved(p, vips[0], first)
	await(assigned(first), assigned(second))
	s.Told(svc, second.Host)
	s.Exclude(first, false)

	text := second.Command("curl", "-sS", "http://127.0.0.1:9100/metrics")
	for _, want := range []string{
		fmt.Sprintf(`metallb_speaker_announced{ip=%q,node=%q,protocol="layer2",service="default/web"} 1`, vips[0], second.Name()),
		fmt.Sprintf(`metallb_layer2_requests_received{ip=%q}`, vips[0]), fmt.Sprintf(`metallb_layer2_responses_sent{ip=%q}`, vips[1]),
		fmt.Sprintf(`metallb_layer2_gratuitous_sent{ip=%q}`, vips[0]), "fairlead_layer2_takeovers_total", "fairlead_layer2_failover_seconds_count",
		"metallb_k8s_client_config_loaded_bool 1",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, first.Command("curl", "-sS", "http://127.0.0.1:9100/metrics"), vips[0].String(), "series of what is not announced any more")

	var b v1alpha1.Backend
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Name: "speaker"}, &b))
	assert.Equal(t, []string{"bgp", "layer2"}, b.Status.Serves)
	assert.Equal(t, []string{"L2Advertisement/" + s.Namespace + "/main"}, b.Status.Owned.Objects)
}

// TestUpgrade restarts all speakers, one by one, while clients fetch: nothing is lost but a connection that is open at the moment in which its
// address moves. The next node knows nothing of it, as after every move on the local network.
func TestUpgrade(t *testing.T) {
	s := site.New(t, bed, 3)
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	watch := s.AddClient("watch")
	p := s.Probe(watch, vips, site.Every)
	fetchers := map[netip.Addr]*netlab.Fetcher{}
	for _, vip := range vips {
		s.Alone(p, vip)
		fetchers[vip] = s.Fetch(s.Client, vip, 20*time.Millisecond, 5*time.Second)
		fetchers[vip].AwaitSuccess(t, time.Now())
	}
	before := time.Now()
	for _, n := range s.Nodes() {
		_, err := s.Speakers[n.Name()].Stop()
		require.NoError(t, err)
		x := s.Speak(n)
		testbed.Eventually(t, n.Name()+" to be back", func(context.Context) error {
			if !strings.Contains(x.Log(), "joined the speakers") {
				return fmt.Errorf("it is not")
			}
			return nil
		})
	}
	for _, vip := range vips {
		s.Alone(p, vip)
		fetchers[vip].Stop()
		assert.Empty(t, p.Lost(vip, before, time.Time{}), "probes for %s", vip)
		failed := slices.DeleteFunc(fetchers[vip].Failed(before, time.Time{}), func(f netlab.Fetch) bool {
			const apart = 2 * time.Millisecond // between the client's kernel and who watches
			return slices.ContainsFunc(p.Gratuitous(vip, f.At.Add(-apart)), func(a netlab.Announcement) bool { return a.At.Before(f.At.Add(f.Took + apart)) })
		})
		assert.Empty(t, failed, "requests to %s", vip)
		t.Logf("%s: %d requests, %d failed", vip, len(fetchers[vip].All(before, time.Time{})), len(failed))
	}
}

// TestFollowsTheController has speakers that are told nothing serve what the controller hands them, and stop when it takes it back.
func TestFollowsTheController(t *testing.T) {
	s := site.New(t, bed, 2)
	s.Create(&v1beta1.IPAddressPool{ObjectMeta: s.Meta("other"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.120.0/24", "2001:db8::2:0/112"}}})
	svc := s.Service("web", s.Nodes(), func(svc *corev1.Service) { svc.Annotations = map[string]string{"metallb.io/address-pool": "main"} })
	vips := site.Addrs(svc)
	p := s.Probe(s.Client, vips, site.Every)
	p.AwaitAnswer(t, vips[0], time.Now(), nil)
	backend := func(value string) {
		var a v1beta1.L2Advertisement
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "main"}, &a))
		a.Annotations = map[string]string{"fairlead.io/backend": value}
		require.NoError(t, bed.Client.Update(t.Context(), &a))
	}
	backend("none")
	s.Advertised(svc, "False NoBackend: no backend serves L2Advertisement \"main\"")
	p.Await(t, "silence", func() bool { return p.Owner(vips[0]) == nil })
	s.Told(svc, nil)
	backend("speaker")
	p.AwaitAnswer(t, vips[0], time.Now(), nil)
	s.Advertised(svc, "True Advertised: speaker")

	// A controller that goes on without speakers takes back what it handed to them.
	_, err := s.Controller.Stop()
	require.NoError(t, err)
	bed.Start(t, s.Namespace, "--backend=none")
	backend("")
	p.Await(t, "silence", func() bool { return p.Owner(vips[0]) == nil })
	s.Told(svc, nil)
}
