package assign

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// world is an API server reduced to what matters here: Services with resource versions, and the merge patches of their status.
// Its controller can be killed at any moment, before or after a write.
type world struct {
	t        require.TestingT
	services map[allocator.Owner]*corev1.Service
	pools    []v1beta1.IPAddressPool
	clock    int
	writes   int
	events   []string

	rules Rules
	holds []Reserved // as read from their objects by a controller that starts

	nodes     map[string][]netip.Addr
	clockwork func() time.Time // of the controller, if addresses that have left their pool are kept for a moment
	shut      bool             // a controller that starts does not know the CNI yet

	assigner *Assigner
	snapshot *config.Snapshot
	queue    []allocator.Owner
	looks    []string // IDs of claims that are to be looked at
}

func newWorld(t require.TestingT, pools ...v1beta1.IPAddressPool) *world {
	w := &world{t: t, services: map[allocator.Owner]*corev1.Service{}, pools: pools, rules: Rules{Classes: []string{""}}}
	w.start()
	return w
}

// start starts a controller that knows nothing but what the API server tells it, Services in random order.
func (w *world) start() {
	w.queue, w.looks, w.snapshot = nil, nil, nil
	w.assigner = New(w.rules, Notify{
		Service: func(o allocator.Owner) { w.queue = append(w.queue, o) },
		Pool:    func(string) {},
		Claim:   func(_, id string) { w.looks = append(w.looks, id) },
	})
	w.assigner.LetLeave(w.clockwork)
	w.assigner.SetNodes(w.nodes)
	if w.shut {
		w.assigner.AwaitCNI()
	}
	w.snapshot = config.Build(config.Objects{Pools: w.pools}, nil)
	var all []*corev1.Service
	for _, s := range w.services { // map order: as random as it gets
		all = append(all, s.DeepCopy())
		w.queue = append(w.queue, ownerOf(s))
	}
	require.NoError(w.t, w.assigner.Adopt(w.snapshot, all, w.holds, w.namespace))
}

func (w *world) namespace(name string) labels.Set {
	return labels.Set{"kubernetes.io/metadata.name": name}
}

// setPools edits the configuration.
func (w *world) setPools(pools ...v1beta1.IPAddressPool) {
	w.pools = pools
	w.snapshot = config.Build(config.Objects{Pools: pools}, w.snapshot)
	require.NoError(w.t, w.assigner.SetSnapshot(w.snapshot, w.namespace))
}

// put creates or replaces a Service, as a user would: the status stays.
func (w *world) put(s *corev1.Service) {
	w.clock++
	s.ResourceVersion = strconv.Itoa(w.clock)
	if old := w.services[ownerOf(s)]; old != nil {
		s.CreationTimestamp, s.UID, s.Status = old.CreationTimestamp, old.UID, old.Status
	} else {
		s.CreationTimestamp, s.UID = metav1.NewTime(time.Unix(int64(w.clock), 0)), types.UID(strconv.Itoa(w.clock))
	}
	w.services[ownerOf(s)] = s
	w.queue = append(w.queue, ownerOf(s))
}

func (w *world) delete(o allocator.Owner) {
	delete(w.services, o)
	w.queue = append(w.queue, o)
}

// reconcile works off one item of the queue; if crash is set, the decision is lost before it is written.
func (w *world) reconcile(crash bool) {
	o := w.queue[0]
	w.queue = w.queue[1:]
	s := w.services[o]
	if s == nil {
		w.assigner.Forget(o)
		return
	}
	change := Plan(s, w.assigner.Decide(s, w.namespace(o.Namespace)))
	if change == nil || crash {
		return
	}
	w.writes++
	for _, e := range change.Events {
		w.events = append(w.events, fmt.Sprintf("%s %s %s: %s", o, e.Type, e.Reason, e.Message))
	}
	before, err := json.Marshal(s)
	require.NoError(w.t, err)
	after, err := jsonpatch.MergePatch(before, change.Patch)
	require.NoError(w.t, err)
	var patched corev1.Service
	require.NoError(w.t, json.Unmarshal(after, &patched))
	if change.AddressesChanged {
		patched.ManagedFields = nil // the list is ours now
	}
	w.clock++
	patched.ResourceVersion = strconv.Itoa(w.clock)
	w.services[o] = &patched
	w.queue = append(w.queue, o)
}

// settle works until there is nothing left to do.
func (w *world) settle() {
	for i := 0; len(w.queue) > 0; i++ {
		require.Less(w.t, i, 100_000, "the controller does not come to rest")
		w.reconcile(false)
	}
}

func (w *world) addrs(o allocator.Owner) []netip.Addr { return service.ShownAddresses(w.services[o]) }

func (w *world) condition(o allocator.Owner) string {
	for _, c := range w.services[o].Status.Conditions {
		if c.Type == service.ConditionAllocated {
			return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	return ""
}

// takeEvents returns the events since the last call.
func (w *world) takeEvents() []string {
	out := w.events
	w.events = nil
	return out
}

func named(name string) allocator.Owner { return allocator.Owner{Namespace: "default", Name: name} }

// service makes an IPv4 Service of type LoadBalancer with port 80.
func loadBalancer(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Annotations: map[string]string{}, Labels: map[string]string{}}}
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"},
		Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func annotated(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[key] = value }
}

func clusterIPs(ips ...string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.ClusterIPs = ips }
}

func policy(p corev1.IPFamilyPolicy) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.IPFamilyPolicy = &p }
}

func port(p int32) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Ports[0].Port = p }
}

func ipPool(name string, addresses ...string) v1beta1.IPAddressPool {
	return v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name, UID: types.UID(name)},
		Spec:       v1beta1.IPAddressPoolSpec{Addresses: addresses},
	}
}

