package membership

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/fairlead/fairlead/backends"
)

const (
	// maxRecords and maxClaims bound what is believed of others.
	maxRecords = 5000
	maxClaims  = 100_000
	// forgetAfter is for how long what a speaker said is kept after it was last alive, so that a partition can heal.
	forgetAfter = 10 * time.Minute
	// askBack is how many of all speakers, on average, ask one that has come back what it says now: what it said meanwhile has been lost.
	// From those the others hear it.
	askBack = 5
	// maxPart is the most claims in one part of an update, so that each fits into a packet.
	maxPart = 30
)

// part is what is said of one speaker: all of it, or what has changed. Parts may come late, twice and in any order.
type part struct {
	Node string `cbor:"1,keyasint"`
	// Epoch begins as when the speaker's process started, in nanoseconds of the Unix time; the newest counts. A speaker that hears
	// of a newer one of its own goes beyond it: see refute.
	Epoch  uint64  `cbor:"2,keyasint"`
	About  *about  `cbor:"3,keyasint,omitempty"`
	Claims []claim `cbor:"4,keyasint,omitempty"`
	// All, if set, says that Claims have every address that was held when the speaker had counted to All: any other that was claimed
	// until then is not.
	All uint64 `cbor:"5,keyasint,omitempty"`
}

// about is what a speaker tells of itself beside its claims. The highest Seq counts.
type about struct {
	Seq        uint64 `cbor:"1,keyasint"`
	Leaving    bool   `cbor:"2,keyasint,omitempty"`
	SameSubnet bool   `cbor:"3,keyasint,omitempty"`
	Links      []link `cbor:"4,keyasint,omitempty"`
}

type link struct {
	Name     string   `cbor:"1,keyasint"`
	Prefixes [][]byte `cbor:"2,keyasint,omitempty"` // as netip.Prefix marshals
	IPv4     bool     `cbor:"3,keyasint,omitempty"`
	IPv6     bool     `cbor:"4,keyasint,omitempty"`
}

// claim says whether the speaker announces an address. For each address the highest Seq counts.
type claim struct {
	Addr []byte `cbor:"1,keyasint"` // 4 or 16 bytes
	Seq  uint64 `cbor:"2,keyasint"`
	Held bool   `cbor:"3,keyasint,omitempty"`
}

type held struct {
	seq  uint64
	held bool
	at   time.Time
}

// record is what is known of one speaker.
type record struct {
	epoch  uint64
	all    uint64 // every claim up to this one is known
	about  about
	links  []backends.Link
	claims map[netip.Addr]held
	alive  bool
	since  time.Time // of alive
	addr   netip.AddrPort
}

// state is what all speakers have said. Merging parts in any order leads to the same.
type state struct {
	node string
	now  func() time.Time

	mu      sync.Mutex // protects all the following
	seq     uint64
	records map[string]*record
	owed    []part // what speakers are to be told that others believe of them
	quarrel quarrel
	news    map[string]*news // by node, since changes was called last
	living  int              // of the records
	back    []string         // where to ask speakers that have come back what they say now
}

// news are what has changed of a speaker: all of it, or some claims.
type news struct {
	all    bool
	claims map[netip.Addr]bool
}

func newState(node string, epoch uint64, now func() time.Time) *state {
	own := &record{epoch: epoch, claims: map[netip.Addr]held{}, alive: true}
	return &state{node: node, now: now, records: map[string]*record{node: own}, living: 1, news: map[string]*news{node: {all: true}}}
}

func (s *state) noteLocked(node string) *news {
	if s.news[node] == nil {
		s.news[node] = &news{}
	}
	return s.news[node]
}

// noteClaimLocked notes that a speaker announces an address, or does not any more.
func (s *state) noteClaimLocked(node string, addr netip.Addr) {
	n := s.noteLocked(node)
	if n.claims == nil {
		n.claims = map[netip.Addr]bool{}
	}
	n.claims[addr] = true
}

// changes returns what has become of speakers since it was called last.
func (s *state) changes() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Change, 0, len(s.news))
	for node, n := range s.news {
		r := s.records[node]
		switch {
		case r == nil, !r.alive, r.epoch == 0:
			out = append(out, Change{Node: node})
		case n.all:
			m := r.member()
			out = append(out, Change{Node: node, Member: &m})
		default:
			c := Change{Node: node, Claims: make(map[netip.Addr]bool, len(n.claims))}
			for addr := range n.claims {
				c.Claims[addr] = r.claims[addr].held
			}
			out = append(out, c)
		}
	}
	clear(s.news)
	return out
}

// member returns what a speaker says.
func (r *record) member() Member {
	m := Member{Leaving: r.about.Leaving, SameSubnet: r.about.SameSubnet, Links: r.links, Claims: make(map[netip.Addr]bool, len(r.claims))}
	for a, h := range r.claims {
		if h.held {
			m.Claims[a] = true
		}
	}
	return m
}

