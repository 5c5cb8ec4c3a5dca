// Package admission tests the admission webhook on a real API server, and what takes its place when it is off.
package admission

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

const (
	secretName        = "metallb-webhook-cert"
	configurationName = "metallb-webhook-configuration"
)

var bed *testbed.Bed

func TestMain(m *testing.M) { os.Exit(testbed.Main(m, &bed)) }

// register creates the configuration of docs/webhook.yaml. The API server of a test reaches no Service, so it is given a URL.
func register(t *testing.T, port int) *admissionregistrationv1.ValidatingWebhookConfiguration {
	t.Helper()
	file, err := os.ReadFile(testbed.Folder("docs", "webhook.yaml"))
	require.NoError(t, err)
	documents := bytes.Split(file, []byte("\n---\n"))
	require.Len(t, documents, 2)
	require.NoError(t, yaml.UnmarshalStrict(documents[0], &corev1.Service{}))
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	require.NoError(t, yaml.UnmarshalStrict(documents[1], c))
	require.Equal(t, configurationName, c.Name)
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		require.Equal(t, admissionregistrationv1.Ignore, *w.FailurePolicy)
		url := fmt.Sprintf("https://localhost:%d%s", port, *w.ClientConfig.Service.Path)
		w.ClientConfig.URL, w.ClientConfig.Service = &url, nil
	}
	require.NoError(t, bed.Client.Create(t.Context(), c))
	t.Cleanup(func() { require.NoError(t, bed.Client.Delete(context.Background(), c)) })
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func pool(namespace, name string, addresses ...string) *v1beta1.IPAddressPool {
	return &v1beta1.IPAddressPool{ObjectMeta: meta(namespace, name), Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}}
}

func community(namespace, name string, pairs ...string) *v1beta1.Community {
	c := &v1beta1.Community{ObjectMeta: meta(namespace, name)}
	for i := 0; i < len(pairs); i += 2 {
		c.Spec.Communities = append(c.Spec.Communities, v1beta1.CommunityAlias{Name: pairs[i], Value: pairs[i+1]})
	}
	return c
}

func advertisement(namespace, name string, localPref uint32, communities ...string) *v1beta1.BGPAdvertisement {
	return &v1beta1.BGPAdvertisement{ObjectMeta: meta(namespace, name), Spec: v1beta1.BGPAdvertisementSpec{LocalPref: localPref, Communities: communities}}
}

func peer(namespace, name, address, bfd string) *v1beta2.BGPPeer {
	return &v1beta2.BGPPeer{ObjectMeta: meta(namespace, name), Spec: v1beta2.BGPPeerSpec{
		MyASN: 64512, PeerASN: 64513, PeerAddress: address, BFDProfile: bfd,
	}}
}

// contradictions are the objects whose fault is a second object, with what is said of it. The first ones are good().
func contradictions(ns string) map[string]struct {
	object client.Object
	fault  string
} {
	type c = struct {
		object client.Object
		fault  string
	}
	return map[string]c{
		"overlap IPv4":    {pool(ns, "second4", "10.1.0.128-10.1.1.5"), `spec.addresses[0]: 10.1.0.128-10.1.1.5 overlaps 10.1.0.0-10.1.0.255 of pool "main"; an address may be in one pool only`},
		"overlap IPv6":    {pool(ns, "second6", "2001:db8:1::80/121"), `spec.addresses[0]: 2001:db8:1::80-2001:db8:1::ff overlaps 2001:db8:1::-2001:db8:1::ff of pool "main"; an address may be in one pool only`},
		"duplicate alias": {community(ns, "second", "blue", "64512:3", "gold", "64512:2"), `spec.communities[1].name: the alias "gold" is defined in Community "main" already; give each community its own name`},
		"localPref":       {advertisement(ns, "second", 200), `spec.localPref: 200 differs from 100 of BGPAdvertisement "main", which advertises pool "main" to the same peers`},
		"reserved twice":  {reservation(ns, "second", "mail"), `spec.addresses: 2001:db8:1::7-2001:db8:1::7 overlaps 2001:db8:1::7-2001:db8:1::7, which AddressReservation "main" keeps for another Service`},
		"peer twice":      {peer(ns, "second", "192.0.2.1", ""), `spec.peerAddress: 192.0.2.1 port 179 is the peer of BGPPeer "main" already`},
	}
}

