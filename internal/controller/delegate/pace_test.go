package delegate

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
)

func TestListed(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	outcome := func(pools ...string) *backends.Outcome {
		o := &backends.Outcome{Pools: map[string]backends.PoolOutcome{}}
		for _, p := range pools {
			o.Pools[p] = backends.PoolOutcome{}
		}
		return o
	}
	asks := func(localPref uint32, pools ...string) *backends.Desired {
		a := backends.BGPAdvertisement{LocalPref: localPref}
		for _, p := range pools {
			a.Pools = append(a.Pools, backends.Pool{Name: p})
		}
		return &backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{a}}
	}
	of := func(localPref uint32) way {
		return way{bgp: []backends.BGPAdvertisement{{LocalPref: localPref}}}
	}
	l := listed{}
	l.heard(asks(1, "a"), outcome("a"), now)
	l.heard(asks(1, "a", "b"), outcome("a", "b"), now.Add(time.Second))
	assert.Equal(t, listed{"a": {since: now, how: of(1)}, "b": {since: now.Add(time.Second), how: of(1)}}, l)
	l.heard(asks(1, "a"), outcome("a", "b"), now.Add(2*time.Second))
	assert.Equal(t, advertised{since: now.Add(time.Second), how: of(1)}, l["b"], "it is on hold")
	l.heard(asks(2, "a", "b"), outcome("a", "b"), now.Add(3*time.Second))
	assert.Equal(t, listed{"a": {since: now.Add(3 * time.Second), how: of(2)}, "b": {since: now.Add(3 * time.Second), how: of(2)}}, l)
	l.heard(asks(2, "b"), outcome("b"), now.Add(4*time.Second))
	assert.Equal(t, advertised{since: now.Add(3 * time.Second), gone: now.Add(4 * time.Second), how: of(2)}, l["a"], "agents may know it yet")
	again := listed{"a": l["a"]}
	again.heard(asks(2, "a"), outcome("a"), now.Add(4*time.Second+1))
	assert.Equal(t, listed{"a": {since: now.Add(4*time.Second + 1), how: of(2)}}, again)
	l.heard(asks(2, "b"), outcome("b"), now.Add(4*time.Second+ciliumHears))
	assert.NotContains(t, l, "a")
}

// TestGoesBy: what Cilium goes by is what it was told last, a while ago.
func TestGoesBy(t *testing.T) {
	snapshot := func(localPref uint32) *config.Snapshot {
		return config.Build(config.Objects{
			Pools: []v1beta1.IPAddressPool{{
				ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24"}},
			}},
			BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1beta1.BGPAdvertisementSpec{LocalPref: localPref}}},
		}, nil)
	}
	task := &Task{listed: listed{}, choice: announce.Choice{BGP: Cilium}}
	goesBy := func() string {
		return fmt.Sprintf("in force %t, outdated %t", task.InForce([]string{"a"}), task.Outdated([]string{"a"}))
	}
	task.snapshot = snapshot(1)
	assert.Equal(t, "in force false, outdated false", goesBy(), "it has heard of nothing")
	told := func(s *config.Snapshot, ago time.Duration) {
		d := announce.Delegated(announce.Input{Snapshot: s, Choice: task.choice})[Cilium].Desired
		task.listed.heard(&d, &backends.Outcome{Pools: map[string]backends.PoolOutcome{"a": {}}}, time.Now().Add(-ago))
	}
	told(task.snapshot, 0)
	assert.Equal(t, "in force false, outdated true", goesBy(), "it has just been told")
	task.listed = listed{}
	told(task.snapshot, time.Minute)
	assert.Equal(t, "in force true, outdated false", goesBy())
	task.snapshot = snapshot(1)
	assert.Equal(t, "in force true, outdated false", goesBy(), "the same, said again")
	task.snapshot = snapshot(2)
	assert.Equal(t, "in force false, outdated true", goesBy(), "it has not been told")
	told(task.snapshot, time.Minute)
	assert.Equal(t, "in force true, outdated false", goesBy())
	task.snapshot = config.Build(config.Objects{}, nil)
	assert.Equal(t, "in force false, outdated true", goesBy(), "its label is in advertisements yet")
}

func TestLeaving(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	snapshot := func(pool string) *config.Snapshot {
		return config.Build(config.Objects{Pools: []v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: pool}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24"}},
		}}}, nil)
	}
	s := snapshot("b")
	services := func(pool, addr string) []backends.Service {
		return []backends.Service{{Namespace: "default", Name: "web", Pool: pool, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}}
	}
	l := leaving{}
	assert.Empty(t, l.hold(s, services("b", "192.0.2.1"), now), "the pool is there")
	assert.Equal(t, []string{"c"}, l.hold(s, services("c", "203.0.113.1"), now.Add(-time.Minute)), "somebody may take the address over")
	assert.Equal(t, []string{"a"}, l.hold(s, services("a", "192.0.2.1"), now))
	assert.Equal(t, []string{"a"}, l.hold(s, services("b", "192.0.2.1"), now.Add(ciliumPace-1)), "the agents may not have heard of the new label yet")
	assert.Empty(t, l.hold(s, services("b", "192.0.2.1"), now.Add(ciliumPace)))
	assert.Equal(t, []string{"a"}, l.hold(s, services("a", "192.0.2.1"), now))
	assert.Empty(t, l.hold(s, services("a", "192.0.2.1"), now.Add(leaveWithin)), "not for ever")
	l = leaving{}
	assert.Empty(t, l.hold(snapshot("d"), nil, now))
	assert.Equal(t, []string{"d"}, l.hold(s, services("b", "192.0.2.1"), now), "its Services have another label already")
}
