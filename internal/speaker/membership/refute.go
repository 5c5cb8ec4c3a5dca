package membership

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxRefutations is how often in quarrelTime this speaker objects to what is said of it. More are not needed, unless two processes
	// go by the same name.
	maxRefutations = 5
	quarrelTime    = time.Second
	// firstPart is how many claims go together with all the rest that a speaker says.
	firstPart = 10
)

// quarrel counts objections.
type quarrel struct {
	since time.Time
	count int
}

// refuteLocked takes in what others say of this speaker, and returns what it has to say to that: nothing, or, if they believe what it has
// not said, everything, as of a process that started later than the one they believe in. That is how SWIM has a member object to its own
// death (section 4.2 of its paper). It helps a speaker whose clock was set back while it was down, and one whose word was forgotten.
func (s *state) refuteLocked(p *part) []part {
	own := s.records[s.node]
	if p.Epoch < own.epoch || p.Epoch == own.epoch && !s.foreignLocked(own, p) {
		return nil
	}
	if now := s.now(); now.Sub(s.quarrel.since) >= quarrelTime || now.Before(s.quarrel.since) {
		s.quarrel = quarrel{since: now}
	}
	if s.quarrel.count++; s.quarrel.count > maxRefutations {
		return nil // it will be heard again
	}
	own.epoch = p.Epoch + 1
	return s.ownLocked(own)
}

// foreignLocked reports whether a part of this speaker's epoch says what this speaker has not said. What it said before is only late.
func (s *state) foreignLocked(own *record, p *part) bool {
	if a, b := p.About, &own.about; a != nil && a.Seq >= b.Seq && (a.Seq > b.Seq || !a.equal(b)) {
		return true
	}
	listed := make(map[netip.Addr]bool, len(p.Claims))
	for _, c := range p.Claims {
		addr, ok := netip.AddrFromSlice(c.Addr)
		if !ok {
			continue
		}
		listed[addr] = true
		switch h, known := own.claims[addr]; {
		case !known && c.Held, c.Seq > s.seq, known && c.Seq > h.seq, known && c.Seq == h.seq && c.Held != h.held:
			return true
		case known && c.Seq < h.seq && h.seq <= p.All:
			return true // who knows all up to there would know this: it is what an earlier life of the same epoch said
		}
	}
	for addr, h := range own.claims {
		if h.held && h.seq <= p.All && !listed[addr] {
			return true // they count as this speaker did in an earlier life of the same epoch
		}
	}
	return p.All > s.seq
}

// ownLocked returns all that this speaker says of itself, in parts that fit into packets.
func (s *state) ownLocked(own *record) []part {
	// Nobody has believed in this epoch before: what is not held need not be said.
	maps.DeleteFunc(own.claims, func(_ netip.Addr, h held) bool { return !h.held })
	var claims []claim
	for a, h := range own.claims {
		claims = append(claims, claim{a.AsSlice(), h.seq, true})
	}
	about := own.about
	first := part{Node: s.node, Epoch: own.epoch, About: &about, Claims: claims[:min(firstPart, len(claims))]}
	parts := []part{first}
	for chunk := range slices.Chunk(claims[len(first.Claims):], maxPart) {
		parts = append(parts, part{Node: s.node, Epoch: own.epoch, Claims: chunk})
	}
	return parts
}

func (a *about) equal(b *about) bool {
	return a.Leaving == b.Leaving && a.SameSubnet == b.SameSubnet && slices.EqualFunc(a.Links, b.Links, equalLinks)
}

// oweLocked notes that a speaker, or somebody about it, has said less than is believed of it.
func (s *state) oweLocked(node string, r *record) {
	s.owed = append(s.owed, part{Node: node, Epoch: r.epoch})
}

// settle returns what speakers are to be told that is believed of them, by node, and takes it for told.
func (s *state) settle() map[string]part {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]part, len(s.owed))
	for _, p := range s.owed {
		out[p.Node] = p
	}
	s.owed = nil
	return out
}
