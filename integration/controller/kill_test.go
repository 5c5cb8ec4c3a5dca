package controller

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// invariants watches every event of the Services of a namespace and notes what must never happen.
type invariants struct {
	mu       sync.Mutex           // protects all the following
	held     map[types.UID]string // address of each living Service
	holders  map[string]types.UID // and the reverse
	names    map[types.UID]string // for messages
	breaches []string
}

// follow notes breaches until ctx ends. The API server may end a watch at any time; it is taken up where it ended, so that no event
// goes unseen.
func (v *invariants) follow(ctx context.Context, namespace string) error {
	seen := ""
	for ctx.Err() == nil {
		w, err := bed.Client.Watch(ctx, &corev1.ServiceList{}, client.InNamespace(namespace),
			&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: seen}})
		if err != nil && ctx.Err() == nil {
			return err
		} else if err != nil {
			return nil
		}
		stop := context.AfterFunc(ctx, w.Stop)
		for e := range w.ResultChan() {
			s, ok := e.Object.(*corev1.Service)
			if !ok && ctx.Err() == nil {
				w.Stop()
				return fmt.Errorf("watch: %v", e.Object)
			}
			if ok {
				v.note(s, string(e.Type))
				seen = s.ResourceVersion
			}
		}
		stop()
	}
	return nil
}

func (v *invariants) note(s *corev1.Service, event string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	was, now := v.held[s.UID], testbed.IPs(s)
	v.names[s.UID] = s.Name
	if event == "DELETED" {
		delete(v.held, s.UID)
		if v.holders[was] == s.UID {
			delete(v.holders, was)
		}
		return
	}
	if was != "" && now != was {
		v.breaches = append(v.breaches, fmt.Sprintf("%s: %s became %q", s.Name, was, now))
	}
	if now == "" {
		return
	}
	if other, taken := v.holders[now]; taken && other != s.UID {
		v.breaches = append(v.breaches, fmt.Sprintf("%s is held by %s and %s", now, v.names[other], s.Name))
	}
	v.held[s.UID], v.holders[now] = now, s.UID
}

// seed returns the seed of a random test: from the environment, to repeat a run, else a new one. It is printed.
func seed(t *testing.T) uint64 {
	n := rand.Uint64()
	if s := os.Getenv("FAIRLEAD_TEST_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("FAIRLEAD_TEST_SEED=%d repeats this run", n)
	return n
}

// TestKilledController kills the controller at random moments, 20 times, while 200 Services are created and deleted and the pool
// is shorter than the demand: no address changes while its Service lives, none has two holders, none leaks.
func TestKilledController(t *testing.T) {
	t.Parallel()
	const services, room, kills = 200, 180, 20
	i := install(t)
	p := i.pool("main", fmt.Sprintf("10.40.0.0-10.40.0.%d", room-1))
	rng := rand.New(rand.NewPCG(seed(t), 0))
	v := &invariants{held: map[types.UID]string{}, holders: map[string]types.UID{}, names: map[types.UID]string{}}

	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.follow(ctx, i.namespace) })
	// Users: each of eight creates its share of the Services, and then deletes one and creates one until the kills are over.
	busy := make(chan struct{})
	for user := range 8 {
		choose := rand.New(rand.NewPCG(rng.Uint64(), 0))
		g.Go(func() error {
			for n := user; n < services; n += 8 {
				if err := bed.Client.Create(ctx, i.define(fmt.Sprint("s", n))); err != nil {
					return err
				}
			}
			for {
				select {
				case <-busy:
					return nil
				case <-time.After(time.Duration(choose.IntN(20)) * time.Millisecond):
				}
				s := i.define(fmt.Sprint("s", user+8*choose.IntN(services/8)))
				if err := bed.Client.Delete(ctx, s); err != nil && !apierrors.IsNotFound(err) {
					return err
				}
				if err := bed.Client.Create(ctx, s); err != nil {
					return err
				}
			}
		})
	}
	for range kills {
		running := i.start("--leader-elect=false")
		select {
		case <-running.Done():
			t.Fatalf("the controller ended by itself:\n%s", running.Log())
		case <-time.After(time.Duration(300+rng.IntN(1500)) * time.Millisecond):
		}
		running.Kill()
	}
	close(busy)
	i.start("--leader-elect=false")

	served := func(want int) func(context.Context) error {
		return func(ctx context.Context) error {
			var list corev1.ServiceList
			if err := bed.Client.List(ctx, &list, client.InNamespace(i.namespace)); err != nil {
				return err
			}
			got := map[string]bool{}
			for k := range list.Items {
				if a := testbed.IPs(&list.Items[k]); a != "" {
					got[a] = true
				}
			}
			if len(list.Items) != services || len(got) != want {
				return fmt.Errorf("%d Services hold %d distinct addresses, want %d and %d", len(list.Items), len(got), services, want)
			}
			return nil
		}
	}
	testbed.Eventually(t, "every address to be in use", served(room))
	// Nothing leaked: with room for all, all are served, and the pool counts what the Services hold.
	testbed.Edit(t, bed, p, func(p *v1beta1.IPAddressPool) {
		p.Spec.Addresses = []string{fmt.Sprintf("10.40.0.0-10.40.0.%d", services-1)}
	})
	testbed.Eventually(t, "every Service to be served", served(services))
	testbed.Eventually(t, "the counters of the pool", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if p.Status.AssignedIPv4 != services || p.Status.AvailableIPv4 != 0 {
			return fmt.Errorf("are %+v", p.Status)
		}
		return nil
	})
	stop()
	require.NoError(t, g.Wait())
	require.Empty(t, v.breaches)
}
