package assign

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// Assigner decides which Service holds which address. It performs no I/O; it is safe for concurrent use.
type Assigner struct {
	rules  Rules
	notify Notify

	mu       sync.Mutex // protects all the following
	engine   allocator.Allocator
	snapshot *config.Snapshot
	waiting  *waiting
	lost     map[allocator.Owner]*allocator.ConflictError // addresses in a status that belong to another Service
	taken    takenOver
	recorded map[allocator.Owner]bool // Services whose hold exists as an object
	parting  parting
	freed    []allocator.Grant        // that nobody has been told of yet
	holds    map[allocator.Owner]bool // Services whose addresses stay reserved when they go; true: it is gone

	claims    claims                   // of the allocators of external pools
	foreign   map[allocator.Owner]bool // Services whose status is somebody else's
	elsewhere elsewhere
	grace     grace
	shut      bool // nothing new is given out yet
}

// Notify tells the outside what decisions changed. Its functions are called with the Assigner's lock held and must not block.
type Notify struct {
	// Service: the Service should be reconciled, because its addresses, or what is to be said about them, may have changed.
	Service func(allocator.Owner)
	// Pool: the counters of the pool may have changed.
	Pool func(name string)
	// Claim: a claim of an allocator should be looked at (Assigner.Claim). It may be nil.
	Claim func(allocator, id string)
}

// Rules are what is set for the whole installation.
type Rules struct {
	// Classes are the values of spec.loadBalancerClass that are served; an empty one stands for Services without a class.
	Classes []string
	// IsolateSharing keeps a sharing key within its namespace unless a Service names others (AnnotationShareWith).
	IsolateSharing bool
	// Allocators are those that pools may name and that can be asked, besides the built-in one; nil: all there are.
	Allocators []string
}

// New returns an Assigner without pools.
func New(rules Rules, notify Notify) *Assigner {
	return &Assigner{
		rules: rules, notify: notify, snapshot: &config.Snapshot{}, waiting: newWaiting(),
		lost: map[allocator.Owner]*allocator.ConflictError{}, taken: takenOver{}, holds: map[allocator.Owner]bool{},
		recorded: map[allocator.Owner]bool{}, parting: parting{}, foreign: map[allocator.Owner]bool{},
		elsewhere: newElsewhere(), claims: newClaims(), grace: grace{left: map[allocator.Owner]time.Time{}},
	}
}

// Verdict is what was decided for one Service.
type Verdict struct {
	// Ours is false for a Service that is not of our type or class.
	Ours bool
	// Released is set if a Service that is not ours was until now.
	Released bool
	// Borrowed is set if a Service that is not ours has LabelPool, and nobody who writes it has served the Service.
	Borrowed bool
	// Foreign lists addresses in the status that somebody else wrote; such a status is left alone. ForeignPool is the pool of the
	// first, if all of them are in pools, and Kept is what the Service had before and has again when that writer gives way.
	Foreign     []netip.Addr
	ForeignPool string
	Kept        []netip.Addr
	// Later is set if nothing is to be done or said before the CNI has been looked at.
	Later bool
	// Again is when to decide anew, although nothing may have happened by then; 0: never.
	Again time.Duration
	// OfNode says which of the addresses that are Held are those of nodes; empty: none.
	OfNode string
	// Disagrees says which of the addresses that are Held the allocator of their pool has not given; empty: none.
	Disagrees string
	// Contended is set if somebody keeps emptying the status; it is then left alone for a while.
	Contended bool
	// Held are the addresses that the status must show.
	Held allocator.Assignment
	// Err says why Held is not, or not exactly, what the Service asks for.
	Err error
	// Missing is set if the Service would like an address of this family and works without; MissingFrom are the pools that lack it.
	Missing     allocator.Family
	MissingFrom []string
	// Advertised says whether what is Held is advertised; nil if nobody is asked to advertise.
	Advertised *service.Advertised
	// Claimed says why the CNI's own allocator would replace the addresses; while it is set, the status is left alone.
	Claimed string
	// Dropping and Fading are set for the first of two steps: addresses go before those of another pool come, and LabelPool is empty before
	// it goes.
	Dropping, Fading bool
	// Hold is how long the addresses are to stay reserved once the Service is gone; 0: not at all.
	Hold time.Duration
	// Lost is set if an address in the status belongs to another Service.
	Lost *allocator.ConflictError
}

