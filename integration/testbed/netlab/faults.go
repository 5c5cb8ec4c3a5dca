package netlab

import (
	"github.com/stretchr/testify/require"
)

// LinkDown takes the carrier from interfaces of the host, all if none is named, as a pulled cable does.
func (h *Host) LinkDown(ifaces ...string) {
	h.lab.t.Helper()
	for _, p := range h.chosen(ifaces) {
		require.NoError(h.lab.t, h.lab.fabric.Down(p.name))
	}
}

// LinkUp gives the carrier back.
func (h *Host) LinkUp(ifaces ...string) {
	h.lab.t.Helper()
	for _, p := range h.chosen(ifaces) {
		require.NoError(h.lab.t, h.lab.fabric.Up(p.name))
	}
}

// InterfaceDown sets interfaces of the host down from inside, all if none is named, as an administrator does.
func (h *Host) InterfaceDown(ifaces ...string) {
	h.lab.t.Helper()
	for _, p := range h.chosen(ifaces) {
		require.NoError(h.lab.t, h.ns.Down(p.iface))
	}
}

// InterfaceUp sets them up again, with the addresses and routes that they had.
func (h *Host) InterfaceUp(ifaces ...string) {
	h.lab.t.Helper()
	for _, p := range h.chosen(ifaces) {
		require.NoError(h.lab.t, h.ns.Up(p.iface))
	}
	for _, r := range h.routes { // the kernel has dropped those through the interface
		require.NoError(h.lab.t, h.ns.Route(r.to, r.via))
	}
}

// Cut loses every packet from and to interfaces of the host, all if none is named. The host sees nothing of it: the carrier stays.
func (h *Host) Cut(ifaces ...string) {
	h.lab.t.Helper()
	h.setCut(ifaces, true)
}

// Mend ends Cut.
func (h *Host) Mend(ifaces ...string) {
	h.lab.t.Helper()
	h.setCut(ifaces, false)
}

func (h *Host) setCut(ifaces []string, cut bool) {
	h.lab.t.Helper()
	for _, p := range h.chosen(ifaces) {
		p.cut = cut
		require.NoError(h.lab.t, p.plug())
	}
}

// CutAPI ends every connection of the host to the API server and refuses new ones. The network between hosts is not touched.
func (h *Host) CutAPI() {
	h.lab.t.Helper()
	require.NotNil(h.lab.t, h.relay, "the lab has no cluster")
	require.NoError(h.lab.t, h.relay.Cut())
}

// HangAPI lets nothing pass between the host and the API server any more; connections stay, as when packets are lost.
func (h *Host) HangAPI() {
	h.lab.t.Helper()
	require.NotNil(h.lab.t, h.relay, "the lab has no cluster")
	h.relay.Hang()
}

// RestoreAPI ends CutAPI and HangAPI. After HangAPI connections go on where they were.
func (h *Host) RestoreAPI() {
	h.lab.t.Helper()
	require.NotNil(h.lab.t, h.relay, "the lab has no cluster")
	require.NoError(h.lab.t, h.relay.Restore())
}
