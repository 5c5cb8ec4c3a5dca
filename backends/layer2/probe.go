package layer2

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/backends"
)

// An address is asked for so often, and so long is waited for answers: fewer and shorter than RFC 5227 section 2.1.1 has it for hosts that
// have just been switched on (three probes in up to seven seconds), because a Service waits.
const (
	probes     = 3
	probeEvery = 100 * time.Millisecond
)

// Probe asks whether somebody has addresses already, all at the same time: by ARP probes (RFC 5227 section 2.1.1), or by the solicitations
// of duplicate address detection (RFC 4862 section 5.4.2), on the usable links on which they would be announced. It returns after 300 ms,
// with those that somebody else answered for. An answer of this node does not count, nor one with the MAC of another node, of whose
// addresses nodes are: MetalLB may announce there what is to be taken over, and a kernel answers for what kube-proxy has put on an
// interface of it (IPVS without strictARP). If there are answers, to find that out takes as long again. What cannot be asked is free as far
// as is known.
func (b *Backend) Probe(ctx context.Context, addrs map[netip.Addr][]string, nodes []netip.Addr) map[netip.Addr]backends.Taken {
	found := b.probe(ctx, func(a netip.Addr, l backends.Link) bool { return l.Carries(a, addrs[a], b.sameSubnet) },
		slices.Collect(maps.Keys(addrs)))
	if len(found) == 0 {
		return found
	}
	ours := known(nodes)
	for _, x := range b.probe(ctx, func(a netip.Addr, l backends.Link) bool { return l.Carries(a, nil, true) }, nodes) {
		ours[mac(x.MAC)] = true
	}
	maps.DeleteFunc(found, func(_ netip.Addr, x backends.Taken) bool { return ours[mac(x.MAC)] })
	return found
}

// probe asks for addresses, each on the links that on says, and returns who answered first.
func (b *Backend) probe(ctx context.Context, on func(netip.Addr, backends.Link) bool, addrs []netip.Addr) map[netip.Addr]backends.Taken {
	b.mu.Lock()
	var all []*probe
	for _, r := range b.sortedLocked() {
		link := r.serves()
		p := &probe{usable: link, state: state{link: link.Name, index: link.index, mac: link.mac, local: link.local,
			addrs: map[netip.Addr]struct{}{}, own: b.own}}
		for _, a := range addrs {
			if on(a, link.Link) {
				p.state.addrs[a] = struct{}{}
			}
		}
		if len(p.state.addrs) > 0 {
			all = append(all, p)
		}
	}
	b.mu.Unlock()
	found := &taken{by: map[netip.Addr]backends.Taken{}}
	var g sync.WaitGroup
	for _, p := range all {
		g.Go(func() {
			if err := p.run(ctx, found.add); err != nil {
				b.log.Warn("cannot ask whether addresses are in use", "iface", p.Name, "err", err)
			}
		})
	}
	g.Wait()
	return found.by
}

// known returns the MACs of hosts, as far as the kernel knows them.
func known(hosts []netip.Addr) map[mac]bool {
	out := map[mac]bool{}
	all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
	if err != nil {
		return out
	}
	for _, n := range all {
		if ip, ok := netip.AddrFromSlice(n.IP); ok && len(n.HardwareAddr) == len(mac{}) && slices.Contains(hosts, ip.Unmap()) {
			out[mac(n.HardwareAddr)] = true
		}
	}
	return out
}

// taken is what came of probes on all links.
type taken struct {
	mu sync.Mutex
	by map[netip.Addr]backends.Taken
}

func (a *taken) add(addr netip.Addr, by mac, link string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, already := a.by[addr]; !already {
		a.by[addr] = backends.Taken{MAC: by.hardware(), Link: link}
	}
}

// probe asks on one link.
type probe struct {
	usable
	state state
}

func (p *probe) run(ctx context.Context, answered func(addr netip.Addr, by mac, link string)) error {
	var v4, v6 []netip.Addr
	for _, a := range slices.SortedFunc(maps.Keys(p.state.addrs), netip.Addr.Compare) {
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	var receivers sync.WaitGroup
	defer receivers.Wait()
	open := func(addrs []netip.Addr, etherType int, filter build, decide func([]byte, *state) verdict) (*socket, error) {
		if len(addrs) == 0 {
			return nil, nil
		}
		s, err := openSocket(p.index, etherType)
		if err != nil {
			return nil, err
		}
		if err := s.filter(filter, addrs, p.mac); err != nil {
			s.close()
			return nil, err
		}
		receivers.Go(func() {
			s.receive(func(frame []byte) {
				if v := decide(frame, &p.state); v.claimant != (mac{}) {
					answered(v.addr, v.claimant, p.Name)
				}
			}, func(error) { time.Sleep(probeEvery / 10) }) // a link that went down
		})
		return s, nil
	}
	arpSocket, err := open(v4, etherTypeARP, arpFilter, decideARP)
	if err != nil {
		return err
	}
	if arpSocket != nil {
		defer arpSocket.close()
	}
	ndpSocket, err := open(v6, etherTypeIPv6, ndpFilter, decideNDP)
	if err != nil {
		return err
	}
	if ndpSocket != nil {
		defer ndpSocket.close()
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for range probes {
		for i, a := range slices.Concat(v4, v6) {
			s, frame := arpSocket, arpProbe
			if a.Is6() {
				s, frame = ndpSocket, ndpProbe
			}
			_ = s.sendWaiting(frame(a, p.mac)) // nobody answers on a link that is down
			if i%burst == burst-1 {
				time.Sleep(pause)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// arpProbe asks for an IPv4 address on behalf of nobody (RFC 5227 section 2.1.1).
func arpProbe(addr netip.Addr, own mac) []byte {
	return arpFrame(broadcast, own, arp.OperationRequest, netip.IPv4Unspecified(), mac{}, addr)
}

// ndpProbe asks for an IPv6 address on behalf of nobody (RFC 4862 section 5.4.2).
func ndpProbe(addr netip.Addr, own mac) []byte {
	to := solicitedNode(addr)
	payload, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{TargetAddress: addr}, netip.IPv6Unspecified(), to)
	if err != nil {
		panic(err) // an address of the wrong family
	}
	group := to.As16()
	return ethernet(mac{0x33, 0x33, group[12], group[13], group[14], group[15]}, own, etherTypeIPv6,
		append(ipv6Header(netip.IPv6Unspecified(), to, len(payload)), payload...))
}
