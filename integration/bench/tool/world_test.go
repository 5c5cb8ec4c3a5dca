package tool

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

const (
	namespace           = "metallb-system"
	namespaceOfServices = "apps"
	nodes               = 500
	pools               = 10
	// Pools below routed are announced by layer 2, the others by BGP, each from edges nodes of its own.
	routed = 5
	edges  = 3
	// linkPool and routedPool are those that commands are asked about.
	linkPool   = 1
	routedPool = 7
)

var peers = []string{"left", "right"}

// lasting is when processes that do not run have given their last sign of life: nobody is to miss it before the benchmark ends.
var lasting = time.Now().Add(time.Hour)

func nodeName(i int) string            { return fmt.Sprintf("node-%03d", i%nodes) }
func poolName(pool int) string         { return fmt.Sprintf("pool-%d", pool) }
func serviceName(pool, i int) string   { return fmt.Sprintf("web-%d-%05d", pool, i) }
func poolPrefix(pool int) netip.Prefix { return netip.PrefixFrom(serviceAddress(pool, 0), 16) }
func clusterAddress(pool, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(100 + pool), byte(i >> 8), byte(i)})
}
func edge(pool, k int) string              { return nodeName((pool-routed)*edges + k) }
func endpointNode(i, k int) string         { return nodeName(edges*(pools-routed) + 3*i + k) }
func in(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }

// speakerMeta is the metadata of what a speaker tells of itself.
func speakerMeta(name, node string) metav1.ObjectMeta {
	m := in(namespace, name)
	m.Labels = map[string]string{presence.LabelStatusNode: node, presence.LabelNode: node}
	return m
}

// serviceAddress returns an address that answers: all of 127.0.0.0/8 is this machine.
func serviceAddress(pool, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(64 + pool), byte(i >> 8), byte(i)})
}

// build fills the API server with what a controller and the speakers of a large cluster have written. The controller serves one Service
// of each pool; the others are copies.
func build(b *testing.B) {
	b.Helper()
	ctx := b.Context()
	for _, ns := range []string{namespace, namespaceOfServices} {
		create(b, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, nil)
	}
	buildNodes(b)
	configure(b)
	var templates [pools][]client.Object
	for p := range pools {
		templates[p] = buildService(b, p, answer(b))
	}
	c, err := bed.Launch(namespace, "--backend=speaker")
	require.NoError(b, err)
	for p := range pools {
		testbed.Eventually(b, "the first Service of "+poolName(p), func(ctx context.Context) error { return served(ctx, p) })
	}
	_, err = c.Stop()
	require.NoError(b, err)
	pretend(b)
	for p, objects := range templates {
		for _, o := range objects {
			require.NoError(b, bed.Client.Get(ctx, client.ObjectKeyFromObject(o), o))
		}
		require.NoError(b, bed.Copies(ctx, objects, 1, *perPool, func(i int) []string {
			texts := []string{serviceName(p, 0), serviceName(p, i), serviceAddress(p, 0).String(), serviceAddress(p, i).String()}
			texts = append(texts, clusterAddress(p, 0).String(), clusterAddress(p, i).String())
			for k := range 3 {
				texts = append(texts, endpointNode(0, k), endpointNode(i, k))
			}
			return texts
		}))
	}
	settle(b)
}

// create creates an object, and gives it a status.
func create(b *testing.B, o client.Object, status func()) {
	b.Helper()
	require.NoError(b, bed.Client.Create(b.Context(), o))
	if status != nil {
		status()
		require.NoError(b, bed.Client.Status().Update(b.Context(), o))
	}
}

// configure makes the pools and says who is to hear of them.
func configure(b *testing.B) {
	b.Helper()
	for k, name := range peers {
		create(b, &v1beta2.BGPPeer{ObjectMeta: in(namespace, name), Spec: v1beta2.BGPPeerSpec{
			MyASN: 64512, PeerASN: 64513, PeerAddress: fmt.Sprintf("192.0.2.%d", k+1),
		}}, nil)
	}
	for p := range pools {
		name := poolName(p)
		create(b, &v1beta1.IPAddressPool{
			ObjectMeta: in(namespace, name), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{poolPrefix(p).String()}},
		}, nil)
		if p < routed {
			create(b, &v1beta1.L2Advertisement{
				ObjectMeta: in(namespace, name), Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{name}},
			}, nil)
			continue
		}
		create(b, &v1beta1.BGPAdvertisement{ObjectMeta: in(namespace, name), Spec: v1beta1.BGPAdvertisementSpec{
			IPAddressPools: []string{name}, NodeSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"edge": name}}},
		}}, nil)
	}
}

// served says whether the controller has given the first Service of a pool its address, and says that it is advertised.
func served(ctx context.Context, pool int) error {
	var s corev1.Service
	if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: namespaceOfServices, Name: serviceName(pool, 0)}, &s); err != nil {
		return err
	}
	if shown := service.ShownAddresses(&s); len(shown) != 1 || shown[0] != serviceAddress(pool, 0) {
		return fmt.Errorf("it has %v", shown)
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, service.ConditionAdvertised); c == nil || c.Status != metav1.ConditionTrue {
		return fmt.Errorf("it is not advertised: %+v", c)
	}
	return nil
}

// pretend has the controller, which does not run any more, look as if it did: it would not look at what follows.
func pretend(b *testing.B) {
	b.Helper()
	var l coordinationv1.Lease
	require.NoError(b, bed.Client.Get(b.Context(), types.NamespacedName{Namespace: namespace, Name: survey.LeaseName}, &l))
	l.Spec.HolderIdentity, l.Spec.RenewTime = new("fairlead-controller-1"), new(metav1.NewMicroTime(lasting))
	l.Spec.LeaseDurationSeconds = new(int32(3600))
	require.NoError(b, bed.Client.Update(b.Context(), &l))
	workloads(b)
}

// settle waits until the API server knows of all that was written into etcd.
func settle(b *testing.B) {
	b.Helper()
	for list, want := range map[client.ObjectList]int{
		&corev1.ServiceList{}: pools * *perPool, &v1beta1.ServiceL2StatusList{}: routed * *perPool,
		&v1beta1.ServiceBGPStatusList{}: edges * (pools - routed) * *perPool, &networkingv1.IPAddressList{}: pools * *perPool,
	} {
		testbed.Eventually(b, "all objects", func(ctx context.Context) error {
			if err := bed.Client.List(ctx, list); err != nil {
				return err
			}
			if n := meta.LenList(list); n < want {
				return fmt.Errorf("%d of %d", n, want)
			}
			return nil
		})
	}
}
