package chart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// capabilities are those that the chart may give.
var capabilities = map[corev1.Capability]uintptr{"NET_RAW": unix.CAP_NET_RAW, "NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE}

// TestSpeakers runs what the DaemonSet says on two nodes, with its ServiceAccount, its user and its capabilities. They find each other
// by their pods, one of them answers for an address, and both say what they do. Go's race detector watches them.
func TestSpeakers(t *testing.T) {
	netlab.Skip(t)
	r := install(t, "backend=speaker", "speaker.enabled=true", "speaker.bgpListenPort=179")
	binary, err := bed.BuildForRaces("speaker")
	require.NoError(t, err)
	lab := netlab.New(t, bed.Cluster)
	lab.AddNodes(2, netip.MustParsePrefix("192.0.0.0/16"), netip.MustParsePrefix("2001:db8::/64"))
	visitor := lab.AddHost("client", netip.MustParsePrefix("192.0.0.201/16"), netip.MustParsePrefix("2001:db8::c9/64"))

	r.create(&v1beta1.IPAddressPool{ObjectMeta: r.object("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.100.0/24"}}})
	r.create(&v1beta1.L2Advertisement{ObjectMeta: r.object("main")})
	r.create(&corev1.Secret{ObjectMeta: r.object("bgp"), Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"username": {}, "password": []byte("s3cret")}})
	peer := &v1beta2.BGPPeer{ObjectMeta: r.object("tor"), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.0.201"}}
	peer.Spec.PasswordSecret.Name = "bgp"
	r.create(peer)
	r.create(&v1beta1.BGPAdvertisement{ObjectMeta: r.object("main")})
	port := freePort(t)
	controller := r.start(r.account("controller", "", nil), "--metrics-bind-address="+port)
	secret := &corev1.Secret{ObjectMeta: r.object("memberlist")}
	exists(t, secret, true)

	set := &appsv1.DaemonSet{ObjectMeta: r.object(r.name + "-fairlead-speaker")}
	exists(t, set, true)
	config := r.account("speaker", "", nil)
	speakers := map[string]*netlab.Process{}
	for _, n := range lab.Nodes() {
		speakers[n.Name()] = speak(r, set, n, binary, config, secret.Data["secretkey"])
	}
	for _, n := range lab.Nodes() {
		testbed.Eventually(t, n.Name()+" to be ready", func(context.Context) error {
			answer, err := n.HTTPClient(time.Second).Get("http://127.0.0.1:17472/readyz")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return errors.New(answer.Status)
			}
			return nil
		})
	}

	class := r.class()
	single := corev1.IPFamilyPolicySingleStack
	svc := lab.AddService("web-"+r.name, func(s *corev1.Service) { s.Spec.LoadBalancerClass, s.Spec.IPFamilyPolicy = &class, &single })
	lab.SetEndpoints(svc, netlab.Ready(lab.Nodes()...)...)
	addressed(t, svc)
	vip := netip.MustParseAddr(svc.Status.LoadBalancer.Ingress[0].IP)
	testbed.Eventually(t, "an answer", func(context.Context) error {
		_, err := visitor.Get(vip, time.Second)
		return err
	})
	var owner string
	testbed.Eventually(t, "a ServiceL2Status", func(ctx context.Context) error {
		var list v1beta1.ServiceL2StatusList
		if err := bed.Client.List(ctx, &list, client.InNamespace(r.name)); err != nil {
			return err
		}
		if len(list.Items) != 1 || list.Items[0].Status.Node == "" {
			return fmt.Errorf("there are %d", len(list.Items))
		}
		owner = list.Items[0].Status.Node
		return nil
	})
	testbed.Eventually(t, "a BGPSession of each node", func(ctx context.Context) error {
		var list v1alpha1.BGPSessionList
		if err := bed.Client.List(ctx, &list, client.InNamespace(r.name)); err != nil {
			return err
		}
		if len(list.Items) != 2 {
			return fmt.Errorf("there are %d", len(list.Items))
		}
		return nil
	})
	alerts(t, scrape(t, http.DefaultClient, port)+scrape(t, lab.Nodes()[0].HTTPClient(time.Second), "127.0.0.1:7472"))
	_, err = speakers[owner].Stop()
	require.NoError(t, err)
	testbed.Eventually(t, "the other node to take over", func(ctx context.Context) error {
		var list v1beta1.ServiceL2StatusList
		if err := bed.Client.List(ctx, &list, client.InNamespace(r.name)); err != nil {
			return err
		}
		if len(list.Items) != 1 || list.Items[0].Status.Node == owner {
			return errors.New("it has not")
		}
		return nil
	})
	for name, p := range speakers {
		assert.NotContains(t, p.Log(), testbed.DataRace, name)
		assert.NotContains(t, p.Log(), "forbidden", name)
		assert.NotContains(t, p.Log(), "not encrypted", name)
	}
	assert.NotContains(t, controller.Log(), "forbidden")

	// What only an established BGP session leads to.
	for _, verb := range []string{"list", "watch", "create", "delete"} {
		assert.True(t, mayI(t, r, "metallb.io", "servicebgpstatuses", "", verb), verb)
	}
	assert.True(t, mayI(t, r, "metallb.io", "servicebgpstatuses", "status", "patch"))
	for _, c := range [][4]string{{"", "services", "status", "patch"}, {"", "secrets", "", "create"}, {"fairlead.io", "backends", "", "delete"}, {"metallb.io", "ipaddresspools", "", "update"}} {
		assert.False(t, mayI(t, r, c[0], c[1], c[2], c[3]), "%v", c)
	}
}

