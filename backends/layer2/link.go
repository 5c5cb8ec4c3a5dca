package layer2

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/backends"
)

// table is what the kernel has said about the interfaces. It is pure; watch.go fills it.
type table struct {
	links map[int]*kernelLink
	// fell holds the interfaces that were down, or without a carrier, since they were last looked at, whatever they are now.
	fell map[int]bool
}

// kernelLink is an interface, usable or not.
type kernelLink struct {
	index, master int
	name, kind    string // kind is "bridge", "vrf" and so on
	encap         string
	mac           mac
	flags         uint32
	addrs         map[netip.Prefix]int // own addresses with the length of their subnet, and IFA_F_ flags
}

// usable is a link that can announce.
type usable struct {
	backends.Link
	index int
	mac   mac
	local netip.Addr // link-local address; valid if IPv6 is set
}

func newTable() *table { return &table{links: map[int]*kernelLink{}, fell: map[int]bool{}} }

// get returns an interface. News of its addresses can come before those of itself; until then it has no name and is down.
func (t *table) get(index int) *kernelLink {
	k, ok := t.links[index]
	if !ok {
		k = &kernelLink{index: index, addrs: map[netip.Prefix]int{}}
		t.links[index] = k
	}
	return k
}

// setLink stores news of an interface.
func (t *table) setLink(l netlink.Link) {
	a := l.Attrs()
	k := t.get(a.Index)
	if len(a.HardwareAddr) == 0 && k.mac != (mac{}) {
		return // news of a wireless interface that tell nothing of what is asked for here
	}
	if k.up() && !up(a.RawFlags) {
		t.fell[a.Index] = true
	}
	k.name, k.kind, k.encap, k.master, k.flags = a.Name, l.Type(), a.EncapType, a.MasterIndex, a.RawFlags
	k.mac = mac{}
	if len(a.HardwareAddr) == len(k.mac) {
		k.mac = mac(a.HardwareAddr)
	}
}

func (t *table) deleteLink(index int) {
	delete(t.links, index)
	t.fell[index] = true // another may get its index
}

// setAddr stores news of an interface's own address.
func (t *table) setAddr(index int, p netip.Prefix, flags int) { t.get(index).addrs[p] = flags }

func (t *table) deleteAddr(index int, p netip.Prefix) {
	k := t.get(index)
	delete(k.addrs, p)
	if k.name == "" && len(k.addrs) == 0 {
		delete(t.links, index) // it has gone already
	}
}

// own returns the MACs of all interfaces.
func (t *table) own() map[mac]struct{} {
	out := map[mac]struct{}{}
	for _, k := range t.links {
		if k.mac.host() {
			out[k.mac] = struct{}{}
		}
	}
	return out
}

// usable returns the links that can announce, by name.
func (t *table) usable(exclude []*regexp.Regexp) []usable {
	var out []usable
	for _, k := range t.links {
		if !k.up() || k.flags&unix.IFF_LOOPBACK != 0 || k.encap != "ether" || !k.mac.host() || t.enslaved(k) || excluded(k.name, exclude) {
			continue
		}
		u := usable{index: k.index, mac: k.mac, local: k.linkLocal()}
		u.Link = backends.Link{
			Name: k.name, Prefixes: k.subnets(),
			IPv4: k.flags&(unix.IFF_NOARP|unix.IFF_POINTOPOINT) == 0, IPv6: u.local.IsValid(),
		}
		if u.IPv4 || u.IPv6 {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b usable) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// enslaved reports whether the interface is part of another, which then speaks for it. A VRF only separates routing tables.
func (t *table) enslaved(k *kernelLink) bool {
	if k.master == 0 {
		return false
	}
	master, ok := t.links[k.master]
	return !ok || master.kind != "vrf"
}

func (k *kernelLink) up() bool { return up(k.flags) }

// up reports whether an interface is up and can carry frames: the kernel sets IFF_RUNNING if the operational state is up or unknown.
func up(flags uint32) bool { return flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING != 0 }

// linkLocal returns the smallest IPv6 link-local address that may be spoken from (RFC 4862 section 5.4).
func (k *kernelLink) linkLocal() netip.Addr {
	var least netip.Addr
	for p, flags := range k.addrs {
		tentative := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
		if a := p.Addr(); a.Is6() && a.IsLinkLocalUnicast() && !tentative && flags&unix.IFA_F_DADFAILED == 0 {
			if !least.IsValid() || a.Less(least) {
				least = a
			}
		}
	}
	return least
}

func (k *kernelLink) subnets() []netip.Prefix {
	var out []netip.Prefix
	for p := range k.addrs {
		if !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}
