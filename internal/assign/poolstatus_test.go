package assign

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/keep/keeptest"
)

// TestPoolStatus: pools tell of their counters, also when somebody has edited them; another pool of the same name does not tell those of
// the first.
func TestPoolStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := keeptest.New(t, cli.NewScheme(), &v1beta1.IPAddressPool{})
		pools := newPoolStatus(d, d.Cache(), "metallb-system", slog.New(slog.DiscardHandler))
		pools.Assigner = New(Rules{}, Notify{Pool: pools.Mark})
		ended := make(chan error)
		go func() { ended <- pools.Start(t.Context()) }()
		t.Cleanup(func() { require.NoError(t, <-ended) })
		inForce := func() {
			t.Helper()
			var list v1beta1.IPAddressPoolList
			require.NoError(t, d.List(t.Context(), &list))
			none := func(string) labels.Set { return nil }
			require.NoError(t, pools.Assigner.SetSnapshot(config.Build(config.Objects{Pools: list.Items}, nil), none))
			time.Sleep(2 * poolStatusPeriod)
			synctest.Wait()
		}
		pool := func(addresses ...string) *v1beta1.IPAddressPool {
			return &v1beta1.IPAddressPool{
				ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "lan"},
				Spec:       v1beta1.IPAddressPoolSpec{Addresses: addresses},
			}
		}
		read := func() (o v1beta1.IPAddressPool) {
			t.Helper()
			require.NoError(t, d.Get(t.Context(), client.ObjectKey{Namespace: "metallb-system", Name: "lan"}, &o))
			return o
		}
		require.NoError(t, d.Create(t.Context(), pool("192.0.2.0/28", "2001:db8::/126")))
		inForce()
		o := read()
		want := v1beta1.IPAddressPoolStatus{AvailableIPv4: 16, AvailableIPv6: 4}
		assert.Equal(t, want, o.Status)
		before := d.Writes("patch")
		for range 5 {
			inForce()
		}
		assert.Equal(t, before, d.Writes("patch"), "nothing has changed")

		o.Status.AssignedIPv4 = 7
		require.NoError(t, d.Status().Update(t.Context(), &o))
		time.Sleep(poolStatusPeriod)
		synctest.Wait()
		o = read()
		assert.Equal(t, want, o.Status, "put right")

		require.NoError(t, d.Delete(t.Context(), &o))
		require.NoError(t, d.Create(t.Context(), pool("192.0.2.0/30")))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, read().Status, "it is not in force yet")
		inForce()
		assert.Equal(t, v1beta1.IPAddressPoolStatus{AvailableIPv4: 4}, read().Status)
	})
}
