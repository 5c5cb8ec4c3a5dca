package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

const (
	namespace = "bench"
	// pool is what the controller gives out; what the bare loop writes lies in it, too.
	pool = "10.64.0.0/10"
	// served and unserved are the loadBalancerClasses of the controller's Services and of the bare loop's.
	served   = "example.org/bench"
	unserved = "example.org/bare"
	// workers is how many requests the bare loops have under way, as many as the controller.
	workers = 32
)

// world is an API server with one pool and nothing else.
type world struct {
	*report
	bed    *testbed.Bed
	client client.WithWatch
	shape  string // the controller's patch of one Service, to be written with other addresses
	sample string // the address in it
}

// inWorld runs measure in a new world.
func inWorld(ctx context.Context, r *report, measure func(*world) error) (err error) {
	progress("starting an API server")
	bed, err := testbed.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	w := &world{report: r, bed: bed, client: bed.Client}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&v1beta1.IPAddressPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{pool}},
		},
	}
	for _, o := range objects {
		if err := w.client.Create(ctx, o); err != nil {
			return err
		}
	}
	if err := w.learn(ctx); err != nil {
		return err
	}
	return measure(w)
}

// learn lets the controller serve one Service and keeps what it wrote.
func (w *world) learn(ctx context.Context) error {
	c, err := w.start(ctx)
	if err != nil {
		return err
	}
	if err := c.stop(); err != nil {
		return err
	}
	var s corev1.Service
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: readyName}, &s); err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": s.Labels, "annotations": s.Annotations},
		"status":   map[string]any{"loadBalancer": s.Status.LoadBalancer, "conditions": s.Status.Conditions},
	})
	if err != nil {
		return err
	}
	w.shape, w.sample = string(patch), address(&s)
	return w.client.Delete(ctx, &s)
}

func service(class, name string) *corev1.Service {
	no := false
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class,
			AllocateLoadBalancerNodePorts: &no, // there are only 2,768 of them
			Ports:                         []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
}

// address returns the address of a Service, empty if it has none.
func address(s *corev1.Service) string {
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return ""
	}
	return s.Status.LoadBalancer.Ingress[0].IP
}

func name(prefix string, i int) string { return fmt.Sprint(prefix, "-", i) }

// loop calls do for 0 to n-1, parallel at a time, and returns how long that took. It says how far it is every ten seconds.
func loop(ctx context.Context, what string, n, parallel int, do func(context.Context, int) error) (time.Duration, error) {
	start := time.Now()
	var next atomic.Int64
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		for {
			select {
			case <-finished:
				return
			case <-ticker.C:
				progress("  %s: %d of %d", what, min(int(next.Load()), n), n)
			}
		}
	}()
	g, ctx := errgroup.WithContext(ctx)
	for range parallel {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return time.Since(start), err
}

// create creates the Services prefix-0 to prefix-(n-1).
func (w *world) create(ctx context.Context, class, prefix string, n, parallel int) (time.Duration, error) {
	return loop(ctx, "create", n, parallel, func(ctx context.Context, i int) error {
		return w.client.Create(ctx, service(class, name(prefix, i)))
	})
}

// remove deletes the Services prefix-0 to prefix-(n-1). The API server creates the slower the more Services there are: what is
// compared begins with equally many.
func (w *world) remove(ctx context.Context, prefix string, n int) error {
	_, err := loop(ctx, "delete", n, workers, func(ctx context.Context, i int) error {
		return w.client.Delete(ctx, service(served, name(prefix, i)))
	})
	return err
}

// assign writes to the Services prefix-0 to prefix-(n-1) what the controller would.
func (w *world) assign(ctx context.Context, prefix string, n int) (time.Duration, error) {
	return loop(ctx, "patch", n, workers, func(ctx context.Context, i int) error { return w.patch(ctx, name(prefix, i), i) })
}

// patch gives a Service the i-th address of the upper half of the pool.
func (w *world) patch(ctx context.Context, name string, i int) error {
	return w.write(ctx, name, strings.ReplaceAll(w.shape, w.sample, nth(i).String()))
}

// nth returns the i-th address of the upper half of the pool.
func nth(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 96 + byte(i>>16), byte(i >> 8), byte(i)})
}

// clear takes from the Services prefix-0 to prefix-(n-1) what assign wrote.
func (w *world) clear(ctx context.Context, prefix string, n int) error {
	_, err := loop(ctx, "clear", n, workers, func(ctx context.Context, i int) error {
		return w.write(ctx, name(prefix, i), `{"metadata":{"labels":null,"annotations":null},"status":{"loadBalancer":null,"conditions":null}}`)
	})
	return err
}

func (w *world) write(ctx context.Context, name, patch string) error {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	return w.client.Status().Patch(ctx, s, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// state returns all Services that the controller serves, by name, and fails if two hold one address.
func (w *world) state(ctx context.Context) (map[string]*corev1.Service, error) {
	var list corev1.ServiceList
	if err := w.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	out, holder := map[string]*corev1.Service{}, map[string]string{}
	for i := range list.Items {
		s := &list.Items[i]
		if *s.Spec.LoadBalancerClass != served {
			continue
		}
		out[s.Name] = s
		addr := address(s)
		if other, taken := holder[addr]; addr != "" && taken {
			return nil, fmt.Errorf("%s is held by %s and %s", addr, other, s.Name)
		}
		holder[addr] = s.Name
	}
	return out, nil
}