func reservation(ns, name, service string) *v1alpha1.AddressReservation {
	return &v1alpha1.AddressReservation{ObjectMeta: meta(ns, name), Spec: v1alpha1.AddressReservationSpec{
		Addresses: []string{"2001:db8:1::7"}, Service: &v1alpha1.ServiceReference{Namespace: "default", Name: service},
	}}
}

// good are objects without a fault, in an order in which some refer to what comes later.
func good(ns string) []client.Object {
	return []client.Object{
		peer(ns, "main", "192.0.2.1", "fast"), peer(ns, "six", "2001:db8::1", "fast"), advertisement(ns, "main", 100, "gold", "large:64512:1:2"),
		&v1beta1.BFDProfile{ObjectMeta: meta(ns, "fast")}, community(ns, "main", "gold", "64512:1"),
		&v1beta1.L2Advertisement{ObjectMeta: meta(ns, "main")}, reservation(ns, "main", "web"), pool(ns, "main", "10.1.0.0/24", "2001:db8:1::/120"),
	}
}

func state(t *testing.T, ns string, check func(string) error) {
	t.Helper()
	testbed.Eventually(t, "the ConfigurationState", func(ctx context.Context) error {
		var s v1beta1.ConfigurationState
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: "controller"}, &s); err != nil {
			return err
		}
		return check(fmt.Sprintf("%s\n%s", s.Status.Result, s.Status.ErrorSummary))
	})
}

func contains(want ...string) func(string) error {
	return func(s string) error {
		for _, w := range want {
			if !strings.Contains(s, w) {
				return fmt.Errorf("%q is missing in %q", w, s)
			}
		}
		return nil
	}
}

func TestWebhook(t *testing.T) {
	ns, port := bed.Namespace(t), freePort(t)
	configuration := register(t, port)
	bed.Start(t, ns)
	state(t, ns, contains("Valid\n")) // it leads
	p := bed.Start(t, ns, "--webhook=enabled", "--webhook-port", fmt.Sprint(port))

	testbed.Eventually(t, "the CA of the Secret in the configuration", func(ctx context.Context) error {
		var s corev1.Secret
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: secretName}, &s); err != nil {
			return err
		}
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(configuration), configuration); err != nil {
			return err
		}
		for _, w := range configuration.Webhooks {
			if len(s.Data["ca.crt"]) == 0 || !bytes.Equal(w.ClientConfig.CABundle, s.Data["ca.crt"]) {
				return fmt.Errorf("webhook %s does not have it", w.Name)
			}
		}
		return nil
	})
	testbed.Eventually(t, "the webhook to refuse a pool outside its namespace", func(ctx context.Context) error {
		err := bed.Client.Create(ctx, pool("default", "elsewhere", "10.9.0.0/24"), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("IPAddressPool objects are read in namespace %q only: create it there", ns)) {
			return fmt.Errorf("got %v", err)
		}
		return nil
	})

	for _, o := range good(ns) {
		require.NoError(t, bed.Client.Create(t.Context(), o), "%T %s", o, o.GetName())
	}
	for name, c := range contradictions(ns) {
		// The webhook reads a cache, which may not have the objects of a moment ago.
		testbed.Eventually(t, name+" to be refused", func(ctx context.Context) error {
			err := bed.Client.Create(ctx, c.object.DeepCopyObject().(client.Object), client.DryRunAll)
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.fault) {
				return fmt.Errorf("got %v", err)
			}
			return nil
		})
	}

	t.Run("an edit of the older pool is refused too", func(t *testing.T) {
		require.NoError(t, bed.Client.Create(t.Context(), pool(ns, "young", "10.2.0.0/24")))
		testbed.Eventually(t, "the edit to be refused", func(ctx context.Context) error {
			o := pool(ns, "main")
			if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			o.Spec.Addresses = append(o.Spec.Addresses, "10.2.0.7/32")
			if err := bed.Client.Update(ctx, o, client.DryRunAll); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `spec.addresses[2]: 10.2.0.7-10.2.0.7 overlaps`) {
				return fmt.Errorf("got %v", err)
			}
			return nil
		})
	})
	t.Run("a BFDProfile in use stays", func(t *testing.T) {
		err := bed.Client.Delete(t.Context(), &v1beta1.BFDProfile{ObjectMeta: meta(ns, "fast")})
		require.ErrorContains(t, err, `BFDProfile "fast" is used by BGPPeer "main", "six": remove spec.bfdProfile there first`)
	})
	t.Run("disableMP is warned of", func(t *testing.T) {
		manifest := t.TempDir() + "/peer.yaml"
		require.NoError(t, os.WriteFile(manifest, []byte("apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: mp, namespace: "+ns+"}\n"+
			"spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.9, disableMP: true}\n"), 0o600))
		assert.Contains(t, bed.Kubectl(t, "create", "--dry-run=server", "-f", manifest), "spec.disableMP is deprecated and has no effect")
	})
	t.Run("an object of the old version is judged too", func(t *testing.T) {
		old := &v1beta1.BGPPeer{ObjectMeta: meta(ns, "old"), Spec: v1beta1.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.2.1"}}
		require.ErrorContains(t, bed.Client.Create(t.Context(), old, client.DryRunAll), `is the peer of BGPPeer "main" already`)
	})
	state(t, ns, contains("Valid\n"))

	// Without the webhook every write goes through, and the faults are reported instead.
	assert.NotContains(t, p.Log(), "Successfully acquired lease", "a replica that does not lead serves the webhook")
	took, err := p.Stop()
	require.NoError(t, err)
	assert.Less(t, took.Seconds(), 5.0)
	var faults []string
	for _, c := range contradictions(ns) {
		require.NoError(t, bed.Client.Create(t.Context(), c.object))
		faults = append(faults, c.fault)
	}
	state(t, ns, contains(append(faults, "Invalid\n")...))
}

