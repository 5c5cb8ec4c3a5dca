package netlab

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Reply is an answer to a probe.
type Reply struct {
	At   time.Time // by the kernel's clock at reception
	MAC  net.HardwareAddr
	Host *Host // that has the MAC; nil if none has
}

// Probe is one question who has an address.
type Probe struct {
	At      time.Time // just before it was sent
	Replies []Reply   // in the order of arrival; one of each MAC
}

// Kind is how an announcement that nobody asked for was made.
type Kind string

// The kinds of announcements: a gratuitous ARP request or reply (RFC 5227, sender and target are the address itself), and an
// unsolicited neighbour advertisement (RFC 4861, 7.2.6).
const (
	ARPRequest    Kind = "ARP request"
	ARPReply      Kind = "ARP reply"
	UnsolicitedNA Kind = "unsolicited NA"
)

// Announcement is one that nobody asked for.
type Announcement struct {
	Reply
	Kind Kind
}

// Prober asks on the wire, in an interval, who has each of some addresses, and keeps every answer and announcement. A reply is put
// down to the newest probe sent before its arrival: ARP has no other way to tell.
//
// The host's kernel sees the answers, too, and refreshes entries that its neighbour table has. Where that matters, probe from another
// host than the one whose table is tested.
type Prober struct {
	lab   *Lab
	every time.Duration
	wire  *wire
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu      sync.Mutex // protects all the following
	records map[netip.Addr]*record
	news    chan struct{} // closed and replaced when something is recorded
}

// record is what is known of an address.
type record struct {
	probes        []Probe // ordered by time
	announcements []Announcement
}

