package controller

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// TestLeaderIsLost: of three replicas, the leader is lost while 500 Services are created. All are served by a successor, no
// address changes and none has two holders, also when a frozen leader wakes up after its Lease has gone to another.
func TestLeaderIsLost(t *testing.T) {
	for _, tc := range []struct {
		name string
		lose func(*testing.T, *testbed.Process)
		wake bool
	}{
		{"killed", func(_ *testing.T, p *testbed.Process) { p.Kill() }, false},
		{"frozen", func(t *testing.T, p *testbed.Process) { require.NoError(t, p.Signal(syscall.SIGSTOP)) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			const services = 500
			i := install(t)
			i.pool("main", "10.80.0.0/22")
			leader := i.start()
			has(t, i.service("first"), "10.80.0.0") // so that this one leads
			for range 2 {
				i.start()
			}
			v := &invariants{held: map[types.UID]string{}, holders: map[string]types.UID{}, names: map[types.UID]string{}}
			ctx, stop := context.WithCancel(t.Context())
			watching, watchCtx := errgroup.WithContext(ctx)
			watching.Go(func() error { return v.follow(watchCtx, i.namespace) })

			creating, createCtx := errgroup.WithContext(ctx)
			halfway := make(chan struct{})
			for user := range 4 {
				creating.Go(func() error {
					for n := user; n < services; n += 4 {
						if err := bed.Client.Create(createCtx, i.define(fmt.Sprint("s", n))); err != nil {
							return err
						}
						if n == services/2 {
							close(halfway)
						}
					}
					return nil
				})
			}
			<-halfway
			tc.lose(t, leader)
			lost := time.Now()
			var lease coordinationv1.Lease
			require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Namespace: i.namespace, Name: "fairlead-controller"}, &lease))
			holder := *lease.Spec.HolderIdentity
			testbed.Eventually(t, "a successor", func(ctx context.Context) error {
				if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(&lease), &lease); err != nil {
					return err
				}
				if *lease.Spec.HolderIdentity == holder {
					return errors.New("there is none yet")
				}
				return nil
			})
			t.Logf("a successor after %s", time.Since(lost).Round(time.Millisecond))
			if tc.wake {
				require.NoError(t, leader.Signal(syscall.SIGCONT))
				<-leader.Done() // it has lost the Lease and must not go on
			}
			require.NoError(t, creating.Wait())
			testbed.Eventually(t, "every Service to be served", func(ctx context.Context) error {
				var list corev1.ServiceList
				if err := bed.Client.List(ctx, &list, client.InNamespace(i.namespace)); err != nil {
					return err
				}
				served := map[string]bool{}
				for k := range list.Items {
					if a := testbed.IPs(&list.Items[k]); a != "" {
						served[a] = true
					}
				}
				if len(served) != services+1 {
					return fmt.Errorf("%d of %d are", len(served), services+1)
				}
				return nil
			})
			stop()
			require.NoError(t, watching.Wait())
			assert.Empty(t, v.breaches[:min(len(v.breaches), 10)])
		})
	}
}
