package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go4.org/netipx"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

const ipamGroup = "ipam.cluster.x-k8s.io"

func ipam(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: ipamGroup, Version: "v1beta2", Kind: kind}
}

// ipamProvider answers the claims of a namespace, as a provider of Cluster API's IPAM contract does. As long as it is unwell, it is slow,
// refuses, forgets what it has given, and gives an address twice.
type ipamProvider struct {
	t         *testing.T
	namespace string
	rng       *rand.Rand
	truth     *allocator.Builtin

	mu     sync.Mutex // protects unwell and faults
	unwell bool
	faults map[string]int
}

func (p *ipamProvider) run(ctx context.Context) {
	for ctx.Err() == nil {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(ipam("IPAddressClaimList"))
		if err := bed.Client.List(ctx, list, client.InNamespace(p.namespace)); err == nil {
			there := map[string]bool{}
			for i := range list.Items {
				there[list.Items[i].GetName()] = true
				p.serve(ctx, &list.Items[i])
			}
			all, _ := p.truth.List(ctx)
			for _, x := range all {
				if !there[x.ID] {
					_ = p.truth.Release(ctx, x.ID) // it cannot fail
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// fault returns what goes wrong with one answer; empty: nothing.
func (p *ipamProvider) fault() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.unwell || p.rng.IntN(3) > 0 {
		return ""
	}
	f := []string{"slow", "refuses", "forgets", "twice", "outside"}[p.rng.IntN(5)]
	p.faults[f]++
	return f
}

func (p *ipamProvider) serve(ctx context.Context, claim *unstructured.Unstructured) {
	answer, _ := p.truth.Ask(ctx, allocator.Claim{ID: claim.GetName(), Family: allocator.IPv4, Pool: "p"}) // it cannot fail
	was, _, _ := unstructured.NestedString(claim.Object, "status", "addressRef", "name")
	fault := p.fault()
	address := answer.Addr.String()
	switch {
	case fault == "slow":
		return
	case fault == "refuses" && was == "" || !answer.Addr.IsValid():
		p.status(ctx, claim, map[string]any{"conditions": []any{map[string]any{
			"type": "Ready", "status": "False", "reason": "PoolExhausted", "message": "nothing left", "lastTransitionTime": "2026-01-01T00:00:00Z",
		}}})
		return
	case fault == "forgets":
		_ = bed.Client.Delete(ctx, p.address(claim, "")) // it is made again
		return
	case fault == "twice":
		address = "10.90.0.1"
	case fault == "outside":
		address = "203.0.113.7"
	}
	o := p.address(claim, address)
	is := p.address(claim, "")
	switch err := bed.Client.Get(ctx, client.ObjectKeyFromObject(o), is); {
	case apierrors.IsNotFound(err):
		_ = bed.Client.Create(ctx, o)
	case err == nil:
		if now, _, _ := unstructured.NestedString(is.Object, "spec", "address"); now != address {
			_ = bed.Client.Delete(ctx, is) // specs do not change
			_ = bed.Client.Create(ctx, o)
		}
	}
	if was == "" {
		p.status(ctx, claim, map[string]any{"addressRef": map[string]any{"name": claim.GetName()}})
	}
}

func (p *ipamProvider) address(claim *unstructured.Unstructured, address string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"address": address, "prefix": int64(24), "claimRef": map[string]any{"name": claim.GetName()},
		"poolRef": map[string]any{"apiGroup": "coordination.k8s.io", "kind": "Lease", "name": "p"},
	}}}
	o.SetGroupVersionKind(ipam("IPAddress"))
	o.SetNamespace(claim.GetNamespace())
	o.SetName(claim.GetName())
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: claim.GetAPIVersion(), Kind: claim.GetKind(), Name: claim.GetName(), UID: claim.GetUID()}})
	return o
}

// status has a claim say something; if it has changed meanwhile, the next look does.
func (p *ipamProvider) status(ctx context.Context, claim *unstructured.Unstructured, status map[string]any) {
	if was, _, _ := unstructured.NestedMap(claim.Object, "status"); fmt.Sprint(was) == fmt.Sprint(status) {
		return
	}
	claim.Object["status"] = status
	_ = bed.Client.Status().Update(ctx, claim)
}

