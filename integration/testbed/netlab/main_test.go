package netlab

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// shared starts the cluster of this package's tests when the first of them needs it.
var shared = sync.OnceValues(func() (*localcluster.Cluster, error) {
	assets, err := localcluster.Assets(testbed.Folder("bin"))
	if err != nil {
		return nil, err
	}
	started, err = localcluster.Start(assets)
	return started, err
})

var started *localcluster.Cluster

func cluster(t *testing.T) *localcluster.Cluster {
	t.Helper()
	Skip(t)
	c, err := shared()
	require.NoError(t, err)
	return c
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := m.Run()
	if started != nil {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}
