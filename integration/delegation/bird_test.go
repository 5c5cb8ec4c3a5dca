package delegation

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta2"
)

// TestBIRDReads: whatever BGPPeers and Secrets say, what comes to Calico is something that BIRD can read. It refuses its whole
// configuration otherwise, and no node hears of any change.
func TestBIRDReads(t *testing.T) {
	if _, err := exec.LookPath("bird"); err != nil && os.Getenv("CI") == "" {
		t.Skip("there is no bird, which Debian has in the package bird2")
	}
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
	add(strings.Repeat("a.", 120)+"long", func(*v1beta2.BGPPeerSpec) {})

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

	read := func(config string) (string, error) {
		path := filepath.Join(t.TempDir(), "bird.conf")
		require.NoError(t, os.WriteFile(path, []byte("router id 192.0.2.254;\n"+config), 0o600))
		out, err := exec.CommandContext(t.Context(), "bird", "-p", "-c", path).CombinedOutput()
		return string(out), err
	}
	session := func(k int, at netip.AddrPort, as int64, password string) string {
		family := "ipv4"
		if at.Addr().Is6() {
			family = "ipv6"
		}
		if password != "" {
			password = fmt.Sprintf("  password \"%s\";\n", password) // as in Calico's templates (confd/etc/calico/confd/templates)
		}
		return fmt.Sprintf("protocol bgp p%d {\n  local as 64512;\n  neighbor %s port %d as %d;\n  multihop;\n%s  %s { import none; export none; };\n}\n", k, at.Addr(), at.Port(), as, password, family)
	}
	whole := ""
	for k, p := range peers.Items {
		ip, _, err := unstructured.NestedString(p.Object, "spec", "peerIP")
		require.NoError(t, err)
		at, err := netip.ParseAddrPort(ip)
		if err != nil {
			addr, err := netip.ParseAddr(ip)
			require.NoError(t, err, "%s", p.GetName())
			at = netip.AddrPortFrom(addr, 179)
		}
		as, _, err := unstructured.NestedInt64(p.Object, "spec", "asNumber")
		require.NoError(t, err)
		var password string
		if name, set, err := unstructured.NestedString(p.Object, "spec", "password", "secretKeyRef", "name"); set {
			require.NoError(t, err)
			var secret corev1.Secret
			require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: name}, &secret))
			password = string(secret.Data["password"])
		}
		one := session(k, at, as, password)
		out, err := read(one)
		assert.NoError(t, err, "%s: %s: %s", p.GetName(), out, one)
		whole += one
	}
	out, err := read(whole)
	require.NoError(t, err, out)

	// What is kept from it is what it cannot read.
	for what, config := range map[string]string{
		"a quote":              session(0, netip.MustParseAddrPort("192.0.2.1:179"), 1, `quote"quote`),
		"a newline":            session(0, netip.MustParseAddrPort("192.0.2.1:179"), 1, "newline\n"),
		"a link-local address": session(0, netip.MustParseAddrPort("[fe80::1]:179"), 1, ""),
	} {
		_, err := read(config)
		assert.Error(t, err, what)
	}
}