// Reserved are addresses that an existing hold keeps for a Service.
type Reserved struct {
	Owner allocator.Owner
	Addrs []netip.Addr
}

// NamespaceLabels returns the labels of a namespace.
type NamespaceLabels func(namespace string) labels.Set

// Adopt sets the first snapshot and takes over what services, all there are, already hold, and all of it before anything new is given
// out: first what our own conditions confirm, then what is marked as given here, then the rest, each by the age of the Services; then what
// holds keep for Services without an address, or that are gone; then, again by age, those without an address get one. It must be called
// once, before any other method.
func (a *Assigner) Adopt(s *config.Snapshot, services []*corev1.Service, holds []Reserved, namespace NamespaceLabels) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, err := a.take(s, services, holds)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(x, y *corev1.Service) int { return compareBool(dying(x), dying(y)) })
	for _, svc := range all {
		a.decide(svc, namespace(svc.Namespace))
	}
	a.wake()
	for _, p := range s.Pools() {
		a.notify.Pool(p.Name)
	}
	return nil
}

// Observe is Adopt without giving out anything: it takes over what services and holds already have.
func (a *Assigner) Observe(s *config.Snapshot, services []*corev1.Service, holds []Reserved) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.take(s, services, holds)
	return err
}

// take takes over what there is; it returns the services by age.
func (a *Assigner) take(s *config.Snapshot, services []*corev1.Service, holds []Reserved) ([]*corev1.Service, error) {
	a.snapshot = s
	if _, err := a.engine.SetPools(poolsIn(s)); err != nil {
		return nil, err
	}
	all := slices.SortedFunc(slices.Values(services), ByAge)
	leave := a.grace.leaver()
	for _, svc := range slices.SortedStableFunc(slices.Values(all), func(x, y *corev1.Service) int {
		return cmp.Compare(trust(x), trust(y))
	}) {
		a.takeOne(svc, leave)
	}
	a.engine.SetReservations(a.reservations())
	for _, h := range holds {
		a.recorded[h.Owner] = true
		// An address that a Service shows belongs to that Service; the hold is ended like any other when its time comes.
		if a.engine.Held(h.Owner).IsZero() && a.engine.Restore(allocator.Request{Owner: h.Owner}, h.Addrs...) == nil {
			a.holds[h.Owner] = true
		}
	}
	return all, nil
}

// ByAge orders Services: the oldest first, then by name.
func ByAge(x, y *corev1.Service) int {
	return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), ownerOf(x).Compare(ownerOf(y)))
}

// takeOne takes over what one Service has. What others wrote to its status is noted, so that it goes to nobody.
func (a *Assigner) takeOne(svc *corev1.Service, leave func(allocator.Owner)) {
	owner := ownerOf(svc)
	foreign := service.ShownAddresses(svc)
	if a.serves(svc) {
		req, _ := a.rules.requestOf(svc, nil)
		if foreign = a.judge(svc, &req); len(foreign) > 0 {
			_ = a.engine.Restore(req, service.Kept(svc)...) // if somebody else has it by now, it is not kept
		}
	}
	held := a.engine.Held(owner)
	if foreign = slices.DeleteFunc(slices.Clone(foreign), func(addr netip.Addr) bool {
		return slices.Contains(held.Addrs(), addr)
	}); len(foreign) > 0 {
		a.elsewhere.shown[owner] = foreign
	}
	if slices.ContainsFunc(held.Grants(), func(g allocator.Grant) bool { return g.Pool == "" }) {
		leave(owner)
	}
}

