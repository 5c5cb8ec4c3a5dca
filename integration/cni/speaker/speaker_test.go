// Package speaker runs the scenarios of integration/cni on Fairlead's own speakers.
package speaker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

func TestRoutes(t *testing.T) { cni.Run(t, &speakers{}) }

// speakers are the processes of a node each.
type speakers struct{ binary, secret string }

func (*speakers) Name() string { return "speaker" }

// Prepare makes the Secret that the speakers share, as the controller would.
func (s *speakers) Prepare(t testing.TB, l *cni.Lab) {
	var err error
	s.binary, err = l.Bed.Build("speaker")
	require.NoError(t, err)
	key := []byte(strings.Repeat("k", 32))
	require.NoError(t, l.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: "memberlist"}, Data: map[string][]byte{"secretkey": key},
	}))
	s.secret = filepath.Join(l.Dir(), "memberlist")
	require.NoError(t, os.WriteFile(s.secret, key, 0o644)) //nolint:gosec // the speakers run as other users
}

func (s *speakers) Join(t testing.TB, l *cni.Lab, n *netlab.Host) func(testing.TB) {
	var peers []string
	for _, name := range cni.Nodes() {
		peers = append(peers, l.Host(name).Addr(false).String())
	}
	p := n.Start(netlab.StartOptions{Name: "speaker", Rights: &netlab.Rights{UID: netlab.Nobody, Capabilities: []uintptr{unix.CAP_NET_RAW}}}, s.binary,
		"--kubeconfig", l.Kubeconfig(), "--namespace", l.Namespace, "--node-name", n.Name(), "--log-format=text",
		"--memberlist-bind-address", n.Addr(false).String(), "--memberlist-peers", strings.Join(peers, ","), "--memberlist-secret-path", s.secret)
	return func(t testing.TB) { p.Kill() }
}
