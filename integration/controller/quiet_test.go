package controller

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

var writeLine = regexp.MustCompile(`^rest_client_requests_total\{.*method="(POST|PUT|PATCH|DELETE)".*\} ([0-9.e+]+)$`)

// writesOf returns how many requests that write a controller has sent.
func writesOf(t *testing.T, address string) float64 {
	_, body, err := get(t.Context(), "http://"+address+"/metrics")
	require.NoError(t, err)
	require.Contains(t, body, "\nrest_client_requests_total{")
	sum := 0.
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if m := writeLine.FindStringSubmatch(lines.Text()); m != nil {
			n, err := strconv.ParseFloat(m[2], 64)
			require.NoError(t, err)
			sum += n
		}
	}
	return sum
}

// TestNoWriteWithoutAChange sends what ten minutes of a cluster of five nodes bring, faster: each node's heartbeat every ten
// seconds, endpoints that come and go, users who touch what does not concern us. The controller counts its own write requests.
// FAIRLEAD_TEST_PACE=10s takes the ten minutes.
func TestNoWriteWithoutAChange(t *testing.T) {
	t.Parallel()
	const (
		nodes = 5
		beats = 10 * 60 / 10
	)
	i := install(t)
	i.pool("main", "10.72.0.0/28", "2001:db8:72::/124")
	address := freeAddress(t)
	i.start("--leader-elect=false", "--metrics-bind-address="+address)
	var services []*corev1.Service
	for n := range 8 {
		services = append(services, i.service(fmt.Sprintf("s%d", n), func(s *corev1.Service) {
			if n%2 == 0 {
				s.Annotations["fairlead.io/hold-address"] = "1h"
			}
		}))
		has(t, services[n], fmt.Sprintf("10.72.0.%d", n))
	}
	refused(t, i.service("lost", annotated("metallb.io/address-pool", "nowhere")), "False PoolNotFound")

	var leases []*coordinationv1.Lease
	var machines []*corev1.Node
	for n := range nodes {
		name := fmt.Sprintf("%s-node%d", i.namespace, n)
		machines = append(machines, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		leases = append(leases, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name}})
		require.NoError(t, bed.Client.Create(t.Context(), machines[n]))
		require.NoError(t, bed.Client.Create(t.Context(), leases[n]))
	}
	t.Cleanup(func() {
		for _, m := range machines {
			assert.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), m))
		}
	})
	var slices []*discoveryv1.EndpointSlice
	for _, s := range services {
		slices = append(slices, &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
			AddressType: discoveryv1.AddressTypeIPv4,
		})
		require.NoError(t, bed.Client.Create(t.Context(), slices[len(slices)-1]))
	}
	var pace time.Duration
	if p := os.Getenv("FAIRLEAD_TEST_PACE"); p != "" {
		var err error
		pace, err = time.ParseDuration(p)
		require.NoError(t, err)
	}
	settled := quiet(t, i, address, "before")

	for beat := range beats {
		time.Sleep(pace)
		now := metav1.NowMicro()
		for n := range nodes {
			leases[n].Spec.RenewTime = &now
			require.NoError(t, bed.Client.Update(t.Context(), leases[n]))
			machines[n].Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(now.Time)}}
			machines[n].Status.Images = []corev1.ContainerImage{{Names: []string{fmt.Sprintf("image:%d", beat)}}}
			require.NoError(t, bed.Client.Status().Update(t.Context(), machines[n]))
		}
		slice := slices[beat%len(slices)]
		ready := beat%2 == 0
		slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}}
		require.NoError(t, bed.Client.Update(t.Context(), slice))
		s := services[beat%len(services)]
		testbed.Edit(t, bed, s, func(s *corev1.Service) { s.Annotations["example.com/beat"] = strconv.Itoa(beat) })
	}
	assert.Equal(t, settled, quiet(t, i, address, "after"), "requests that write, of the controller")
}

// quiet returns how many write requests the controller has sent once it has nothing left to do: it has seen everything that was
// written before it serves a new Service, whose own writes are taken off.
func quiet(t *testing.T, i *installation, address, name string) float64 {
	t.Helper()
	marker := i.service(name)
	has(t, marker, "10.72.0.8")
	hasEvents(t, marker, "Normal IPAllocated")
	poolCounts(t, i, "main", 9)
	require.NoError(t, bed.Client.Delete(t.Context(), marker))
	poolCounts(t, i, "main", 8)
	// What the API server shows already may not be counted yet: the controller counts a request when it has read the answer.
	n := -1.
	testbed.Eventually(t, "the last write to be counted", func(context.Context) error {
		was := n
		if n = writesOf(t, address); n != was {
			return fmt.Errorf("%v, and %v a moment ago", n, was)
		}
		return nil
	})
	require.Greater(t, n, 0.)
	if name == "after" {
		// One status, one event, the pool's counters up and down.
		n -= 4
	}
	return n
}

// poolCounts waits until the status of a pool says that so many addresses are assigned.
func poolCounts(t *testing.T, i *installation, name string, assigned int64) {
	t.Helper()
	testbed.Eventually(t, "counters of pool "+name, func(ctx context.Context) error {
		var p v1beta1.IPAddressPool
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: name}, &p); err != nil {
			return err
		}
		if p.Status.AssignedIPv4 != assigned {
			return fmt.Errorf("assignedIPv4 is %d, want %d", p.Status.AssignedIPv4, assigned)
		}
		return nil
	})
}