// say changes what is said of this speaker itself; it returns the part to spread, nil if nothing changed.
func (s *state) say(change func(*about)) *part {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.records[s.node]
	next := own.about
	change(&next)
	if next.equal(&own.about) {
		return nil
	}
	s.seq++
	next.Seq = s.seq
	own.about, own.links = next, decodeLinks(next.Links)
	s.noteLocked(s.node).all = true
	return &part{Node: s.node, Epoch: own.epoch, About: &next}
}

func equalLinks(a, b link) bool {
	return a.Name == b.Name && a.IPv4 == b.IPv4 && a.IPv6 == b.IPv6 && slices.EqualFunc(a.Prefixes, b.Prefixes, bytes.Equal)
}

// claim makes addrs the complete set of addresses that this speaker announces; it returns the parts to spread.
func (s *state) claim(addrs map[netip.Addr]bool) []part {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.records[s.node]
	s.seq++
	var changed []claim
	set := func(a netip.Addr, yes bool) {
		own.claims[a] = held{s.seq, yes, s.now()}
		s.noteClaimLocked(s.node, a)
		changed = append(changed, claim{a.AsSlice(), s.seq, yes})
	}
	for a, h := range own.claims {
		if h.held && !addrs[a] {
			set(a, false)
		}
	}
	for a := range addrs {
		if !own.claims[a].held {
			set(a, true)
		}
	}
	var parts []part
	for chunk := range slices.Chunk(changed, maxPart) {
		parts = append(parts, part{Node: s.node, Epoch: own.epoch, Claims: chunk})
	}
	return parts
}

// merge takes in parts that another speaker sent; it returns what of them is new, in parts that fit into packets. Those of this speaker
// itself are what it says anew, because others believe something else of it.
func (s *state) merge(parts []part) (news []part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range parts {
		switch p := &parts[i]; {
		case p.Epoch == math.MaxUint64: // nobody could ever object
		case p.Node == s.node: // nobody knows better what we say
			news = append(news, s.refuteLocked(p)...)
		default:
			news = append(news, s.takeLocked(p)...)
		}
	}
	return news
}

func (s *state) takeLocked(p *part) (news []part) {
	r := s.records[p.Node]
	if r == nil {
		if !s.roomLocked() {
			return nil
		}
		r = &record{since: s.now()}
		s.records[p.Node] = r
	}
	fresh := part{Node: p.Node, Epoch: p.Epoch}
	isNew := false
	switch {
	case p.Epoch < r.epoch:
		s.oweLocked(p.Node, r)
		return nil
	case p.Epoch > r.epoch:
		*r = record{epoch: p.Epoch, alive: r.alive, since: r.since, addr: r.addr}
		isNew = true
	}
	if r.claims == nil {
		r.claims = map[netip.Addr]held{}
	}
	if p.About != nil && p.About.Seq > r.about.Seq {
		r.about, r.links = *p.About, decodeLinks(p.About.Links)
		fresh.About, isNew = p.About, true
	}
	if isNew {
		s.noteLocked(p.Node).all = true
		news = append(news, fresh)
	}
	claims := s.claimsLocked(r, p)
	for _, c := range claims {
		if addr, ok := netip.AddrFromSlice(c.Addr); ok {
			s.noteClaimLocked(p.Node, addr)
		}
	}
	for chunk := range slices.Chunk(claims, maxPart) {
		news = append(news, part{Node: p.Node, Epoch: p.Epoch, Claims: chunk})
	}
	return news
}

// claimsLocked takes in the claims of a part, and returns those that are new.
func (s *state) claimsLocked(r *record, p *part) (news []claim) {
	for _, c := range p.Claims {
		addr, ok := netip.AddrFromSlice(c.Addr)
		old, known := r.claims[addr]
		if !ok || c.Seq <= max(old.seq, r.all) || !known && len(r.claims) >= maxClaims {
			continue
		}
		r.claims[addr] = held{c.Seq, c.Held, s.now()}
		news = append(news, c)
	}
	if p.All <= r.all {
		return news
	}
	r.all = p.All
	listed := make(map[netip.Addr]bool, len(p.Claims))
	for _, c := range p.Claims {
		if addr, ok := netip.AddrFromSlice(c.Addr); ok {
			listed[addr] = true
		}
	}
	for addr, h := range r.claims {
		if h.held && h.seq <= p.All && !listed[addr] {
			r.claims[addr] = held{p.All, false, s.now()}
			news = append(news, claim{addr.AsSlice(), p.All, false})
		}
	}
	return news
}

