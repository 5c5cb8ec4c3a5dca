package layer2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestTaken has a host of the network use the first addresses of a pool: no speaker ever announces them. A Service that was just given them gets
// others; one that asks for one of them keeps it, and is told who has it.
func TestTaken(t *testing.T) {
	s := site.New(t, bed, 3)
	first := []netip.Addr{netip.MustParseAddr("192.0.120.0"), netip.MustParseAddr("2001:db8::2:0")}
	squatter, watcher := s.AddClient("squatter"), s.AddClient("watcher")
	squatter.Respond(t, first...)
	s.Create(&v1beta1.IPAddressPool{ObjectMeta: s.Meta("shared"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.120.0/30", "2001:db8::2:0/126"}, AutoAssign: new(bool)}})
	since := time.Now()
	p := s.Probe(watcher, first, site.Every)
	named := func(svc *corev1.Service) { svc.Annotations = map[string]string{"metallb.io/address-pool": "shared"} }

	svc := s.Service("given", s.Nodes(), named)
	next := []netip.Addr{first[0].Next(), first[1].Next()}
	testbed.Eventually(t, "other addresses", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		if got := site.Addrs(svc); fmt.Sprint(got) != fmt.Sprint(next) {
			return fmt.Errorf("they are %v, want %v", got, next)
		}
		return nil
	})
	s.Advertised(svc, "True Advertised: speaker")
	mac := squatter.MAC("eth0").String()
	for _, addr := range first {
		assert.Equal(t, []string{"squatter"}, netlab.Names(p.Answerers(addr, since, time.Now())), "who answers for %s", addr)
		assert.Empty(t, p.Contested(addr, since, time.Now()), addr)
	}

	asked := s.Service("asked", s.Nodes(), func(svc *corev1.Service) {
		svc.Annotations = map[string]string{"metallb.io/loadBalancerIPs": next[0].Next().String() + "," + next[1].Next().String()}
	})
	s.Advertised(asked, "True Advertised: speaker")

	testbed.Eventually(t, "both addresses to be set aside", func(ctx context.Context) error {
		var list v1alpha1.AddressReservationList
		if err := bed.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil {
			return err
		}
		var aside []string
		for _, o := range list.Items {
			aside = append(aside, o.Spec.Addresses[0]+" "+o.Annotations["fairlead.io/taken-by"])
		}
		slices.Sort(aside)
		aside = slices.Compact(aside) // two nodes may have asked, one after the other
		if want := []string{first[0].String() + " " + mac, first[1].String() + " " + mac}; !slices.Equal(aside, want) {
			return fmt.Errorf("set aside are %q, want %q", aside, want)
		}
		return nil
	})
	testbed.Eventually(t, "an event with the MAC", func(ctx context.Context) error {
		var events corev1.EventList
		if err := bed.Client.List(ctx, &events, client.InNamespace(svc.Namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "AddressTaken" && e.InvolvedObject.Name == svc.Name {
				assert.Contains(t, e.Message, mac)
				return nil
			}
		}
		return errors.New("none yet")
	})
}

// TestTakenOnRequest: who asks for an address that somebody else has is told so, and not given another one.
func TestTakenOnRequest(t *testing.T) {
	s := site.New(t, bed, 2)
	addr := netip.MustParseAddr("192.0.100.77")
	squatter := s.AddClient("squatter")
	answers := squatter.Respond(t, addr)
	svc := s.Service("web", s.Nodes(), func(svc *corev1.Service) {
		one := corev1.IPFamilyPolicySingleStack
		svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &one, []corev1.IPFamily{corev1.IPv4Protocol}
		svc.Annotations = map[string]string{"metallb.io/loadBalancerIPs": addr.String()}
	})
	s.Advertised(svc, fmt.Sprintf("False AddressTaken: %s is not announced: %s answers for it on the local network", addr, squatter.MAC("eth0")))
	assert.Equal(t, []netip.Addr{addr}, site.Addrs(svc))
	answers.Silence(t)
}
