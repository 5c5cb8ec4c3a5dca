package delegate

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

func TestListed(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := listed{}
	l.heard(&backends.Outcome{Pools: map[string]backends.PoolOutcome{"a": {}}}, now)
	l.heard(&backends.Outcome{Pools: map[string]backends.PoolOutcome{"a": {}, "b": {}}}, now.Add(time.Second))
	assert.Equal(t, listed{"a": now, "b": now.Add(time.Second)}, l)
	l.heard(&backends.Outcome{Pools: map[string]backends.PoolOutcome{"b": {}}}, now.Add(2*time.Second))
	assert.Equal(t, listed{"b": now.Add(time.Second)}, l)
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
