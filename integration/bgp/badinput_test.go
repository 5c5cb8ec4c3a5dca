package bgp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestBadInput has peers of which every one is wrong in its own way beside one that is right, and keeps that one's session all the time.
func TestBadInput(t *testing.T) {
	r := newRack(t, 1, func(*v1beta2.BGPPeerSpec) {})
	node := r.Nodes()[0].Addr(false).String()
	svc := r.Service("web", r.Nodes(), nil)
	route := site.Addrs(svc)[0].String() + "/32"
	await(t, "the route", func() bool { return r.nextHops("ipv4", route) == 1 })
	before := r.frr.Neighbor(node)

	r.Create(&corev1.Secret{ObjectMeta: r.Meta("opaque"), StringData: map[string]string{"password": "x"}})
	yes := true
	r.Create(&v1beta1.BFDProfile{ObjectMeta: r.Meta("echo"), Spec: v1beta1.BFDProfileSpec{EchoMode: &yes}})
	spec := v1beta2.BGPPeerSpec{MyASN: 65001, PeerASN: 65009}
	for name, change := range map[string]func(*v1beta2.BGPPeerSpec){
		"opaque":    func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.PasswordSecret.Name = "192.0.3.1", "opaque" },
		"no-secret": func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.PasswordSecret.Name = "192.0.3.2", "nowhere" },
		"no-iface":  func(s *v1beta2.BGPPeerSpec) { s.Interface = "nowhere0" },
		"no-vrf":    func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.VRFName = "192.0.3.3", "nowhere1" },
		"no-source": func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.SourceAddress = "192.0.3.4", "203.0.113.1" },
		"unreachable": func(s *v1beta2.BGPPeerSpec) {
			s.PeerAddress, s.ConnectTime = "192.0.3.5", &metav1.Duration{Duration: time.Second}
		},
		"echo": func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.BFDProfile = "2001:db8::99", "echo" },
	} {
		s := spec
		change(&s)
		r.Create(&v1beta2.BGPPeer{ObjectMeta: r.Meta(name), Spec: s})
	}
	for name, want := range map[string]string{
		"opaque":      `there is no Secret ` + r.Namespace + `/opaque of type kubernetes.io/basic-auth; create it, with a key password`,
		"no-secret":   `there is no Secret ` + r.Namespace + `/nowhere of type kubernetes.io/basic-auth; create it, with a key password`,
		"no-iface":    "nowhere0",
		"no-vrf":      "nowhere1",
		"no-source":   "203.0.113.1",
		"unreachable": "192.0.3.5",
	} {
		r.session("n1-"+name, want, func(x v1alpha1.BGPSessionStatus) bool {
			return x.State != "Established" && strings.Contains(x.LastError, want)
		})
	}
	r.event("BGPPeer", "opaque", "PeerNotReady", `node "n1": the peer is not ready: there is no Secret `+r.Namespace+`/opaque of type`)
	r.event("BFDProfile", "echo", "UnsupportedField", `node "n1": spec.echoMode: there are no echo packets on IPv6; the session runs on control packets`)

	// Nobody is in a hurry.
	speaker := r.Speakers["n1"]
	used := speaker.CPU()
	time.Sleep(5 * time.Second)
	assert.Less(t, speaker.CPU()-used, 1.0, "seconds of processor time in five")
	sameSession(t, before, r.frr.Neighbor(node))
	assert.Equal(t, 1, r.nextHops("ipv4", route))

	// A Secret of the right type helps at once.
	r.Create(&corev1.Secret{ObjectMeta: r.Meta("nowhere"), Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"password": "x", "username": ""}})
	r.session("n1-no-secret", "no such fault", func(x v1alpha1.BGPSessionStatus) bool { return !strings.Contains(x.LastError, "there is no Secret") })
}

// event waits for an event on an object of the installation.
func (r *rack) event(kind, name, reason, note string) {
	r.t.Helper()
	testbed.Eventually(r.t, "the event on "+kind+" "+name, func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := r.Bed.Client.List(ctx, &list, client.InNamespace(r.Namespace)); err != nil {
			return err
		}
		var seen []string
		for _, e := range list.Items {
			if e.Regarding.Kind != kind || e.Regarding.Name != name {
				continue
			}
			if e.Reason == reason && strings.HasPrefix(e.Note, note) {
				require.Equal(r.t, "metallb-speaker", e.ReportingController)
				return nil
			}
			seen = append(seen, e.Reason+": "+e.Note)
		}
		return fmt.Errorf("there are %q", seen)
	})
}
