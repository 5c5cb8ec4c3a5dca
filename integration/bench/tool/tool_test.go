// Package tool measures kubectl fairlead on a large cluster: its binary, as a user runs it, against a real API server.
package tool

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

var perPool = flag.Int("tool.services", 1000, "how many Services each of the ten pools has")

var (
	bed    *testbed.Bed
	plugin string // path of the binary
)

func TestMain(m *testing.M) {
	os.Exit(testbed.MainWith(m, &bed, func(b *testbed.Bed) (err error) {
		plugin, err = b.Build("kubectl-fairlead")
		return err
	}))
}

// verb is a command line, and what it is to print.
type verb struct {
	name string
	args []string
	want []string
}

// verbs returns all command lines that read. One plan moves all Services of a pool, the other none of them.
func verbs(dir string) []verb {
	all, one := pools**perPool, *perPool/2
	service, address := namespaceOfServices+"/"+serviceName(routedPool, one), serviceAddress(routedPool, one).String()
	near, first := namespaceOfServices+"/"+serviceName(linkPool, one), namespaceOfServices+"/"+serviceName(routedPool, 0)
	sum, use := fmt.Sprintf("Services: %d, %d with an address, 0 waiting", all, all), fmt.Sprintf("65536     %d ", *perPool)
	moves := fmt.Sprintf("%s renumbered: %s -> 127.128.0.0", first, serviceAddress(routedPool, 0))
	return []verb{
		{"status", []string{"status"}, []string{sum, "Everything is ready."}},
		{"explain-service", []string{"explain", "service", service}, []string{address + "  from pool", "Nothing to fix"}},
		{"explain-address", []string{"explain", "address", address}, []string{"Address " + address + " held", service}},
		{"check-service", []string{"check", "service", near}, []string{near, "connect     ok"}},
		{"check-address", []string{"check", "address", address}, []string{service, "connect     ok"}},
		{"check-all", []string{"check", "--all", "-o", "json"}, []string{`"address": "` + address + `"`}},
		{"pools", []string{"pools"}, []string{poolName(pools - 1), use}},
		{"pools-one", []string{"pools", poolName(routedPool)}, []string{use, first}},
		{"peers", []string{"peers"}, []string{"BGPPeer " + peers[0], fmt.Sprintf("%d in all", nodes)}},
		{"backends", []string{"backends"}, []string{"BGPAdvertisements are served by  speaker"}},
		{"doctor", []string{"doctor"}, []string{"0 errors"}},
		{"plan-nothing-moves", []string{"plan", "-f", filepath.Join(dir, "grown.yaml")}, []string{"none would change"}},
		{"plan-a-pool-moves", []string{"plan", "--exit-code=never", "-f", filepath.Join(dir, "moved.yaml")}, []string{moves}},
		{"convert", []string{"convert", "-f", filepath.Join(dir, "metallb.yaml")}, []string{"kind: IPAddressPool"}},
		{"migrate-from-servicelb", []string{"migrate", "from-servicelb", "--dry-run"}, nil},
		{"migrate-from-kube-vip", []string{"migrate", "from-kube-vip", "--dry-run"}, nil},
		{"version", []string{"version"}, []string{"v1.2.3"}},
		{"completion", []string{"__complete", "explain", "service", namespaceOfServices + "/"}, []string{service}},
	}
}

// BenchmarkVerb measures each command on 500 nodes and, unless a flag says otherwise, 10,000 Services. No time is too long for it.
func BenchmarkVerb(b *testing.B) {
	build(b)
	dir := files(b)
	b.Setenv("HOME", dir)
	for _, v := range verbs(dir) {
		b.Run(v.name, func(b *testing.B) { v.measure(b, dir) })
	}
}

// measure runs a command once to see what it asks the API server, and whether it answers right, and then as often as is wanted.
func (v verb) measure(b *testing.B, dir string) {
	p := startProxy(b, dir)
	before, err := bed.Requests(b.Context())
	require.NoError(b, err)
	first := run(b, p.kubeconfig, v.args...)
	after, err := bed.Requests(b.Context())
	require.NoError(b, err)
	for _, want := range v.want {
		require.True(b, strings.Contains(first.stdout, want), "%s does not print %q:\n%.4000s", v.name, want, first.stdout)
	}
	asked := 0.0
	for r, n := range after {
		if r.Verb == "GET" || r.Verb == "LIST" {
			asked += n - before[r]
		}
	}
	var walls, cpus []time.Duration
	var rss float64
	for b.Loop() {
		r := run(b, filepath.Join(dir, "kubeconfig"), v.args...)
		walls, cpus, rss = append(walls, r.wall), append(cpus, r.cpu), max(rss, r.rss)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(millis(walls), "wall-ms")
	b.ReportMetric(millis(cpus), "cpu-ms")
	b.ReportMetric(rss, "rss-MiB")
	b.ReportMetric(asked, "reads")
	b.ReportMetric(float64(p.bytes.Load())/1e6, "MB")
}

// millis returns the median.
func millis(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}

// answer accepts connections to every address of this machine, among them those of the Services, and returns the port. Of each port, the
// kernel has no more than 4,096 wait.
func answer(b *testing.B) int {
	l, err := net.Listen("tcp4", ":0")
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// files writes what the commands are given, and a kubeconfig, into a folder.
func files(b *testing.B) string {
	dir := b.TempDir()
	pool := "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n" +
		fmt.Sprintf("metadata: {name: %s, namespace: %s}\n", poolName(routedPool), namespace)
	for name, text := range map[string]string{
		"kubeconfig":   string(bed.Kubeconfig),
		"grown.yaml":   pool + "spec: {addresses: [" + poolPrefix(routedPool).String() + ", 127.128.0.0/16]}\n",
		"moved.yaml":   pool + "spec: {addresses: [127.128.0.0/16]}\n",
		"metallb.yaml": "address-pools:\n- {name: a, protocol: layer2, addresses: [192.0.2.0/28]}\n",
	} {
		require.NoError(b, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}
