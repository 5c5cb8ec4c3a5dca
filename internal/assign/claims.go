package assign

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// claims are what is asked of the Providers of external pools, and what they have answered. A claim is wanted as long as a Service asks for
// its address, somebody holds it, or a user has reserved it; what is wanted is looked at when the claim is (Assigner.Claim), so that nothing
// has to be counted.
type claims struct {
	by   map[string]*claim            // by ID
	at   map[netip.Addr][]string      // IDs of claims that were answered with an address; the first counts, a second one is a mistake
	has  map[netip.Addr]string        // ID of the claim that is to confirm an address that is held already
	want map[allocator.Owner][]string // IDs that a Service asks with
	told map[allocator.Ask]string     // ID of the claim whose answer the engine knows

	listed  map[string]bool              // allocators whose claims are all known
	silent  map[string]string            // why an allocator cannot be asked
	unknown map[string]map[string]string // by allocator, why it has no such pool, by its name of the pool
}

// claim is a claim of an allocator, and who depends on its answer.
type claim struct {
	allocator.Claim
	allocator string // its name
	pool      string // the IPAddressPool; empty: not known yet
	sharing   allocator.Sharing
	ports     allocator.PortSet
	said      allocator.Answer         // by the allocator, to this claim
	answer    allocator.Answer         // the same, or that there is no such pool
	followers map[allocator.Owner]bool // they share the address when it comes
}

func newClaims() claims {
	return claims{
		by: map[string]*claim{}, at: map[netip.Addr][]string{}, has: map[netip.Addr]string{}, want: map[allocator.Owner][]string{},
		told: map[allocator.Ask]string{}, listed: map[string]bool{}, silent: map[string]string{}, unknown: map[string]map[string]string{},
	}
}

