package tool

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// BenchmarkDashboard measures the dashboard in a browser, on 500 nodes and, unless a flag says otherwise, 10,000 Services in pools of
// 655,360 addresses: first paint, an update, and the memory of the process, also while a hundred Services a second change.
func BenchmarkDashboard(b *testing.B) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		b.Skip("there is no chromium")
	}
	build(b)
	d := testbed.StartDashboard(b, plugin, "--kubeconfig", filepath.Join(files(b), "kubeconfig"))
	ended, peak := make(chan struct{}), make(chan float64)
	go func() { peak <- watch(d.PID(), ended) }()
	base, _, _ := strings.Cut(d.Link, "/enter")
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.UserDataDir(b.TempDir()), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 900))
	alloc, end := chromedp.NewExecAllocator(context.Background(), o...)
	defer end()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	require.NoError(b, chromedp.Run(ctx))
	s := &sight{b: b, ctx: ctx}
	s.to(d.Link)
	s.until(fmt.Sprintf("document.body.innerText.includes('of %d have an address')", pools**perPool))
	var paints, updates, busy []time.Duration
	one := &corev1.Service{ObjectMeta: in(namespaceOfServices, serviceName(linkPool, 1))}
	for b.Loop() {
		s.to(base + "/pools/" + poolName(routedPool))
		s.until(`performance.getEntriesByName("first-contentful-paint").length`)
		var paint float64
		require.NoError(b, chromedp.Run(ctx, chromedp.Evaluate(`performance.getEntriesByName("first-contentful-paint")[0].startTime`, &paint)))
		paints = append(paints, time.Duration(paint*float64(time.Millisecond)))
		s.to(base + "/services/" + namespaceOfServices + "/" + one.Name)
		updates = append(updates, s.update(one))
	}
	stop := s.storm()
	for range 5 {
		busy = append(busy, s.update(one))
	}
	stop()
	close(ended)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(millis(paints), "first-paint-ms")
	b.ReportMetric(millis(updates), "update-ms")
	b.ReportMetric(millis(busy), "update-busy-ms")
	b.ReportMetric(<-peak, "rss-MiB")
}

// sight is what a browser sees.
type sight struct {
	b    *testing.B
	ctx  context.Context // of the browser, as chromedp wants it
	asks int             // how often a Service has asked for another address
}

func (s *sight) to(address string) {
	s.b.Helper()
	require.NoError(s.b, chromedp.Run(s.ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		_, _, _, _, err := page.Navigate(address).Do(ctx)
		return err
	})))
	s.until(`document.readyState === "complete" && document.getElementById("live")`)
}

func (s *sight) until(expression string) {
	s.b.Helper()
	for over := time.Now().Add(testbed.Patience); time.Now().Before(over); time.Sleep(5 * time.Millisecond) {
		var is bool
		if chromedp.Run(s.ctx, chromedp.Evaluate("!!("+expression+")", &is)) == nil && is {
			return
		}
	}
	require.Fail(s.b, "waited in vain", expression)
}

// update changes what a Service asks for, and returns how long after the write the browser shows it.
func (s *sight) update(svc *corev1.Service) time.Duration {
	s.b.Helper()
	s.asks++
	text := fmt.Sprintf("127.65.250.%d", s.asks%250+1)
	s.ask(svc, text)
	begun := time.Now()
	s.until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
	return time.Since(begun)
}

// ask has a Service ask for an address, which no controller gives.
func (s *sight) ask(svc *corev1.Service, address string) {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"metallb.io/loadBalancerIPs":%q}}}`, address)
	require.NoError(s.b, bed.Client.Patch(context.WithoutCancel(s.b.Context()), svc.DeepCopy(), client.RawPatch("application/merge-patch+json", patch)))
}

// storm changes a hundred Services a second until it is stopped.
func (s *sight) storm() (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-tick.C:
				s.ask(&corev1.Service{ObjectMeta: in(namespaceOfServices, serviceName(linkPool+1, i%*perPool))}, fmt.Sprintf("127.66.251.%d", i%250+1))
			}
		}
	}()
	return func() { close(end); <-done }
}