// TestNothingMovesByAccident plays random histories of creates, deletes, pool edits that keep every address, and kills before and
// after writes, with the pool shorter than the demand, and checks after each settling that no address moved, none has two holders
// and none is free while a Service waits.
func TestNothingMovesByAccident(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			const size = 30
			versions := [][]v1beta1.IPAddressPool{
				{ipPool("a", "10.0.0.0-10.0.0.19", "2001:db8::/124"), ipPool("b", "10.0.1.0-10.0.1.9")},
				{ipPool("b", "10.0.0.0-10.0.0.19", "2001:db8::/124"), ipPool("a", "10.0.1.0-10.0.1.9")},
				{ipPool("c", "10.0.1.0-10.0.1.9", "10.0.0.0-10.0.0.19", "2001:db8::/124")},
			}
			w := newWorld(t, versions[0]...)
			held := map[types.UID][]netip.Addr{}
			for range 300 {
				switch op := rng.IntN(20); {
				case op < 8:
					w.put(loadBalancer(fmt.Sprint(rng.IntN(size + 10))))
				case op < 12:
					w.delete(named(fmt.Sprint(rng.IntN(size + 10))))
				case op == 12:
					w.setPools(versions[rng.IntN(len(versions))]...)
				case op < 15 && len(w.queue) > 0:
					w.reconcile(rng.IntN(2) == 0)
					w.start()
				case op < 17:
					for range rng.IntN(5) {
						if len(w.queue) > 0 {
							w.reconcile(false)
						}
					}
				default:
					w.settle()
					w.check(held, size)
				}
			}
			w.settle()
			w.check(held, size)
			writes := w.writes
			w.start()
			w.settle()
			require.Equal(t, writes, w.writes, "a restart wrote something though nothing had changed")
		})
	}
}

func (w *world) check(held map[types.UID][]netip.Addr, size int) {
	holders := map[netip.Addr]allocator.Owner{}
	waiting := 0
	for o, s := range w.services {
		got := w.addrs(o)
		if was, ok := held[s.UID]; ok {
			require.Equal(w.t, was, got, "%s moved", o)
		}
		if len(got) == 0 {
			waiting++
			continue
		}
		held[s.UID] = got
		for _, a := range got {
			require.NotContains(w.t, holders, a, "held by %s and %s", holders[a], o)
			holders[a] = o
		}
	}
	require.Equal(w.t, max(0, len(w.services)-size), waiting, "Services wait while addresses are free")
}

func TestOldestServiceKeepsADuplicate(t *testing.T) {
	w := newWorld(t, ipPool("a", "10.0.0.0/29", "2001:db8::/125"))
	for _, name := range []string{"young", "old"} {
		w.put(loadBalancer(name))
	}
	w.settle()
	// After a restore from a backup, say, both show the same address; "old" is the older one.
	for name, age := range map[string]int64{"old": 1, "young": 2} {
		s := w.services[named(name)]
		s.CreationTimestamp = metav1.NewTime(time.Unix(age, 0))
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.0.0.5"}}
	}
	w.takeEvents()
	w.start()
	w.settle()
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.0.5")}, w.addrs(named("old")))
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.0.0")}, w.addrs(named("young")))
	require.Contains(t, w.takeEvents(), "default/young Warning AddressConflict: address 10.0.0.5 is in use by default/old, and not both allow sharing")
	require.Equal(t, `True Allocated: 10.0.0.0 from pool "a"; 10.0.0.5 belongs to default/old and is replaced by 10.0.0.0`, w.condition(named("young")))
}

func TestLongestWaitingIsServedFirst(t *testing.T) {
	w := newWorld(t, ipPool("a", "10.0.0.0/30"))
	for i := range 10 {
		w.put(loadBalancer(fmt.Sprint(i)))
		w.settle()
	}
	for i := range 4 {
		w.delete(named(fmt.Sprint(i)))
		w.settle()
		require.NotEmpty(t, w.addrs(named(fmt.Sprint(i+4))), "the address freed by %d", i)
		require.Empty(t, w.addrs(named(fmt.Sprint(i+5))))
	}
}

func TestFieldsOfOthersStay(t *testing.T) {
	w := newWorld(t, ipPool("a", "10.0.0.0/30", "2001:db8::/126"))
	w.put(loadBalancer("web", clusterIPs("10.96.0.1", "fd00:96::1"), policy(corev1.IPFamilyPolicyPreferDualStack)))
	w.settle()
	s := w.services[named("web")]
	require.Len(t, s.Status.LoadBalancer.Ingress, 2)
	mode := corev1.LoadBalancerIPModeProxy
	s.Status.LoadBalancer.Ingress[0].IPMode = &mode
	s.Status.LoadBalancer.Ingress[1].Ports = []corev1.PortStatus{{Port: 80, Protocol: corev1.ProtocolTCP}}
	s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{Hostname: "web.example.org"})
	s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: "example.org/Other", Status: metav1.ConditionTrue, Reason: "X"})
	want := s.DeepCopy()
	w.writes = 0
	w.start()
	w.settle()
	require.Zero(t, w.writes)

	// Losing one family keeps the other's fields.
	s = w.services[named("web")].DeepCopy()
	s.Spec.ClusterIPs, s.Spec.IPFamilyPolicy = []string{"10.96.0.1"}, nil
	w.put(s)
	w.settle()
	require.Equal(t, []corev1.LoadBalancerIngress{want.Status.LoadBalancer.Ingress[0], want.Status.LoadBalancer.Ingress[2]},
		w.services[named("web")].Status.LoadBalancer.Ingress)
	require.True(t, slices.ContainsFunc(w.services[named("web")].Status.Conditions, func(c metav1.Condition) bool { return c.Type == "example.org/Other" }))
}