// given returns the ID of the claim that was answered with an address; empty: none was.
func (c *claims) given(addr netip.Addr) string {
	if ids := c.at[addr]; len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// move notes that a claim is answered with another address than it was. It returns who else's claim counts for the old one now, nil if
// nobody's does.
func (c *claims) move(id string, was, is netip.Addr) *claim {
	var next *claim
	if was.IsValid() {
		first := c.given(was) == id
		ids := slices.DeleteFunc(c.at[was], func(x string) bool { return x == id })
		if c.at[was] = ids; len(ids) == 0 {
			delete(c.at, was)
		} else if first {
			next = c.by[ids[0]]
		}
	}
	if is.IsValid() {
		c.at[is] = append(c.at[is], id)
	}
	return next
}

// claimID returns the ID of the nth claim for an address: it has the UID of the Service that it is made for, the family, and the hash of the
// pools.
func claimID(svc *corev1.Service, f allocator.Family, p *config.Pool, nth int) string {
	id := fmt.Sprintf("%s-%d-%s", svc.UID, f, backends.Hash(p.Name+" "+p.AllocatorPool))
	if nth > 0 {
		id += "-" + strconv.Itoa(nth+1)
	}
	return id
}

// unclaim notes that a Service asks for nothing more.
func (a *Assigner) unclaim(owner allocator.Owner) { a.wants(owner, nil) }

// wants replaces what a Service asks with, and has looked at what that changes.
func (a *Assigner) wants(owner allocator.Owner, ids []string) {
	was := a.claims.want[owner]
	if slices.Equal(was, ids) {
		return
	}
	if len(ids) > 0 {
		a.claims.want[owner] = ids
	} else {
		delete(a.claims.want, owner)
	}
	for _, id := range slices.Concat(was, ids) {
		if !slices.Contains(was, id) || !slices.Contains(ids, id) {
			a.look(id)
		}
	}
}

// look has a claim looked at.
func (a *Assigner) look(id string) {
	if c := a.claims.by[id]; c != nil && a.notify.Claim != nil {
		a.notify.Claim(c.allocator, id)
	}
}

// claim has the allocators of external pools asked for what the last answer of the engine to req leaves to be asked, and for a confirmation
// of what svc holds without having it from them.
//
// It reports whether the engine has come to know an answer by it, so that it should be asked again.
func (a *Assigner) claim(svc *corev1.Service, req *allocator.Request, held allocator.Assignment) (again bool) {
	var ids []string
	for _, ask := range a.engine.Asks(req.Owner) {
		if c := a.ask(svc, req, ask); c != nil {
			ids = append(ids, c.ID)
			again = a.inform(ask, c) || again
		}
	}
	for _, g := range held.Grants() {
		p := a.snapshot.Pool(g.Pool)
		if p == nil || p.Allocator == "" || !a.claims.listed[p.Allocator] || a.claims.given(g.Addr) != "" {
			continue
		}
		if other := a.claims.has[g.Addr]; other != "" && !slices.Contains(a.claims.want[req.Owner], other) {
			continue // who shares it asks
		}
		id := a.next(svc, p, allocator.FamilyOf(g.Addr))
		a.confirm(a.make(svc, req, p, id, allocator.FamilyOf(g.Addr)), g.Addr)
		ids = append(ids, id)
	}
	a.wants(req.Owner, ids)
	return again
}

// confirm has c be for an address that is held already.
func (a *Assigner) confirm(c *claim, addr netip.Addr) {
	if a.claims.has[c.Has] == c.ID {
		delete(a.claims.has, c.Has)
	}
	c.Has, a.claims.has[addr] = addr, c.ID
}

// next returns the ID of the first claim of svc that does not stand for an address that somebody else has come to hold. What was given to
// two of them does not count: it is the allocator's fault, and asking on and on would not mend it.
func (a *Assigner) next(svc *corev1.Service, p *config.Pool, f allocator.Family) string {
	for nth := 0; ; nth++ {
		id := claimID(svc, f, p, nth)
		if c := a.claims.by[id]; c == nil || a.claims.given(c.answer.Addr) != id || !a.heldByOthers(c.answer.Addr, ownerOf(svc)) {
			return id
		}
	}
}

func (a *Assigner) heldByOthers(addr netip.Addr, owner allocator.Owner) bool {
	return slices.ContainsFunc(a.engine.Holders(addr), func(o allocator.Owner) bool { return o != owner })
}

// ask returns the claim to ask with, nil if another Service asks that will share what it gets.
func (a *Assigner) ask(svc *corev1.Service, req *allocator.Request, ask allocator.Ask) *claim {
	p := a.snapshot.Pool(ask.Pool)
	if p == nil {
		return nil
	}
	if req.Sharing.Key != "" {
		for owner, ids := range a.claims.want {
			for _, id := range ids {
				c := a.claims.by[id]
				if owner != req.Owner && c.pool == ask.Pool && c.Family == ask.Family && c.sharing == req.Sharing && !c.Has.IsValid() &&
					!c.ports.Overlaps(req.Ports) {
					c.followers[req.Owner] = true
					return nil
				}
			}
		}
	}
	c := a.make(svc, req, p, a.next(svc, p, ask.Family), ask.Family)
	c.sharing, c.ports = req.Sharing, req.Ports
	return c
}

// make returns the claim with an ID, a new one if there is none.
func (a *Assigner) make(svc *corev1.Service, req *allocator.Request, p *config.Pool, id string, f allocator.Family) *claim {
	c := a.claims.by[id]
	if c == nil {
		c = &claim{
			Claim:     allocator.Claim{ID: id, Owner: ownerOf(svc), Family: f, Pool: p.AllocatorPool},
			allocator: p.Allocator, followers: map[allocator.Owner]bool{},
		}
		c.answer = a.corrected(c, allocator.Answer{Why: a.claims.silent[p.Allocator]})
		if !a.provides(p.Allocator) {
			c.answer = allocator.Answer{Refusal: allocator.RefusedOther, Why: notEnabled(p.Allocator)}
		}
		a.claims.by[id] = c
	}
	c.pool, c.Owner = p.Name, req.Owner
	return c
}

func notEnabled(name string) string {
	return fmt.Sprintf("the controller runs without --allocators=%s (the chart's allocators.%s)", name, camel(name))
}

// camel returns the name of an allocator as the chart has it: clusterAPI.
func camel(name string) string {
	first, rest, _ := strings.Cut(name, "-")
	return first + strings.ToUpper(rest)
}

// provides reports whether there is a Provider of this name.
func (a *Assigner) provides(name string) bool {
	return a.rules.Allocators == nil || slices.Contains(a.rules.Allocators, name)
}

// tell has the engine know the answer to c, unless it goes by another claim of its owner.
func (a *Assigner) tell(c *claim) {
	if c.pool == "" {
		c.pool, _ = a.engine.PoolOf(c.answer.Addr)
	}
	ask := allocator.Ask{Owner: c.Owner, Pool: c.pool, Family: c.Family}
	if known := a.claims.told[ask]; known != "" && known != c.ID && a.claims.by[known] != nil && !slices.Contains(a.claims.want[c.Owner], c.ID) {
		return
	}
	a.inform(ask, c)
}

// inform has the engine know the answer to c, and reports whether it went by another claim until now and this one says something.
func (a *Assigner) inform(ask allocator.Ask, c *claim) (news bool) {
	news = a.claims.told[ask] != c.ID && (c.answer.Addr.IsValid() || c.answer.Refusal != "")
	a.claims.told[ask] = c.ID
	a.engine.Answer(ask, c.answer)
	return news
}

// Claim returns a claim as it is to be asked for, or, if it is not wanted, ok false: it is to be released.
func (a *Assigner) Claim(id string) (c allocator.Claim, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.claims.by[id]
	if x == nil || !a.wanted(x) {
		return allocator.Claim{ID: id}, false
	}
	return x.Claim, true
}

func (a *Assigner) wanted(c *claim) bool {
	switch {
	case slices.Contains(a.claims.want[c.Owner], c.ID), a.confirms(c):
		return true
	case !c.answer.Addr.IsValid():
		return false
	case len(a.engine.Holders(c.answer.Addr)) > 0:
		return a.claims.given(c.answer.Addr) == c.ID
	}
	return slices.ContainsFunc(a.engine.Reserved(c.answer.Addr), func(r allocator.Reservation) bool { return r.Use == "" })
}

// confirms reports whether c is to confirm an address that somebody holds, of a pool of its allocator, and that no other claim stands for.
func (a *Assigner) confirms(c *claim) bool {
	if a.claims.has[c.Has] != c.ID || a.claims.given(c.Has) != "" || len(a.engine.Holders(c.Has)) == 0 {
		return false
	}
	name, _ := a.engine.PoolOf(c.Has)
	p := a.snapshot.Pool(name)
	return p != nil && p.Allocator == c.allocator
}

// Answered notes what an allocator says to a claim.
func (a *Assigner) Answered(id string, answer allocator.Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.claims.by[id]; c != nil {
		a.heard(c, answer)
		a.wake()
	}
}

// heard takes in what an allocator says to c.
func (a *Assigner) heard(c *claim, said allocator.Answer) {
	c.said = said
	a.answered(c, a.corrected(c, said))
}

func (a *Assigner) answered(c *claim, answer allocator.Answer) {
	was := c.answer
	if was == answer {
		return
	}
	c.answer = answer
	concerned := slices.Concat([]allocator.Owner{c.Owner}, a.engine.Holders(was.Addr), a.engine.Holders(answer.Addr), a.engine.Holders(c.Has))
	if was.Addr != answer.Addr {
		if next := a.claims.move(c.ID, was.Addr, answer.Addr); next != nil {
			concerned = append(concerned, next.Owner)
		}
		if was.Addr.IsValid() && a.claims.given(was.Addr) == "" && a.claims.has[was.Addr] == "" && len(a.engine.Holders(was.Addr)) > 0 {
			a.confirm(c, was.Addr) // it goes on standing for what it gave
		}
		if other := a.claims.has[answer.Addr]; other != "" && other != c.ID {
			a.look(other) // c stands for the address now
		}
	}
	a.tell(c)
	a.reconsider(concerned)
	a.follow(c)
	a.look(c.ID) // it may not be wanted any more
}

// Unanswered notes why an allocator could not be asked for a claim. What it has answered before stays.
func (a *Assigner) Unanswered(id, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.claims.by[id]; c != nil && !c.answer.Addr.IsValid() && c.answer.Refusal == "" {
		a.answered(c, allocator.Answer{Why: why})
	}
}

// PoolsKnown notes which pools of its own an allocator does not have: claims on them are refused, whatever else is said of them.
func (a *Assigner) PoolsKnown(name string, state map[string]allocator.PoolState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims.unknown[name] = map[string]string{}
	for pool, s := range state {
		if s.Refusal != "" {
			a.claims.unknown[name][pool] = s.Why
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.claims.by)) {
		if c := a.claims.by[id]; c.allocator == name && !c.answer.Addr.IsValid() {
			a.heard(c, c.said)
		}
	}
	a.wake()
}

// corrected returns an answer to c, or a refusal if there is no answer and no such pool.
func (a *Assigner) corrected(c *claim, answer allocator.Answer) allocator.Answer {
	if why := a.claims.unknown[c.allocator][c.Pool]; why != "" && !answer.Addr.IsValid() {
		return allocator.Answer{Refusal: allocator.RefusedPool, Why: why}
	}
	return answer
}

// follow has those decided on who hoped to share what c gets.
func (a *Assigner) follow(c *claim) {
	followers := slices.SortedFunc(maps.Keys(c.followers), allocator.Owner.Compare)
	clear(c.followers)
	a.reconsider(followers)
}

// reconsider decides on those of the owners that wait, and has all of them looked at.
func (a *Assigner) reconsider(owners []allocator.Owner) {
	for _, owner := range owners {
		if isParting(owner) {
			continue
		}
		if x := a.waiting.byOwner[owner]; x != nil {
			a.decide(x.service, x.namespace)
		}
		a.notify.Service(owner)
	}
}

// Listed notes all claims that an allocator has. What it does not have is asked for anew.
func (a *Assigner) Listed(name string, list []allocator.Claimed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := !a.claims.listed[name]
	a.claims.listed[name] = true
	delete(a.claims.silent, name)
	there := map[string]bool{}
	for _, x := range list {
		there[x.ID] = true
		c := a.claims.by[x.ID]
		if c == nil {
			c = &claim{Claim: x.Claim, allocator: name, followers: map[allocator.Owner]bool{}}
			a.claims.by[x.ID] = c
		}
		a.heard(c, x.Answer)
		a.look(x.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(a.claims.by)) {
		if c := a.claims.by[id]; c.allocator == name && !there[id] {
			a.heard(c, allocator.Answer{})
			a.look(id)
		}
	}
	if first {
		for owner, held := range a.engine.All() {
			if !isParting(owner) && slices.ContainsFunc(held.Grants(), func(g allocator.Grant) bool {
				p := a.snapshot.Pool(g.Pool)
				return p != nil && p.Allocator == name
			}) {
				a.notify.Service(owner)
			}
		}
	}
	a.wake()
}

// Unreachable notes why an allocator cannot be asked; those who wait for it are told. Nobody loses anything by it.
func (a *Assigner) Unreachable(name, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.claims.silent[name] == why {
		return
	}
	a.claims.silent[name] = why
	for _, id := range slices.Sorted(maps.Keys(a.claims.by)) {
		if c := a.claims.by[id]; c.allocator == name && !c.answer.Addr.IsValid() && c.answer.Refusal == "" {
			a.answered(c, allocator.Answer{Why: why})
		}
	}
}

// ReleasedClaim forgets a claim that is not wanted and that its allocator does not have any more.
func (a *Assigner) ReleasedClaim(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claims.by[id]
	if c == nil {
		return
	}
	if a.wanted(c) { // again, meanwhile
		a.heard(c, allocator.Answer{})
		a.look(id)
		return
	}
	delete(a.claims.by, id)
	var concerned []allocator.Owner
	if next := a.claims.move(id, c.answer.Addr, netip.Addr{}); next != nil {
		concerned = append(a.engine.Holders(c.answer.Addr), next.Owner)
	}
	if a.claims.has[c.Has] == id {
		delete(a.claims.has, c.Has)
	}
	ask := allocator.Ask{Owner: c.Owner, Pool: c.pool, Family: c.Family}
	if a.claims.told[ask] == id {
		delete(a.claims.told, ask)
		a.engine.Answer(ask, allocator.Answer{})
	}
	a.follow(c)
	a.reconsider(slices.Concat(concerned, a.engine.Holders(c.Has))) // somebody else may have to ask for it now
	a.wake()
}

// lookAt has the claims looked at whose addresses changed hands.
func (a *Assigner) lookAt(freed []allocator.Grant) {
	for _, g := range freed {
		for _, id := range []string{a.claims.given(g.Addr), a.claims.has[g.Addr]} {
			if id != "" {
				a.look(id)
			}
		}
	}
}

// disagreement says which of the addresses that svc holds its allocator has not given it; empty: none. Before it is known what the allocator
// has given, what was said before stays.
func (a *Assigner) disagreement(svc *corev1.Service, held allocator.Assignment) string {
	var out []string
	for _, g := range held.Grants() {
		p := a.snapshot.Pool(g.Pool)
		if p == nil || p.Allocator == "" || a.claims.given(g.Addr) != "" {
			continue
		}
		if !a.claims.listed[p.Allocator] {
			if was := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated); a.provides(p.Allocator) && was != nil &&
				was.Reason == service.ReasonAllocatorDisagrees {
				return was.Message
			}
			if a.provides(p.Allocator) {
				continue
			}
		}
		said := "has not given it yet"
		c := a.claims.by[a.claims.has[g.Addr]]
		switch {
		case !a.provides(p.Allocator):
			said = "cannot be asked: " + notEnabled(p.Allocator)
		case c == nil:
		case c.answer.Addr.IsValid():
			said = fmt.Sprintf("has given %s instead", c.answer.Addr)
		case c.answer.Refusal != "":
			said = "does not give it: " + cmp.Or(c.answer.Why, string(c.answer.Refusal))
		case c.answer.Why != "":
			said += ": " + c.answer.Why
		}
		out = append(out, fmt.Sprintf("%s from pool %q is kept; its allocator, %s, %s", g.Addr, g.Pool, p.Allocator, said))
	}
	return strings.Join(out, "; ")
}

// Pending returns how many claims of an allocator have no address.
func (a *Assigner) Pending(name string) (pending int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.claims.by {
		if c.allocator == name && !c.answer.Addr.IsValid() && a.wanted(c) {
			pending++
		}
	}
	return pending
}

// PoolsOf returns the pools in force whose addresses an allocator gives out, by name.
func (a *Assigner) PoolsOf(name string) []*config.Pool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(a.snapshot.Pools(), func(p *config.Pool) bool { return p.Allocator != name })
}