// SetSnapshot puts a new configuration in force and reconsiders every Service it concerns.
func (a *Assigner) SetSnapshot(s *config.Snapshot, namespace NamespaceLabels) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	changes, err := a.engine.SetPools(poolsIn(s))
	if err != nil {
		return err
	}
	was := a.snapshot
	a.snapshot = s
	a.engine.SetReservations(a.reservations())
	for _, p := range s.Pools() {
		a.notify.Pool(p.Name)
	}
	leave := a.grace.leaver()
	for _, c := range changes {
		if isParting(c.Owner) {
			continue
		}
		if c.To == "" {
			leave(c.Owner)
		}
		a.notify.Service(c.Owner)
	}
	for owner := range a.foreign { // a pool may have come to contain what its status shows
		a.notify.Service(owner)
	}
	if s.AnyTaken() {
		for owner, held := range a.engine.All() {
			if !isParting(owner) && slices.ContainsFunc(held.Addrs(), func(addr netip.Addr) bool {
				return s.Taken(addr) != "" && was.Taken(addr) == ""
			}) {
				a.notify.Service(owner)
			}
		}
	}
	for id := range a.claims.by { // what is reserved may have changed
		a.look(id)
	}
	// Holders need another look only where admission or the allocator changed; their addresses stay in any case.
	changed := map[string]bool{}
	for _, p := range s.Pools() {
		if old := was.Pool(p.Name); old != nil && !(old.SameAdmission(p) && old.SameAllocator(p)) {
			changed[p.Name] = true
		}
	}
	if len(changed) > 0 {
		for owner, held := range a.engine.All() {
			if !isParting(owner) && (changed[held.IPv4.Pool] || changed[held.IPv6.Pool]) {
				a.notify.Service(owner)
			}
		}
	}
	for _, x := range a.waiting.all() {
		a.decide(x.service, namespace(x.owner.Namespace))
		a.notify.Service(x.owner)
	}
	a.wake()
	return nil
}

// Decide returns what svc is to have. It is idempotent.
func (a *Assigner) Decide(svc *corev1.Service, namespace labels.Set) Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.decide(svc, namespace)
	a.wake()
	return v
}

// Forget releases what a Service that is gone held.
func (a *Assigner) Forget(owner allocator.Owner) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(owner)
	a.partFrom(owner, nil)
	a.shows(owner, nil)
	a.wake()
}

// HoldRecorded notes that the hold of a Service exists as an object.
func (a *Assigner) HoldRecorded(owner allocator.Owner) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recorded[owner] = true
}

// EndHold releases what is still reserved for a Service that is gone.
func (a *Assigner) EndHold(owner allocator.Owner) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.recorded, owner)
	if a.holds[owner] {
		delete(a.holds, owner)
		a.free(a.engine.Release(owner).Grants())
		a.wake()
	}
}

// Stats returns the counters of a pool.
func (a *Assigner) Stats(pool string) (allocator.Stats, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.engine.Stats(pool)
}

// SelectsNamespaces reports whether the labels of namespaces matter at present.
func (a *Assigner) SelectsNamespaces() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.snapshot.SelectsNamespaces()
}

func (a *Assigner) forget(owner allocator.Owner) bool {
	a.waiting.drop(owner)
	a.unclaim(owner)
	delete(a.lost, owner)
	delete(a.taken, owner)
	delete(a.foreign, owner)
	delete(a.grace.left, owner)
	if _, held := a.holds[owner]; held && a.recorded[owner] && !a.engine.Held(owner).IsZero() {
		a.holds[owner] = true
		return true
	}
	delete(a.holds, owner)
	freed := a.engine.Release(owner)
	a.free(freed.Grants())
	return !freed.IsZero()
}

// free notes that addresses changed hands; wake tells those who wait.
func (a *Assigner) free(freed []allocator.Grant) {
	for _, g := range freed {
		if g.Pool != "" {
			a.notify.Pool(g.Pool)
		}
	}
	a.lookAt(freed)
	a.freed = append(a.freed, freed...)
}

// wake lets those who wait for addresses that changed hands try again, the longest-waiting first, until each address is taken.
// What they free in turn comes next.
func (a *Assigner) wake() {
	for len(a.freed) > 0 {
		g := a.freed[0]
		a.freed = a.freed[1:]
		for _, x := range a.waiting.on(g) {
			before := a.engine.Held(x.owner)
			a.decide(x.service, x.namespace)
			if a.engine.Held(x.owner) == before {
				if now := a.waiting.byOwner[x.owner]; now == nil || now.blame != x.blame {
					a.notify.Service(x.owner) // it is to be told otherwise
				}
				continue
			}
			a.notify.Service(x.owner)
			if sharing, _ := a.engine.Shares(x.owner); sharing.Key == "" && len(a.engine.Holders(g.Addr)) > 0 {
				break
			}
		}
	}
	a.freed = nil
}

