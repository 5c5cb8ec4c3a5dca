package controller

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

// TestMetrics reads the series that MetalLB's dashboards and alerts use, with their labels, and our own.
func TestMetrics(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.70.0.0/30", "2001:db8:70::/64")
	address := freeAddress(t)
	i.start("--metrics-bind-address=" + address)
	has(t, i.service("web"), "10.70.0.0")
	refused(t, i.service("lost", annotated("metallb.io/address-pool", "nowhere")), "False PoolNotFound")

	testbed.Eventually(t, "the series", func(ctx context.Context) error {
		_, body, err := get(ctx, "http://"+address+"/metrics")
		if err != nil {
			return err
		}
		for _, want := range []string{
			`metallb_allocator_addresses_in_use_total{pool="main"} 1`,
			`metallb_allocator_addresses_total{pool="main"} 9.223372036854776e+18`,
			`metallb_allocator_ipv4_addresses_in_use_total{pool="main"} 1`,
			`metallb_allocator_ipv4_addresses_total{pool="main"} 4`,
			`metallb_allocator_ipv6_addresses_in_use_total{pool="main"} 0`,
			`metallb_allocator_ipv6_addresses_total{pool="main"} 9.223372036854776e+18`,
			"metallb_k8s_client_config_loaded_bool 1", "metallb_k8s_client_config_stale_bool 0",
			"metallb_k8s_client_update_errors_total 0", "metallb_k8s_client_updates_total ",
			`fairlead_services_pending{reason="PoolNotFound"} 1`, `fairlead_status_writes_total{result="ok"} 2`,
			"fairlead_allocation_duration_seconds_count 1", "fairlead_address_conflicts_total 0", "fairlead_snapshot_generation ",
		} {
			if !strings.Contains(body, "\n"+want) {
				return fmt.Errorf("%s is missing", want)
			}
		}
		return nil
	})
}

// freeAddress returns an address on loopback at which nobody listens.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// TestProbes: a replica is alive and ready whether it leads or waits for the Lease.
func TestProbes(t *testing.T) {
	t.Parallel()
	i := install(t)
	for _, role := range []string{"leader", "standby"} {
		address := freeAddress(t)
		i.start("--health-probe-bind-address=" + address)
		for _, path := range []string{"/healthz", "/readyz"} {
			testbed.Eventually(t, path+" of the "+role, func(ctx context.Context) error {
				status, body, err := get(ctx, "http://"+address+path)
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("status %d: %s", status, body)
				}
				return err
			})
		}
	}
}