// freePort returns an address on which nobody listens.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func scrape(t testing.TB, c *http.Client, addr string) string {
	t.Helper()
	answer, err := c.Get("http://" + addr + "/metrics")
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(text)
}

// found are series that are exported only if there is something to tell.
var found = map[string]bool{"fairlead_services_pending": true, "fairlead_delegation_findings": true, "fairlead_faulty_objects": true, "metallb_bfd_session_up": true, "fairlead_layer2_conflicts_total": true,
	"fairlead_allocator_pending": true, "fairlead_allocator_requests_total": true}

// alerts checks that every series that an alert or the dashboard looks at is among those that are exported.
func alerts(t testing.TB, exported string) {
	t.Helper()
	rules, panels := expressions(t)
	series := regexp.MustCompile(`(metallb|fairlead|rest_client)_[a-z0-9_]+`).FindAllString(strings.Join(append(rules, panels...), "\n"), -1)
	require.Greater(t, len(series), 15)
	for _, s := range series {
		if !found[s] {
			assert.Regexp(t, "(?m)^"+s+`[{ ]`, exported, s)
		}
	}
}

// speak starts the container of a DaemonSet on a node, and creates its pod.
func speak(r *release, set *appsv1.DaemonSet, n *netlab.Node, binary, config string, secret []byte) *netlab.Process {
	r.t.Helper()
	template := set.Spec.Template
	c := template.Spec.Containers[0]
	require.Equal(r.t, []string{"/speaker"}, c.Command)
	pod := &corev1.Pod{ObjectMeta: r.object("speaker-" + n.Name()), Spec: template.Spec}
	pod.Labels, pod.Spec.NodeName = template.Labels, n.Name()
	r.create(pod)
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, n.Addr(false).String()
	pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
	require.NoError(r.t, bed.Client.Status().Update(r.t.Context(), pod))

	dir := r.t.TempDir()
	write(r.t, filepath.Join(dir, "secretkey"), secret)
	excluded := &corev1.ConfigMap{ObjectMeta: r.object(r.name + "-fairlead-excludel2")}
	exists(r.t, excluded, true)
	write(r.t, filepath.Join(dir, "excludel2.yaml"), []byte(excluded.Data["excludel2.yaml"]))
	args := append(arguments(c, map[string]string{"FAIRLEAD_NAMESPACE": r.name}), "--kubeconfig="+config,
		"--memberlist-secret-path="+filepath.Join(dir, "secretkey"), "--exclude-interfaces-file="+filepath.Join(dir, "excludel2.yaml"))

	var rights []uintptr
	for _, name := range c.SecurityContext.Capabilities.Add {
		require.Contains(r.t, capabilities, name)
		rights = append(rights, capabilities[name])
	}
	slices.Sort(rights)
	return n.Start(netlab.StartOptions{
		Name: "speaker", Env: []string{"FAIRLEAD_NODE_NAME=" + n.Name(), "FAIRLEAD_POD_NAME=" + pod.Name, "FAIRLEAD_POD_UID=" + string(pod.UID)},
		Rights: &netlab.Rights{UID: uint32(*template.Spec.SecurityContext.RunAsUser), Capabilities: rights},
	}, binary, args...)
}

// mayI asks the API server what the speaker's ServiceAccount may do in the release's namespace.
func mayI(t testing.TB, r *release, group, resource, sub, verb string) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + r.name + ":" + r.name + "-fairlead-speaker",
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.name, Group: group, Resource: resource, Subresource: sub, Verb: verb,
		},
	}}
	require.NoError(t, bed.Client.Create(t.Context(), review))
	return review.Status.Allowed
}