// dying reports whether svc is being deleted: it keeps what it has, and gets what is left over by those that live.
func dying(svc *corev1.Service) bool { return svc.DeletionTimestamp != nil }

func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}

func (a *Assigner) serves(svc *corev1.Service) bool { return a.rules.Serves(svc) }

func (a *Assigner) decide(svc *corev1.Service, namespace labels.Set) Verdict {
	owner := ownerOf(svc)
	if !a.serves(svc) {
		foreign := a.taken.foreign(svc, a.engine.Held(owner).Addrs())
		a.partFrom(owner, service.ShownAddresses(svc))
		sharing, ports := a.engine.Shares(owner)
		before := a.engine.Held(owner)
		held := a.forget(owner)
		a.part(svc, before.Grants(), sharing, ports)
		a.shows(owner, slices.DeleteFunc(service.ShownAddresses(svc), func(addr netip.Addr) bool {
			return slices.Contains(a.parting[owner], addr)
		}))
		_, marked := svc.Annotations[service.AnnotationFromPool]
		judged := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated) != nil
		marked = marked || judged
		if _, labelled := svc.Labels[service.LabelPool]; labelled && !judged && !held {
			// No installation writes the label without the condition: somebody has borrowed it, and Cilium would advertise the Service.
			return Verdict{Borrowed: true}
		}
		return Verdict{Released: held || marked && svc.Spec.Type != corev1.ServiceTypeLoadBalancer, Foreign: foreign}
	}
	v := Verdict{Ours: true}
	a.partFrom(owner, service.ShownAddresses(svc))
	if v.Hold, _ = holdOf(svc); v.Hold > 0 {
		a.holds[owner] = false
	} else {
		delete(a.holds, owner)
	}
	admitted := a.snapshot.Admitted(svc.Namespace, namespace, svc.Labels)
	req, refused := a.rules.requestOf(svc, admitted)
	if v.Foreign = a.judge(svc, &req); len(v.Foreign) > 0 {
		a.leaveAlone(owner, &v)
		return v
	}
	delete(a.foreign, owner)
	a.shows(owner, nil)
	v.Lost = a.stillShown(svc)
	a.letGo(svc, namespace)
	before := a.engine.Held(owner)
	sharing, ports := a.engine.Shares(owner)
	from4, from6 := service.PoolsByFamily(svc)
	lingers, left := a.lingers(svc, &req, before)
	asked := false
	switch aside := a.setAside(svc, before); {
	case a.shut && !before.IsZero():
		v.Held, v.Later = inPool(before, from4, from6), true
		return v
	case aside != nil:
		v.Held, v.Err = inPool(before, from4, from6), aside
	case lingers != nil && refused == nil:
		v.Held, v.Err, v.Again = inPool(before, from4, from6), lingers, left
	case refused != nil:
		v.Held, v.Err = inPool(before, "", ""), refused
	case a.shut:
		v.Err = errCNIUnknown
	default:
		a.leaveTaken(svc, &req)
		a.prefer(svc, &req)
		asked = true
		for again := true; again; {
			v.Held, v.Err = a.engine.Allocate(req)
			again = a.claim(svc, &req, v.Held)
		}
		v.Held = inPool(v.Held, "", "")
		v.Err = a.explain(v.Err, svc, namespace)
	}
	if !asked {
		a.unclaim(owner)
	}
	v.OfNode, v.Disagrees = a.nodeNote(v.Held), a.disagreement(svc, v.Held)
	if v.Missing = missing(&req, v); v.Missing != 0 {
		if v.MissingFrom = req.Pools; len(req.Pools) == 0 {
			v.MissingFrom = []string{v.Held.Pool()}
		}
	}

	switch {
	case v.Missing != 0:
		a.waiting.put(svc, namespace, "", nil, causes{pools: v.MissingFrom})
	case v.Err != nil && v.Held.IsZero():
		a.waiting.put(svc, namespace, reasonOf(v.Err), v.Err, causesOf(v.Err))
	case v.Err != nil:
		a.waiting.put(svc, namespace, "", v.Err, causesOf(v.Err))
	default:
		a.waiting.drop(owner)
	}
	a.settle(svc, before, sharing, ports)
	return v
}