// Probe starts to ask, from eth0 of a host, for addrs, each once in every interval, until Stop or the end of the test. The host needs
// an address of its own in each family.
func (l *Lab) Probe(from *Host, addrs []netip.Addr, every time.Duration) *Prober {
	l.t.Helper()
	w, err := openWire(from, addrs)
	require.NoError(l.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &Prober{lab: l, every: every, wire: w, stop: cancel, records: map[netip.Addr]*record{}, news: make(chan struct{})}
	for _, a := range addrs {
		p.records[a] = &record{}
	}
	p.done.Go(func() { p.ask(ctx, addrs) })
	for _, listen := range w.listeners() {
		p.done.Go(func() { listen(p.hear) })
	}
	l.t.Cleanup(p.Stop)
	return p
}

// Stop ends the probes; what was recorded stays.
func (p *Prober) Stop() {
	p.stop()
	assert.NoError(p.lab.t, p.wire.close())
	p.done.Wait()
}

func (p *Prober) ask(ctx context.Context, addrs []netip.Addr) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		for _, a := range addrs {
			p.mu.Lock()
			r := p.records[a]
			r.probes = append(r.probes, Probe{At: time.Now()})
			p.mu.Unlock()
			_ = p.wire.ask(a) // it fails while the link is down, and then nobody answers
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// hear records a message about an address; kind is empty for an answer.
func (p *Prober) hear(addr netip.Addr, at time.Time, mac net.HardwareAddr, kind Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.records[addr]
	if !ok {
		return
	}
	reply := Reply{At: at, MAC: mac, Host: p.lab.HostOf(mac)}
	if kind != "" {
		r.announcements = append(r.announcements, Announcement{Reply: reply, Kind: kind})
	} else {
		r.answer(reply)
	}
	close(p.news)
	p.news = make(chan struct{})
}

// answer puts a reply down to the newest probe before it. If that one has one of the same MAC, an earlier reply was late and belongs
// further back, and so one of the probes just before it gets this.
func (r *record) answer(reply Reply) {
	for i := len(r.probes) - 1; i >= 0; i-- {
		probe := &r.probes[i]
		if probe.At.After(reply.At) {
			continue
		}
		if !slices.ContainsFunc(probe.Replies, func(o Reply) bool { return slices.Equal(o.MAC, reply.MAC) }) {
			probe.Replies = append(probe.Replies, reply)
			return
		}
		if reply.At.Sub(probe.At) > settled {
			return // one more answer to one probe
		}
	}
}

// settled is how old a probe must be before no answer means that there is none.
const settled = 50 * time.Millisecond

// Probes returns the probes for addr that were sent in [from, to); a zero to is the end of time. The newest may still be answered.
func (p *Prober) Probes(addr netip.Addr, from, to time.Time) []Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Probe
	for _, probe := range p.record(addr).probes {
		if within(probe.At, from, to) {
			probe.Replies = slices.Clone(probe.Replies)
			out = append(out, probe)
		}
	}
	return out
}

// record returns what is known of an address that is probed; asking for another is a fault of the test.
func (p *Prober) record(addr netip.Addr) *record {
	r, ok := p.records[addr]
	if !ok {
		panic("netlab: " + addr.String() + " is not probed")
	}
	return r
}

// Owner returns the host that has answered the newest probe that was answered; nil if nobody has answered lately, or one that has no
// host of this lab.
func (p *Prober) Owner(addr netip.Addr) *Host {
	probes := p.Probes(addr, time.Now().Add(-settled-2*p.every), time.Time{})
	for _, probe := range slices.Backward(probes) {
		if n := len(probe.Replies); n > 0 {
			return probe.Replies[n-1].Host
		}
	}
	return nil
}

// FirstAnswer returns when the first answer from a host to a probe sent at or after a time arrived; a nil host is any. It reports false
// if there was none yet.
func (p *Prober) FirstAnswer(addr netip.Addr, after time.Time, from *Host) (time.Time, bool) {
	for _, probe := range p.Probes(addr, after, time.Time{}) {
		for _, r := range probe.Replies {
			if from == nil || r.Host == from {
				return r.At, true
			}
		}
	}
	return time.Time{}, false
}

// AwaitAnswer waits for FirstAnswer.
func (p *Prober) AwaitAnswer(t testingT, addr netip.Addr, after time.Time, from *Host) time.Time {
	t.Helper()
	var at time.Time
	p.Await(t, "an answer for "+addr.String()+" from "+from.String(), func() bool {
		var ok bool
		at, ok = p.FirstAnswer(addr, after, from)
		return ok
	})
	return at
}

// Await waits until check holds; it is called after each thing that is recorded, and in every interval.
func (p *Prober) Await(t testingT, what string, check func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(max(p.every, time.Millisecond))
	defer tick.Stop()
	for {
		p.mu.Lock()
		news := p.news
		p.mu.Unlock()
		if check() {
			return
		}
		select {
		case <-news:
		case <-tick.C:
		case <-deadline:
			require.Fail(t, "waiting for "+what)
		}
	}
}

// Lost returns when the probes in [from, to) were sent that nobody answered, those sent just now left out.
func (p *Prober) Lost(addr netip.Addr, from, to time.Time) []time.Time {
	var out []time.Time
	for _, probe := range p.Probes(addr, from, to) {
		if len(probe.Replies) == 0 && time.Since(probe.At) > settled {
			out = append(out, probe.At)
		}
	}
	return out
}

// Contested returns the probes in [from, to) that several MACs answered.
func (p *Prober) Contested(addr netip.Addr, from, to time.Time) []Probe {
	return slices.DeleteFunc(p.Probes(addr, from, to), func(probe Probe) bool { return len(probe.Replies) < 2 })
}

// Answerers returns the hosts that answered probes in [from, to), in the order of their first answers.
func (p *Prober) Answerers(addr netip.Addr, from, to time.Time) []*Host {
	var out []*Host
	for _, probe := range p.Probes(addr, from, to) {
		for _, r := range probe.Replies {
			if !slices.Contains(out, r.Host) {
				out = append(out, r.Host)
			}
		}
	}
	return out
}

// Gratuitous returns the announcements of addr at or after a time that nobody had asked for.
func (p *Prober) Gratuitous(addr netip.Addr, after time.Time) []Announcement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.record(addr).announcements), func(a Announcement) bool { return a.At.Before(after) })
}

// Outage returns the longest time in [from, to) without an answer, and when it began: from, or the last answer before it. A zero to
// is now.
func (p *Prober) Outage(addr netip.Addr, from, to time.Time) (start time.Time, lasted time.Duration) {
	if to.IsZero() {
		to = time.Now()
	}
	last := from
	note := func(at time.Time) {
		if gap := at.Sub(last); gap > lasted {
			start, lasted = last, gap
		}
		last = at
	}
	for _, probe := range p.Probes(addr, from, to) {
		for _, r := range probe.Replies {
			note(r.At)
		}
	}
	note(to)
	return start, lasted
}