// ClaimsFor returns the claims that were made for a Service, or for an address that it holds, by ID.
func (a *Assigner) ClaimsFor(owner allocator.Owner) []allocator.Claimed {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []allocator.Claimed
	for _, id := range slices.Sorted(maps.Keys(a.claims.by)) {
		c := a.claims.by[id]
		if c.Owner == owner || slices.Contains(a.engine.Holders(c.answer.Addr), owner) {
			out = append(out, allocator.Claimed{Claim: c.Claim, Answer: c.answer})
		}
	}
	return out
}

// outside is an answer that is in no pool, and the pool in force that it was to be for.
type outside struct {
	allocator.Claimed
	pool *config.Pool
}

// outside returns the answers that are in no pool: of each pool in force the first, by ID.
func (a *Assigner) outside() []outside {
	a.mu.Lock()
	defer a.mu.Unlock()
	by := map[string]outside{}
	for _, c := range a.claims.by {
		p := a.snapshot.Pool(c.pool)
		if p == nil || !c.answer.Addr.IsValid() || !a.wanted(c) {
			continue
		}
		if _, in := a.engine.PoolOf(c.answer.Addr); in {
			continue
		}
		if x, told := by[c.pool]; !told || c.ID < x.ID {
			by[c.pool] = outside{allocator.Claimed{Claim: c.Claim, Answer: c.answer}, p}
		}
	}
	return slices.SortedFunc(maps.Values(by), func(x, y outside) int { return cmp.Compare(x.pool.Name, y.pool.Name) })
}