// settle tells everybody concerned what the engine's last answer to svc changed.
func (a *Assigner) settle(svc *corev1.Service, before allocator.Assignment, sharing allocator.Sharing, ports allocator.PortSet) {
	owner := ownerOf(svc)
	after := a.engine.Held(owner)
	nowSharing, nowPorts := a.engine.Shares(owner)
	if after == before && sharing == nowSharing && ports == nowPorts {
		return
	}
	for _, g := range after.Grants() {
		if g.Pool != "" {
			a.notify.Pool(g.Pool)
		}
		if c := a.claims.by[a.claims.given(g.Addr)]; c != nil && c.Owner != owner {
			a.notify.Service(c.Owner) // it may have to ask anew
		}
	}
	freed := before.Grants()
	if sharing == nowSharing && ports == nowPorts {
		freed = slices.DeleteFunc(freed, func(g allocator.Grant) bool { return g == after.IPv4 || g == after.IPv6 })
	}
	a.part(svc, freed, sharing, ports)
	a.free(freed)
}

// stillShown returns the conflict over an address that the status of svc still shows, nil if there is none.
func (a *Assigner) stillShown(svc *corev1.Service) *allocator.ConflictError {
	lost := a.lost[ownerOf(svc)]
	if lost != nil && !slices.Contains(service.ShownAddresses(svc), lost.Addr) {
		delete(a.lost, ownerOf(svc))
		return nil
	}
	return lost
}

// setAside returns why the addresses that svc holds outside every pool must stay: the pool they came from exists, but no valid
// version of it is known.
func (a *Assigner) setAside(svc *corev1.Service, held allocator.Assignment) error {
	from4, from6 := service.PoolsByFamily(svc)
	for _, x := range []struct {
		grant allocator.Grant
		from  string
	}{{held.IPv4, from4}, {held.IPv6, from6}} {
		if fault, aside := a.snapshot.SetAside(x.from); aside && x.grant.IsValid() && x.grant.Pool == "" {
			return fmt.Errorf("%w: %s", errPoolSetAside, fault)
		}
	}
	return nil
}

// errPoolSetAside: the pool of an address is faulty and has no valid version.
var errPoolSetAside = errors.New("pool is set aside")

// explain adds to a refusal what only the snapshot knows: that the pool in question exists but is set aside, or which of its rules
// keeps svc out.
func (a *Assigner) explain(err error, svc *corev1.Service, namespace labels.Set) error {
	e, ok := errors.AsType[*allocator.PoolError](err)
	if !ok {
		if asides := a.snapshot.SetAsidePools(); errors.Is(err, allocator.ErrNoMatchingPool) && len(asides) > 0 {
			fault, _ := a.snapshot.SetAside(asides[0])
			return fmt.Errorf("%w (%s)", err, fault)
		}
		return err
	}
	if fault, aside := a.snapshot.SetAside(e.Pool); aside {
		return fmt.Errorf("%w (%s)", err, fault)
	}
	if p := a.snapshot.Pool(e.Pool); p != nil && errors.Is(e.Why, allocator.ErrNotAdmitted) {
		if rule := p.Refusal(svc.Namespace, namespace, svc.Labels); rule != "" {
			return fmt.Errorf("%w: %s", err, rule)
		}
	}
	return err
}

// inPool returns held without addresses that lie in no pool; where a pool is given, they are kept and said to be of that pool.
func inPool(held allocator.Assignment, pool4, pool6 string) allocator.Assignment {
	adjust := func(g *allocator.Grant, pool string) {
		if !g.IsValid() || g.Pool != "" {
			return
		}
		if g.Pool = pool; pool == "" {
			*g = allocator.Grant{}
		}
	}
	adjust(&held.IPv4, pool4)
	adjust(&held.IPv6, pool6)
	return held
}

// missing returns the family that a Service which has one address would like to have in addition.
func missing(req *allocator.Request, v Verdict) allocator.Family {
	switch {
	case v.Err != nil || req.Policy != allocator.PreferDualStack:
		return 0
	case !v.Held.IPv4.IsValid():
		return allocator.IPv4
	case !v.Held.IPv6.IsValid():
		return allocator.IPv6
	}
	return 0
}