// everything returns what is known of all speakers that are alive, to hand to another one. Of those that are not only this speaker
// itself remembers anything, and not for long: handed from one to another it would never be forgotten.
func (s *state) everything() []part {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	var out []part
	for _, node := range slices.Sorted(maps.Keys(s.records)) {
		r := s.records[node]
		if r.epoch == 0 || !r.alive {
			continue // it has not said anything yet, or does not any more
		}
		// What was given up is remembered only until everybody has heard of it.
		maps.DeleteFunc(r.claims, func(_ netip.Addr, h held) bool { return !h.held && s.now().Sub(h.at) > forgetAfter })
		about := r.about
		p := part{Node: node, Epoch: r.epoch, About: &about, All: r.all}
		if node == s.node {
			p.All = s.seq
		}
		for a, h := range r.claims {
			p.Claims = append(p.Claims, claim{a.AsSlice(), h.seq, h.held})
		}
		out = append(out, p)
	}
	return out
}

// mark says whether a speaker is alive, and where it is reached.
func (s *state) mark(node string, alive bool, addr netip.AddrPort) {
	if node == s.node {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[node]
	if r == nil {
		r = &record{}
		s.records[node] = r
	}
	switch {
	case alive && !r.alive:
		s.living++
		if r.epoch > 0 && rand.IntN(s.living) < askBack {
			s.back = append(s.back, addr.String())
		}
	case !alive && r.alive:
		s.living--
	}
	r.alive, r.since, r.addr = alive, s.now(), addr
	s.noteLocked(node).all = true
	s.forgetLocked()
}

// forgetLocked forgets who has not been alive for long.
func (s *state) forgetLocked() {
	maps.DeleteFunc(s.records, func(_ string, r *record) bool { return !r.alive && s.now().Sub(r.since) > forgetAfter })
}

// roomLocked makes room for another record, if need be at the cost of who has been gone for longest; false if all are alive.
func (s *state) roomLocked() bool {
	if len(s.records) < maxRecords {
		return true
	}
	s.forgetLocked()
	oldest := ""
	for node, r := range s.records {
		if !r.alive && (oldest == "" || r.since.Before(s.records[oldest].since)) {
			oldest = node
		}
	}
	if len(s.records) >= maxRecords && oldest != "" {
		delete(s.records, oldest)
	}
	return len(s.records) < maxRecords
}

// alive returns how many speakers are alive.
func (s *state) alive() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.living
}

// silent returns where the speakers are reached that have been alive for some time and have said nothing yet.
func (s *state) silent(since time.Duration) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.records {
		if r.alive && r.epoch == 0 && s.now().Sub(r.since) >= since {
			out = append(out, r.addr.String())
		}
	}
	return out
}

// returned returns where the speakers are reached that have come back and are to be asked what they say now, and takes them for asked.
func (s *state) returned() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.back
	s.back = nil
	return out
}

// others returns where the other speakers that are alive are reached, by node.
func (s *state) others() map[string]netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]netip.AddrPort{}
	for node, r := range s.records {
		if r.alive && node != s.node {
			out[node] = r.addr
		}
	}
	return out
}

// members returns the speakers that are alive and have said something.
func (s *state) members() map[string]Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]Member{}
	for node, r := range s.records {
		if !r.alive || r.epoch == 0 {
			continue
		}
		out[node] = r.member()
	}
	return out
}

// limits keep a packet from making us allocate much.
var limits = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxArrayElements: 2 * maxClaims, MaxMapPairs: 64, MaxNestedLevels: 8}.DecMode()
	if err != nil {
		panic("membership: " + err.Error())
	}
	return mode
}()

func encode(parts ...part) []byte {
	b, err := cbor.Marshal(parts)
	if err != nil {
		panic("membership: encode: " + err.Error()) // plain values only
	}
	return b
}

func decode(b []byte) ([]part, error) {
	var parts []part
	if err := limits.Unmarshal(b, &parts); err != nil {
		return nil, fmt.Errorf("decode what a speaker said: %w", err)
	}
	return parts, nil
}

func encodeLinks(in []backends.Link) []link {
	var out []link
	for _, l := range in {
		x := link{Name: l.Name, IPv4: l.IPv4, IPv6: l.IPv6}
		for _, p := range l.Prefixes {
			b, err := p.MarshalBinary()
			if err != nil {
				panic("membership: encode a prefix: " + err.Error())
			}
			x.Prefixes = append(x.Prefixes, b)
		}
		out = append(out, x)
	}
	return out
}

func decodeLinks(in []link) []backends.Link {
	var out []backends.Link
	for _, l := range in {
		x := backends.Link{Name: l.Name, IPv4: l.IPv4, IPv6: l.IPv6}
		for _, b := range l.Prefixes {
			var p netip.Prefix
			if p.UnmarshalBinary(b) == nil {
				x.Prefixes = append(x.Prefixes, p)
			}
		}
		out = append(out, x)
	}
	return out
}