// TestWithoutWebhook: what the webhook refuses shows up as an event on the object and in the ConfigurationState.
func TestWithoutWebhook(t *testing.T) {
	ns := bed.Namespace(t)
	bed.Start(t, ns, "--webhook=disabled")
	for _, o := range good(ns) {
		require.NoError(t, bed.Client.Create(t.Context(), o))
	}
	state(t, ns, func(s string) error {
		if s != "Valid\n" {
			return fmt.Errorf("is %q", s)
		}
		return nil
	})
	all := contradictions(ns)
	for _, c := range all {
		require.NoError(t, bed.Client.Create(t.Context(), c.object))
	}
	for name, c := range all {
		testbed.Eventually(t, "the event of "+name, event(c.object, c.fault))
		state(t, ns, contains("Invalid\n", c.fault))
	}
	// A profile in use can be deleted; the peers go on with what they had.
	require.NoError(t, bed.Client.Delete(t.Context(), &v1beta1.BFDProfile{ObjectMeta: meta(ns, "fast")}))
	const missing = `spec.bfdProfile: there is no valid BFDProfile "fast"; create it, or remove the reference; its last valid version stays in force`
	main := peer(ns, "main", "", "")
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(main), main))
	testbed.Eventually(t, "the event of the peer", event(main, missing))
	state(t, ns, contains(fmt.Sprintf("BGPPeer %s/main: %s", ns, missing)))

	var s corev1.Secret
	require.True(t, apierrors.IsNotFound(bed.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: secretName}, &s)), "a certificate was made")
}

func event(o client.Object, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		var list corev1.EventList
		if err := bed.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			return err
		}
		var got []string
		for _, e := range list.Items {
			if e.InvolvedObject.UID == o.GetUID() && e.Reason == "ConfigurationError" && strings.Contains(e.Message, want) {
				return nil
			}
			got = append(got, e.InvolvedObject.Name+": "+e.Message)
		}
		return fmt.Errorf("%q is not among %q", want, got)
	}
}
