package delegate

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
)

// TestHandover: what is known of the sessions of the one that takes over, and for how long more is waited for.
func TestHandover(t *testing.T) {
	adv := backends.Source{Kind: "BGPAdvertisement", Name: "adv"}
	up := announce.Verdict{Status: metav1.ConditionTrue, Reason: announce.ReasonAdvertised, Message: "up"}
	down := announce.Verdict{Status: metav1.ConditionFalse, Reason: announce.ReasonNoSession, Message: "n1 is Active"}
	unknown := announce.Verdict{Status: metav1.ConditionUnknown, Reason: announce.ReasonSessionsUnknown, Message: "n1 has not said"}
	v4, both := [2]bool{true, false}, [2]bool{true, true}
	type verdicts = map[bool]announce.Verdict // by whether it is IPv6
	for _, tc := range []struct {
		name     string
		families [2]bool
		managed  bool
		mute     string
		verdicts verdicts
		lacks    string // how it begins; empty: nothing
		within   time.Duration
	}{
		{"no Service needs it", [2]bool{}, false, "", verdicts{false: down, true: down}, "", 0},
		{"up", v4, false, "", verdicts{false: up, true: down}, "", 0},
		{"both up", both, true, "", verdicts{false: up, true: up}, "", 0},
		{"one family is down", both, false, "", verdicts{false: up, true: down}, "n1 is Active; see to Cilium's own BGP sessions", 0},
		{"the CNI's own session is down", v4, false, "", verdicts{false: down}, "n1 is Active; see to Cilium's own BGP sessions", 0},
		{"a session that the other one has, too", v4, true, "", verdicts{false: down}, "n1 is Active; see to the BGPPeers and their routers", sharedPatience},
		{"nobody has said yet", v4, false, "", verdicts{false: unknown}, "n1 has not said; see to Cilium's own BGP sessions, and that its agents report them", silencePatience},
		{"one is down, of the other nobody says", both, false, "", verdicts{false: down, true: unknown}, "n1 is Active; n1 has not said; see to", 0},
		{"not looked at", v4, false, "", nil, "the BGP sessions of cilium have not been looked at yet; see to", silencePatience},
		{"nobody will ever say", both, false, "it is off", verdicts{false: unknown}, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := handover{backend: Cilium, source: adv, families: tc.families, managed: tc.managed, mute: tc.mute, verdicts: map[backends.Audience]announce.Verdict{}}
			for is6, v := range tc.verdicts {
				h.verdicts[backends.Audience{Advertisement: adv, IPv6: is6}] = v
			}
			got := h.hearing()
			assert.Equal(t, tc.within, got.Within)
			assert.True(t, tc.lacks == "" && got.Lacks == "" || tc.lacks != "" && len(got.Lacks) >= len(tc.lacks) && got.Lacks[:len(tc.lacks)] == tc.lacks, got.Lacks)
		})
	}
}

// TestNeeded: only families count that Services have addresses of, from the pools of the advertisement, if it selects them.
func TestNeeded(t *testing.T) {
	want := backends.Desired{
		Announcements: []backends.Announcement{
			{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Pool: "main"}, {Prefix: netip.MustParsePrefix("2001:db8::/64"), Pool: "main"}, {Prefix: netip.MustParsePrefix("198.51.100.0/24"), Pool: "other"},
		},
		Services: []backends.Service{
			{Namespace: "default", Name: "a", Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.1")}},
			{Namespace: "default", Name: "b", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, Labels: labels.Set{"expose": "yes"}},
		},
	}
	main := backends.BGPAdvertisement{Pools: []backends.Pool{{Name: "main"}}}
	assert.Equal(t, [2]bool{false, true}, needed(&main, &want))
	assert.Equal(t, [2]bool{true, false}, needed(&backends.BGPAdvertisement{Pools: []backends.Pool{{Name: "other"}}}, &want))
	main.ServiceSelectors = []labels.Selector{labels.SelectorFromSet(labels.Set{"expose": "no"})}
	assert.Equal(t, [2]bool{}, needed(&main, &want))

	// Of speakers, the Services themselves say it.
	all := backends.BGPAdvertisement{Pools: []backends.Pool{{Name: "main"}, {Name: "other"}}}
	s := speakers{verdicts: map[judged]announce.Verdict{}}
	say := func(name, reason string) {
		s.verdicts[judged{kindBGP, types.NamespacedName{Namespace: "default", Name: name}}] = announce.Verdict{Reason: reason, Message: "n1 to tor"}
	}
	say("a", announce.ReasonAdvertised)
	say("b", announce.ReasonNoLocalEndpoints) // nobody could announce it before, either
	assert.Empty(t, s.hearing(&all, &want).Lacks)
	say("a", announce.ReasonNoSession)
	say("b", announce.ReasonPending)
	got := s.hearing(&all, &want)
	assert.Contains(t, got.Lacks, "Service/default/a: n1 to tor; and 1 Services more")
	assert.Zero(t, got.Within)
	want.Peers = []backends.Peer{}
	assert.Equal(t, sharedPatience, s.hearing(&all, &want).Within)
}