// TestChaosOfAllocator hurts the controller and the provider of its addresses at the same time: while the one is killed and the other slow,
// refusing, forgetting and contradicting itself, no address moves and none has two holders; when both are well, everybody is served whom
// there is an address for, and there is a claim for each address that is held and no other.
func TestChaosOfAllocator(t *testing.T) {
	s := seed(t)
	rng := rand.New(rand.NewPCG(s, 17))
	const size, names = 20, 28
	p, err := bed.ServeIPAM()
	require.NoError(t, err)
	p.Kill() // only the kinds are needed
	ns := bed.Namespace(t)
	class := "example.org/" + ns
	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p", Annotations: map[string]string{
		"fairlead.io/allocator": "cluster-api", "fairlead.io/allocator-pool": "Lease.coordination.k8s.io/p",
	}}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.90.0.0/24"}}}
	require.NoError(t, bed.Client.Create(t.Context(), pool))
	// Any object with a name does for the provider's pool.
	require.NoError(t, bed.Client.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"}}))

	truth, err := allocator.NewBuiltin(allocator.Pool{Name: "p", Ranges: []netipx.IPRange{netipx.MustParseIPRange("10.90.0.1-10.90.0.20")}})
	require.NoError(t, err)
	sick := &ipamProvider{t: t, namespace: ns, rng: rand.New(rand.NewPCG(s, 23)), truth: truth, unwell: true, faults: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var provider sync.WaitGroup
	provider.Go(func() { sick.run(ctx) })

	start := func() *testbed.Process {
		return bed.Start(t, ns, "--lb-class", class, "--allocators=cluster-api", "--leader-elect=false")
	}
	controller := start()
	held := map[types.UID]string{}
	look := func(ctx context.Context) (with, all int, err error) {
		var list corev1.ServiceList
		if err := bed.Client.List(ctx, &list, client.InNamespace(ns)); err != nil {
			return 0, 0, err
		}
		seen := map[string]string{}
		for i := range list.Items {
			svc := &list.Items[i]
			now := joined(addresses(svc))
			if was := held[svc.UID]; was != "" && was != now {
				return 0, 0, fmt.Errorf("%w: %s moved from %s to %q", errBroken, svc.Name, was, now)
			}
			if now == "" {
				continue
			}
			if other, twice := seen[now]; twice {
				return 0, 0, fmt.Errorf("%w: %s and %s have %s", errBroken, svc.Name, other, now)
			}
			if !netip.MustParsePrefix("10.90.0.0/24").Contains(netip.MustParseAddr(now)) {
				return 0, 0, fmt.Errorf("%w: %s has %s", errBroken, svc.Name, now)
			}
			held[svc.UID], seen[now] = now, svc.Name
			with++
		}
		return with, len(list.Items), nil
	}
	kills := 0
	for range max(20, *operationCount/5) {
		for range 10 {
			svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("s%d", rng.IntN(names))}}
			if rng.IntN(3) == 0 {
				require.NoError(t, client.IgnoreNotFound(bed.Client.Delete(t.Context(), svc)))
				continue
			}
			svc.Spec.Type, svc.Spec.LoadBalancerClass, svc.Spec.Ports = corev1.ServiceTypeLoadBalancer, &class, []corev1.ServicePort{{Port: 80}}
			require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), svc)))
		}
		if rng.IntN(2) == 0 {
			controller.Kill()
			kills++
			controller = start()
		}
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		_, _, err := look(t.Context())
		require.NoError(t, err)
	}
	sick.mu.Lock()
	sick.unwell = false
	sick.mu.Unlock()
	testbed.Eventually(t, "everybody to be served", func(ctx context.Context) error {
		with, all, err := look(ctx)
		if errors.Is(err, errBroken) {
			require.NoError(t, err)
		}
		if err == nil && with != min(all, size) {
			err = fmt.Errorf("%d of %d have an address", with, all)
		}
		return err
	})
	t.Logf("kills: %d, faults of the provider: %v, seed %d", kills, sick.faults, s)
	assert.GreaterOrEqual(t, len(sick.faults), 3, "the provider was hardly unwell")
	require.NoError(t, bed.Client.DeleteAllOf(t.Context(), &corev1.Service{}, client.InNamespace(ns)))
	testbed.Eventually(t, "no claim to be left", func(ctx context.Context) error {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(ipam("IPAddressClaimList"))
		if err := bed.Client.List(ctx, list, client.InNamespace(ns)); err != nil || len(list.Items) == 0 {
			return err
		}
		return fmt.Errorf("%d are left", len(list.Items))
	})
	cancel()
	provider.Wait()
}

// errBroken: something has happened that must not.
var errBroken = errors.New("broken")
