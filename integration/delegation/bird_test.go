package delegation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// needed are the programs of Calico that render and read BIRD's configuration.
var needed = []string{"confd", "confd-templates", "bird1/bird", "bird1/bird6"}

// TestBIRDReads: whatever BGPPeers, Secrets and BGPAdvertisements say, what Calico's confd makes of what we write for it is something that BIRD can
// read. It refuses its whole configuration otherwise, and no node hears of any change.
func TestBIRDReads(t *testing.T) {
	for _, name := range needed {
		if _, err := os.Stat(testbed.Folder("bin", name)); err != nil {
			require.Empty(t, os.Getenv("CI"), "bin/%s is missing; run 'make tools'", name)
			t.Skipf("bin/%s is missing; run 'make tools'", name)
		}
	}
	all, err := localcluster.ReadCRDs(localcluster.CalicoCRDs, testbed.Folder("bin"))
	require.NoError(t, err)
	require.NoError(t, bed.InstallCRDs(all...))
	i := install(t)
	i.bgp("all")
	n := 0
	add := func(name string, change func(*v1beta2.BGPPeerSpec)) {
		n++
		p := &v1beta2.BGPPeer{ObjectMeta: i.meta(name), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: fmt.Sprintf("198.51.100.%d", n)}}
		change(&p.Spec)
		if err := bed.Client.Create(t.Context(), p); err != nil {
			require.True(t, apierrors.IsInvalid(err), "%s: %v", name, err)
		}
	}
	for k, password := range []string{
		`quote"quote`, `back\slash\`, "newline\n", "two\nlines", "bell\a", "nul\x00", "delete\x7f", "c1\u0085", `'; }`, "# no comment", "/* nor this",
		"$name ${x} `y`", "ümläut ✓", strings.Repeat("x", 80), strings.Repeat("x", 81), " ", `"`, "\t",
	} {
		add(fmt.Sprint("spec-", k), func(s *v1beta2.BGPPeerSpec) { s.Password = password })
		secret := &corev1.Secret{ObjectMeta: i.meta(fmt.Sprint("password-", k)), Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"password": []byte(password)}}
		i.create(secret)
		add(fmt.Sprint("secret-", k), func(s *v1beta2.BGPPeerSpec) { s.PasswordSecret.Name = secret.Name })
	}
	for k, address := range []string{
		"fe80::1", "fe80::1%eth0", "2001:db8::1%eth0", "0.0.0.0", "::", "224.0.0.5", "ff02::5", "255.255.255.255", "::ffff:192.0.2.77", "2001:DB8:0::7", "169.254.1.1", "192.0.2.300",
		"192.0.2.1/32", " 192.0.2.2", "192.0.2.3;",
	} {
		add(fmt.Sprint("address-", k), func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = address })
	}
	for k, as := range []uint32{1, 23456, 65535, 65536, 1<<31 - 1, 1 << 31, 4200000001, 1<<32 - 1} {
		add(fmt.Sprint("as-", k), func(s *v1beta2.BGPPeerSpec) { s.PeerASN = as })
		add(fmt.Sprint("port-", k), func(s *v1beta2.BGPPeerSpec) { s.PeerPort = uint16(as) })
	}
	long := strings.Repeat("a.", 120) + "long"
	add(long, func(*v1beta2.BGPPeerSpec) {})
	for k, community := range []string{"65535:65281", "0:0", "65535:65535", "large:4294967295:4294967295:4294967295", "large:0:0:0", "65536:1", "large:-1:0:0", "no-export", `"`, "1:1;"} {
		name := fmt.Sprint("community-", k)
		i.create(&v1beta1.IPAddressPool{ObjectMeta: i.meta(name), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{fmt.Sprintf("10.81.%d.0/24", k), fmt.Sprintf("2001:db8:81:%d::/64", k)}}})
		a := &v1beta1.BGPAdvertisement{ObjectMeta: i.meta(name), Spec: v1beta1.BGPAdvertisementSpec{
			IPAddressPools: []string{name}, Communities: []string{community}, Peers: []string{"as-0", long},
		}}
		if err := bed.Client.Create(t.Context(), a); err != nil {
			require.True(t, apierrors.IsInvalid(err), "%s: %v", name, err)
		}
	}

	bed.Start(t, i.namespace, "--backend=calico")
	want := []string{"as-0", "as-1", "as-2", "as-3", "as-4"}
	for _, k := range []int{8, 9, 10} {
		want = append(want, fmt.Sprint("address-", k))
	}
	for _, k := range []int{1, 8, 9, 10, 11, 12, 13, 15} {
		want = append(want, fmt.Sprint("spec-", k), fmt.Sprint("secret-", k))
	}
	// What the API server's rules refuse is one more place where a fault ends; what is left must be there, and all that BIRD can read.
	var peers unstructured.UnstructuredList
	peers.SetGroupVersionKind(calicoGroup.WithKind("BGPPeerList"))
	is(t, "sessions that can be held", "", func(ctx context.Context) (string, error) {
		if err := bed.Client.List(ctx, &peers); err != nil {
			return "", err
		}
		var lacks []string
		have := map[string]bool{}
		for _, p := range peers.Items {
			have[strings.TrimPrefix(p.GetName(), "fairlead-")] = true
		}
		for _, name := range want {
			if !have[name] {
				lacks = append(lacks, name)
			}
		}
		return strings.Join(lacks, " "), nil
	})

	node(t)
	text, err := bird(t)
	require.NoError(t, err)
	for _, is := range []string{"as 2147483647", "$name ${x} `y`", "bgp_large_community.add((4294967295, 4294967295, 4294967295))", "10.81.3.0/24"} {
		assert.Contains(t, text, is)
	}

	// What is kept from it is what it cannot read.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "hostile"}}
	i.create(secret)
	t.Cleanup(func() { assert.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), secret)) })
	for what, spec := range map[string]map[string]any{
		"a quote":              {"peerIP": "203.0.113.9", "asNumber": int64(1)},
		"a newline":            {"peerIP": "203.0.113.9", "asNumber": int64(1)},
		"a link-local address": {"peerIP": "fe80::1", "asNumber": int64(1)},
	} {
		secret.StringData = map[string]string{"password": map[string]string{"a quote": `quote"quote`, "a newline": "newline\n"}[what]}
		if secret.StringData["password"] != "" {
			require.NoError(t, bed.Client.Update(t.Context(), secret))
			spec["password"] = map[string]any{"secretKeyRef": map[string]any{"name": secret.Name, "key": "password"}}
		}
		peer := calicoObject("BGPPeer", "hostile", spec)
		i.create(peer)
		_, err := bird(t)
		assert.Error(t, err, what)
		require.NoError(t, bed.Client.Delete(t.Context(), peer))
	}
}

