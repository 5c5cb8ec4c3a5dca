package netlab

import (
	"net"
	"net/netip"
	"slices"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// Host is a network namespace on one or more switches. It is up, with its addresses, when AddHost returns.
type Host struct {
	lab    *Lab
	name   string
	number int // from 1, in its MACs
	ns     *localnet.Namespace
	ports  []*port
	routes []route
	relay  *localnet.Relay // to the API server; nil without a cluster
}

// route leads to a network behind another host.
type route struct {
	to  netip.Prefix
	via netip.Addr
}

// AddHost adds a host with one interface, eth0, on the lab's first switch. Its MAC is 02:fa:1e:ad:<host's number>:<interface's number>,
// the same in every run.
func (l *Lab) AddHost(name string, addrs ...netip.Prefix) *Host {
	l.t.Helper()
	require.Less(l.t, len(l.hosts), 255, "hosts in a lab")
	require.False(l.t, slices.ContainsFunc(l.hosts, func(h *Host) bool { return h.name == name }), "a host %q is there", name)
	h := &Host{lab: l, name: name, number: len(l.hosts) + 1, ns: l.newNamespace(name)}
	l.hosts = append(l.hosts, h)
	h.Attach(l.switches[0], addrs...)
	if l.cluster != nil {
		var err error
		h.relay, err = localnet.NewRelay(h.ns, l.cluster.Config.Host)
		require.NoError(l.t, err)
		l.t.Cleanup(func() { assert.NoError(l.t, h.relay.Cut()) })
	}
	return h
}

// Name returns the name that the host was added with.
func (h *Host) Name() string { return h.name }

// String returns the name, for messages of tests; that of no host is "nobody".
func (h *Host) String() string {
	if h == nil {
		return "nobody"
	}
	return h.name
}

// GoString keeps a failed test from printing the whole lab.
func (h *Host) GoString() string { return h.String() }

// Names returns the names of hosts, nil ones included, for tests to compare.
func Names(hosts []*Host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.String()
	}
	return out
}

// Namespace returns the name of the network namespace, as "ip netns" knows it.
func (h *Host) Namespace() string { return h.ns.Name() }

// MAC returns the address of an interface, eth0 and so on.
func (h *Host) MAC(iface string) net.HardwareAddr {
	h.lab.t.Helper()
	return h.port(iface).mac
}

// Addr returns the first IPv4 or IPv6 address of eth0; the zero Addr if there is none.
func (h *Host) Addr(is6 bool) netip.Addr {
	a, _ := first(h.ports[0].addrs, is6)
	return a
}

// Do calls fn in the host's network namespace, on a thread of its own. Sockets that fn opens, and those accepted on them later, belong
// to the host; goroutines that it starts do not.
func (h *Host) Do(fn func() error) error { return h.ns.Do(fn) }

// AddRoute leads packets for a network through a host that is reached directly.
func (h *Host) AddRoute(to netip.Prefix, via netip.Addr) {
	h.lab.t.Helper()
	r := route{to: to.Masked(), via: via}
	h.routes = append(h.routes, r)
	require.NoError(h.lab.t, h.ns.Route(r.to, r.via))
}

// Sysctl sets a value below /proc/sys/net in the host, such as "ipv4/conf/eth0/arp_ignore".
func (h *Host) Sysctl(name, value string) {
	h.lab.t.Helper()
	require.NoError(h.lab.t, h.ns.Sysctl(map[string]string{name: value}))
}

func (h *Host) port(iface string) *port {
	h.lab.t.Helper()
	i := slices.IndexFunc(h.ports, func(p *port) bool { return p.iface == iface })
	require.GreaterOrEqual(h.lab.t, i, 0, "%q has no interface %q", h.name, iface)
	return h.ports[i]
}

// chosen returns the ports of interfaces; all for none.
func (h *Host) chosen(ifaces []string) []*port {
	h.lab.t.Helper()
	if len(ifaces) == 0 {
		return h.ports
	}
	var out []*port
	for _, iface := range ifaces {
		out = append(out, h.port(iface))
	}
	return out
}
