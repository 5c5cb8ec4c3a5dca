package calico

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// answer does with CalicoNodeStatus objects what calico-node does, for all nodes, unless c is mute.
func (c *CNI) answer(t testing.TB, l *cni.Lab) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	folder := func(name string) string {
		if n := c.node(name); n != nil && !c.mute.Load() {
			return n.path()
		}
		return ""
	}
	done, err := localcluster.AnswerCalico(ctx, l.Client, testbed.Folder("bin", "bird1"), folder, func(err error) { t.Log(err) })
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