func calicoObject(kind, name string, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(calicoGroup.WithKind(kind))
	u.SetName(name)
	return u
}

// node makes what Calico has in a cluster of one node, n1.
func node(t *testing.T) {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{
		"projectcalico.org/IPv4Address": "192.0.2.254/16", "projectcalico.org/IPv6Address": "2001:db8::254/64",
	}}}
	for _, o := range []client.Object{
		n,
		calicoObject("ClusterInformation", "default", map[string]any{"calicoVersion": "v3.28.5", "clusterType": "k8s,bgp", "datastoreReady": true}),
		// Without VXLAN, Calico sets a variable for the kernel's routes that only its own BIRD knows.
		calicoObject("IPPool", "pods", map[string]any{"cidr": "10.244.0.0/16", "ipipMode": "Never", "vxlanMode": "Always", "nodeSelector": "all()"}),
	} {
		require.NoError(t, bed.Client.Create(t.Context(), o))
		t.Cleanup(func() {
			assert.NoError(t, client.IgnoreNotFound(bed.Client.Delete(context.WithoutCancel(t.Context()), o)))
		})
	}
}

// bird has Calico's confd write, from what is in the cluster, what the BIRDs of the node read, and returns it with what they say against it.
func bird(t *testing.T) (text string, against error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, localcluster.LayCalico(dir, testbed.Folder("bin", "confd-templates")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", "sv"), []byte("#!/bin/sh\n"), 0o755)) //nolint:gosec // no BIRD runs that it could tell
	kubeconfig := filepath.Join(dir, "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, bed.Kubeconfig, 0o600))
	confd := exec.CommandContext(t.Context(), testbed.Folder("bin", "confd"), "-onetime", "-confdir", dir)
	confd.Env = localcluster.ConfdEnv("n1", dir, kubeconfig, testbed.Folder("bin", "bird1")+":"+os.Getenv("PATH"))
	out, err := confd.CombinedOutput()
	require.NoError(t, err, "confd: %s", out)
	files, err := filepath.Glob(filepath.Join(dir, "config", "*.cfg"))
	require.NoError(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		text += string(b)
	}
	for _, name := range []string{"bird", "bird6"} {
		path := filepath.Join(dir, "config", name+".cfg")
		read := exec.CommandContext(t.Context(), testbed.Folder("bin", "bird1", name), "-p", "-c", path)
		read.Dir = filepath.Dir(path) // where what it includes is
		if out, err := read.CombinedOutput(); err != nil {
			against = errors.Join(against, fmt.Errorf("%s: %w: %s", name, err, out))
		}
	}
	return text, against
}
