package announce

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

func TestDelegated(t *testing.T) {
	pool := func(name string, addresses ...string) v1beta1.IPAddressPool {
		return v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}}
	}
	adv := func(pools ...string) v1beta1.BGPAdvertisement {
		return v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "adv"}, Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: pools}}
	}
	unknownAlias, badLength := adv("b"), adv("b")
	unknownAlias.Spec.Communities = []string{"gold"}
	badLength.Spec.AggregationLengthV6 = new(int32(200))
	announce := func(prefix, pool string) backends.Announcement {
		return backends.Announcement{Prefix: netip.MustParsePrefix(prefix), Pool: pool}
	}
	pools := []v1beta1.IPAddressPool{pool("b", "2001:db8::/64"), pool("a", "10.0.0.1-10.0.0.2"), pool("bad", "nonsense")}
	for _, tc := range []struct {
		name string
		advs []v1beta1.BGPAdvertisement
		want []backends.Announcement
		hold []string
	}{
		{name: "no advertisement, no announcement"},
		{name: "named", advs: []v1beta1.BGPAdvertisement{adv("b")}, want: []backends.Announcement{announce("2001:db8::/64", "b")}},
		{name: "all", advs: []v1beta1.BGPAdvertisement{adv()}, want: []backends.Announcement{
			announce("10.0.0.1/32", "a"), announce("10.0.0.2/32", "a"), announce("2001:db8::/64", "b"),
		}},
		{name: "faulty in other respects", advs: []v1beta1.BGPAdvertisement{badLength}, want: []backends.Announcement{announce("2001:db8::/64", "b")}},
		{name: "without the communities, others may hear it", advs: []v1beta1.BGPAdvertisement{unknownAlias}, hold: []string{"b"}},
		{name: "of none", advs: []v1beta1.BGPAdvertisement{adv("c")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := config.Build(config.Objects{Pools: pools, BGPAdvertisements: tc.advs}, nil)
			d := Delegated(Input{Snapshot: s, Choice: Choice{BGP: "calico"}})["calico"].Desired
			assert.Equal(t, tc.want, d.Announcements)
			assert.Equal(t, append([]string{"bad"}, tc.hold...), d.Hold, "what is announced for a faulty pool stays")
		})
	}
}
