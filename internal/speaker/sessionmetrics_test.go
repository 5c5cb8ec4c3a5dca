package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/backends/bgp/bfd"
)

func TestSessionMetrics(t *testing.T) {
	m := &sessionMetrics{
		sessions: func() []bgp.Session {
			return []bgp.Session{
				{
					Peer: "tor", Address: netip.MustParseAddr("192.0.2.1"), Port: 179, State: bgp.Established, Prefixes: 3, Pending: 1,
					Sent: bgp.Messages{Open: 1, Update: 4, Keepalive: 7}, Received: bgp.Messages{Open: 1, Update: 2, Notification: 1, Keepalive: 8},
				},
				{Peer: "red", Address: netip.MustParseAddr("2001:db8::1"), Port: 1179, VRF: "red", State: bgp.Connect},
				{Peer: "other-port", Address: netip.MustParseAddr("192.0.2.1"), Port: 1179},
				{Peer: "unnumbered", Interface: "eth1", State: bgp.Idle},
			}
		},
		bfd: func() map[string]bfd.Status {
			up := bfd.Status{State: bfd.Up, Counters: bfd.Counters{ControlSent: 5, ControlReceived: 6, SessionUp: 2, SessionDown: 1}}
			return map[string]bfd.Status{"tor": up, "other-port": up, "red": {State: bfd.Down}}
		},
	}
	r := prometheus.NewPedanticRegistry()
	require.NoError(t, r.Register(m))
	families, err := r.Gather()
	require.NoError(t, err)
	got := map[string]string{}
	for _, f := range families {
		var values []string
		for _, x := range f.Metric {
			var labels []string
			for _, l := range x.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			values = append(values, fmt.Sprint(strings.Join(labels, ","), ": ", x.GetGauge().GetValue()+x.GetCounter().GetValue()))
		}
		slices.Sort(values)
		got[f.GetName()] = strings.Join(values, "; ")
	}
	assert.Len(t, got, len(bgpSeries)+len(bfdSeries))
	for name, want := range map[string]string{
		"metallb_bfd_control_packet_input":   "peer=192.0.2.1,vrf=: 6; peer=2001:db8::1,vrf=red: 0",
		"metallb_bfd_session_down_events":    "peer=192.0.2.1,vrf=: 1; peer=2001:db8::1,vrf=red: 0",
		"metallb_bfd_session_up":             "peer=192.0.2.1,vrf=: 1; peer=2001:db8::1,vrf=red: 0",
		"metallb_bgp_pending_prefixes_total": "peer=192.0.2.1:1179,vrf=: 0; peer=192.0.2.1:179,vrf=: 1; peer=[2001:db8::1]:1179,vrf=red: 0; peer=eth1,vrf=: 0",
		"metallb_bgp_session_up":             "peer=192.0.2.1:1179,vrf=: 0; peer=192.0.2.1:179,vrf=: 1; peer=[2001:db8::1]:1179,vrf=red: 0; peer=eth1,vrf=: 0",
		"metallb_bgp_total_received":         "peer=192.0.2.1:1179,vrf=: 0; peer=192.0.2.1:179,vrf=: 12; peer=[2001:db8::1]:1179,vrf=red: 0; peer=eth1,vrf=: 0",
		"metallb_bgp_total_sent":             "peer=192.0.2.1:1179,vrf=: 0; peer=192.0.2.1:179,vrf=: 12; peer=[2001:db8::1]:1179,vrf=red: 0; peer=eth1,vrf=: 0",
	} {
		assert.Equal(t, want, got[name], name)
	}
}
