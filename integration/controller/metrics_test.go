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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	i.start("--metrics-bind-address=" + address)
	has(t, i.service("web"), "10.70.0.0")
	refused(t, i.service("lost", annotated("metallb.io/address-pool", "nowhere")), "False PoolNotFound")

	testbed.Eventually(t, "the series", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
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
			if !strings.Contains(string(body), "\n"+want) {
				return fmt.Errorf("%s is missing", want)
			}
		}
		return nil
	})
}
