package backends

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
)

func addresses(text ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range text {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func peer(name, addr string) backends.Peer {
	return backends.Peer{Source: source("BGPPeer", name), MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr(addr)}
}

// samePeer: a session that somebody else's BGPPeer holds is left to it, and the other is set up.
func samePeer(t *testing.T, f calicoFixture) {
	f.make(t, f.object(v3.KindBGPPeer, "theirs", map[string]any{"peerIP": "192.0.2.1", "asNumber": int64(64513)}))
	r := f.start(t)
	want := simple("198.51.100.0/24", "203.0.113.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.BGPAdvertisements[0].Pools = poolsNamed("pool-0")
	want.BGPAdvertisements = append(want.BGPAdvertisements, backends.BGPAdvertisement{Source: source("BGPAdvertisement", "some"), Pools: poolsNamed("pool-1"), Peers: []string{"tor-b"}, AggregationLength: 24})
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, []string{"UnsupportedField BGPAdvertisement/some spec.peers", "PeerExists BGPPeer/tor-a spec.peerAddress"}, r.found())
	assert.True(t, r.outcome.Findings[0].Withheld)
	assert.Equal(t, "198.51.100.0/24", f.list(t), "the foreign peer would hear the other")
	assert.Equal(t, []string{"fairlead-tor-b", "theirs"}, f.names(t, "bgppeers"))
}

func (f calicoFixture) names(t testing.TB, resource string) []string {
	var out []string
	for _, u := range all(t, f.group.WithResource(resource), "") {
		out = append(out, u.GetName())
	}
	return out
}

// sameName: an object of somebody else is never overwritten nor deleted, whatever the record says.
func sameName(t *testing.T, f calicoFixture) {
	f.make(t, f.object(v3.KindBGPPeer, "fairlead-tor-a", map[string]any{"peerIP": "192.0.2.77", "asNumber": int64(64999)}))
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	before := f.Dump(t)
	for range 2 {
		r := f.start(t)
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Equal(t, []string{"Contended BGPPeer/fairlead-tor-a"}, r.found())
		assert.Contains(t, f.names(t, "bgppeers"), "fairlead-tor-b")
		require.NoError(t, r.Apply(t.Context(), want))
	}
	f.ledger.Objects = append(f.ledger.Objects, "BGPPeer/fairlead-tor-a") // as after a crash at the wrong time
	require.NoError(t, f.start(t).Apply(t.Context(), backends.Desired{}))
	assert.Equal(t, before, f.Dump(t))
	assert.True(t, f.ledger.IsEmpty())
}

// brokenFilter: what cannot be kept from a peer is not advertised, and nothing else is affected.
func brokenFilter(t *testing.T, f calicoFixture) {
	f.make(t, f.object(v3.KindBGPFilter, "fairlead-tor-a", map[string]any{"exportV4": []any{}}))
	r := f.start(t)
	want := simple("198.51.100.0/24", "203.0.113.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.BGPAdvertisements[0].Pools = poolsNamed("pool-0")
	want.BGPAdvertisements = append(want.BGPAdvertisements, backends.BGPAdvertisement{Source: source("BGPAdvertisement", "some"), Pools: poolsNamed("pool-1"), Peers: []string{"tor-b"}, AggregationLength: 24})
	err := r.Apply(t.Context(), want)
	require.ErrorContains(t, err, "announce 203.0.113.0/24: cannot be kept from peers that must not hear it")
	assert.NotContains(t, err.Error(), "198.51.100.0/24")
	assert.Equal(t, []string{"Contended BGPFilter/fairlead-tor-a"}, r.found())
	assert.Equal(t, "198.51.100.0/24", f.list(t))
	assert.False(t, r.outcome.Pools["pool-1"].Advertised)
	assert.Equal(t, []string{"fairlead-tor-b"}, f.names(t, "bgppeers"))
	wipe(t, f.group.WithResource("bgpfilters"), "", "")
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, "198.51.100.0/24 203.0.113.0/24", f.list(t))
	assert.Equal(t, []string{"fairlead-tor-a", "fairlead-tor-b"}, f.names(t, "bgppeers"))
}

// largeAS: Calico's CRDs ask for an int32 as the AS number. What the API refuses is told, nobody is said to hear anything because of it,
// and the other peer is set up.
func largeAS(t *testing.T, f calicoFixture) {
	r := f.start(t)
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.Peers[0].PeerASN = 4294967295
	want.Nodes = []backends.Node{{Name: "n1", Labels: labels.Set{"kubernetes.io/hostname": "n1"}}}
	want.BGPAdvertisements = append(want.BGPAdvertisements, backends.BGPAdvertisement{Source: source("BGPAdvertisement", "tor-a"), Pools: poolsNamed("pool-0"), Peers: []string{"tor-a"}, AggregationLength: 24})
	for range 2 {
		require.NoError(t, r.Apply(t.Context(), want))
		require.Equal(t, []string{"UnsupportedField BGPPeer/tor-a"}, r.found())
		assert.Contains(t, r.outcome.Findings[0].Message, "spec.asNumber")
		assert.True(t, r.outcome.Findings[0].Missing)
		assert.Equal(t, []string{"fairlead-tor-b"}, f.names(t, "bgppeers"))
		assert.NotContains(t, r.outcome.Owned, "BGPPeer/fairlead-tor-a", "it was not written")
		assert.NotContains(t, f.ledger.Objects, "BGPPeer/fairlead-tor-a", "it was not written")
		assert.True(t, r.outcome.Pools["pool-0"].Advertised)
		assert.Contains(t, r.outcome.Unheard[backends.Audience{Advertisement: source("BGPAdvertisement", "tor-a")}], `BGPPeer "tor-a" is not set up`)
		assert.NotContains(t, r.outcome.Unheard, backends.Audience{Advertisement: want.BGPAdvertisements[0].Source})
	}
	want.Peers[0].PeerASN = 64513
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Empty(t, r.found())
	assert.Contains(t, f.ledger.Objects, "BGPPeer/fairlead-tor-a")
	want.Peers[0].PeerASN = 4294967295
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Contains(t, r.outcome.Findings[0].Message, "it stays as it was")
	assert.Contains(t, f.ledger.Objects, "BGPPeer/fairlead-tor-a", "it is still there")
}

// forbidden: what may not be read is not known, and nothing fails for it but what cannot do without.
func forbidden(t *testing.T, f calicoFixture) {
	r := f.start(t)
	d := &down{next: r.Next, status: http.StatusForbidden}
	r.Next = d
	for _, path := range []string{
		"/apis/apps/", "/api/v1/namespaces/kube-system/configmaps", "/apis/crd.projectcalico.org/v1/clusterinformations", "/apis/crd.projectcalico.org/v1/ippools",
		"/apis/crd.projectcalico.org/v1/kubecontrollersconfigurations", "/apis/crd.projectcalico.org/v1/bgppeers", "/openapi/",
	} {
		d.prefix = path
		require.NoError(t, r.Apply(t.Context(), simple("192.0.2.0/24")), path)
		assert.Empty(t, r.found(), path)
	}
	d.prefix = "/apis/crd.projectcalico.org/v1/bgpconfigurations"
	dc, c := connect(t, r.Recorder)
	r.Next = d
	detected, err := calico.Detect(t.Context(), dc, c)
	require.NoError(t, err)
	assert.True(t, detected.Available())
	assert.ErrorContains(t, r.Apply(t.Context(), simple("10.0.0.0/24")), `announce 10.0.0.0/24: read BGPConfiguration "default" (crd.projectcalico.org/v1)`)
	d.prefix = "/apis/crd.projectcalico.org/v1/bgppeers"
	want := simple("10.0.0.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	assert.ErrorContains(t, r.Apply(t.Context(), want), "announce 10.0.0.0/24: list BGPPeers (crd.projectcalico.org/v1)")
	assert.Equal(t, "192.0.2.0/24", f.list(t), "foreign peers might hear it")
}

// noFilters: a Calico older than BGPFilters holds sessions, and advertises what all peers may hear.
func noFilters(t *testing.T, f calicoFixture) {
	r := f.start(t)
	r.Next = &hidden{r.Next, "bgpfilters"}
	want := simple("198.51.100.0/24", "203.0.113.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	want.BGPAdvertisements[0].Pools = poolsNamed("pool-0")
	want.BGPAdvertisements = append(want.BGPAdvertisements, backends.BGPAdvertisement{Source: source("BGPAdvertisement", "some"), Pools: poolsNamed("pool-1"), Peers: []string{"tor-a"}, AggregationLength: 24})
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Equal(t, []string{"UnsupportedField BGPAdvertisement/some spec.peers"}, r.found())
	assert.Contains(t, r.outcome.Findings[0].Message, "no BGPFilter")
	assert.Equal(t, "198.51.100.0/24", f.list(t))
	assert.Equal(t, []string{"fairlead-tor-a"}, f.names(t, "bgppeers"))
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Empty(t, f.names(t, "bgppeers"))
}

// hidden takes a resource out of discovery.
type hidden struct {
	next     http.RoundTripper
	resource string
}

func (h *hidden) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(req)
	if err != nil || req.URL.Path != "/apis/"+calicoRaw.String() {
		return resp, err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	b = bytes.ReplaceAll(b, []byte(`"name":"`+h.resource+`"`), []byte(`"name":"of-a-later-version"`))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return resp, resp.Request.Context().Err()
}

// longNames: of pools and peers, as long as a name may be.
func longNames(t *testing.T, f calicoFixture) {
	long := strings.Repeat("long", 63)
	r := f.start(t)
	want := backends.Desired{
		Announcements: announcements(long, "198.51.100.0/24"), Nodes: full().Nodes, Peers: []backends.Peer{peer(long, "192.0.2.1"), peer(long+"x", "192.0.2.2")},
		BGPAdvertisements: []backends.BGPAdvertisement{{Source: source("BGPAdvertisement", long), Pools: poolsNamed(long), NodeSelectors: []labels.Selector{selector("rack=1")}, AggregationLength: 24}},
	}
	want.Peers[0].Password = "s3cret"
	require.NoError(t, r.Apply(t.Context(), want))
	assert.Empty(t, r.found())
	assert.Len(t, f.names(t, "bgppeers"), 4, "two groups of nodes for each")
	f.strict(t)
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Empty(t, f.all(t))
}

// wrapped: on the raw objects that Calico's API server has written, labels are in an annotation, which stays.
func wrapped(t *testing.T, f calicoFixture) {
	const annotation = "projectcalico.org/metadata"
	r := f.start(t)
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	require.NoError(t, r.Apply(t.Context(), want))
	u, err := objects.Resource(f.group.WithResource("bgppeers")).Get(t.Context(), "fairlead-tor-a", metav1.GetOptions{})
	require.NoError(t, err)
	u.SetLabels(nil)
	u.SetAnnotations(map[string]string{annotation: `{"labels":{"app.kubernetes.io/managed-by":"fairlead","fairlead.io/installation":"` + ourNamespace + `"}}`})
	_, err = objects.Resource(f.group.WithResource("bgppeers")).Update(t.Context(), u, metav1.UpdateOptions{})
	require.NoError(t, err)
	want.Peers[0].Port = 1179
	require.NoError(t, r.Apply(t.Context(), want))
	u, err = objects.Resource(f.group.WithResource("bgppeers")).Get(t.Context(), "fairlead-tor-a", metav1.GetOptions{})
	require.NoError(t, err)
	ip, _, _ := unstructured.NestedString(u.Object, "spec", "peerIP")
	assert.Equal(t, "192.0.2.1:1179", ip)
	assert.Contains(t, u.GetAnnotations()[annotation], "fairlead")
	assert.Empty(t, r.found())
	require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
	assert.Empty(t, f.all(t))
}

// lostRecord: without the record, objects are known by their labels; entries of the list are nobody's and stay.
func lostRecord(t *testing.T, f calicoFixture) {
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	want.Peers[0].Password = "s3cret"
	require.NoError(t, f.start(t).Apply(t.Context(), want))
	f.ledger.Record = calico.Record{}
	require.NoError(t, f.start(t).Apply(t.Context(), backends.Desired{}))
	assert.Len(t, f.all(t), 1)
	assert.Equal(t, "198.51.100.0/24", f.list(t))
}

// abandoned: without Calico's API, what is not Calico's goes all the same, and the record with it.
func abandoned(t *testing.T, f calicoFixture) {
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1")}
	want.Peers[0].Password = "s3cret"
	r := f.start(t)
	require.NoError(t, r.Apply(t.Context(), want))
	remove(t, calicoCRDs(t, f.group, false))
	require.ErrorIs(t, r.Apply(t.Context(), want), backends.ErrNotInstalled)
	assert.Len(t, all(t, secretsResource, nodeNamespace), 1)
	for range 2 {
		require.NoError(t, r.Apply(t.Context(), backends.Desired{}))
		assert.Empty(t, all(t, secretsResource, nodeNamespace))
		assert.True(t, f.ledger.IsEmpty())
	}
}

// TestOldCalico: a Calico that lacks fields is given what it knows, and the user is told what that means.
func TestOldCalico(t *testing.T) {
	f := installCalico(t, calicoRaw, true)
	defer f.Reset(t)
	want := simple("198.51.100.0/24")
	want.Peers = []backends.Peer{peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}
	want.Peers[1].MyASN = 64999
	for name, mode := range map[string]calico.Aggregation{"auto": calico.Auto, "disabled": calico.Disabled} {
		r := f.start(t, func(cfg *calico.Config) { cfg.Aggregation = mode })
		require.NoError(t, r.Apply(t.Context(), want))
		expected := []string{"UnsupportedField BGPPeer/tor-b spec.myASN"}
		if mode == calico.Disabled {
			expected = append([]string{"UnsupportedField BGPConfiguration/default spec.serviceLoadBalancerAggregation"}, expected...)
		}
		assert.Equal(t, expected, r.found(), name)
		assert.Equal(t, "198.51.100.0/24", f.list(t))
		assert.Contains(t, r.outcome.Facts, backends.Fact{
			Name: "missing fields", Value: "BGPConfiguration spec.serviceLoadBalancerAggregation, BGPPeer spec.localASNumber", Source: "OpenAPI schema",
		})
		assert.Len(t, f.names(t, "bgppeers"), 2)
		assert.True(t, r.outcome.Pools["pool-0"].Advertised)
	}
	t.Run("before its schema is known", func(t *testing.T) {
		f.Reset(t)
		r := f.start(t, func(cfg *calico.Config) { cfg.Aggregation = calico.Disabled })
		d := &down{next: r.Next, prefix: "/openapi/"}
		r.Next = d
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Equal(t, "198.51.100.0/24", f.list(t), "refused writes show what is missing")
		assert.Len(t, f.names(t, "bgppeers"), 2)
		r.Take()
		require.NoError(t, r.Apply(t.Context(), want))
		assert.Empty(t, r.Take())
		assert.Nil(t, f.ledger.Aggregation)
	})
}
