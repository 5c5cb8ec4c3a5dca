// Package dashboard tests the dashboard of the binary kubectl-fairlead in a real browser, on a real API server with the real controller.
package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

var (
	bed    *testbed.Bed
	plugin string // path of the binary
)

func TestMain(m *testing.M) {
	if browserPath() == "" {
		fmt.Println("skipped: there is no chromium; install Debian's package chromium")
		os.Exit(0)
	}
	os.Exit(testbed.MainWith(m, &bed, func(b *testbed.Bed) (err error) {
		plugin, err = b.Build("kubectl-fairlead")
		return err
	}))
}

func browserPath() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// soon is within which time a change is to be seen. It is seen within a tenth of a second on a machine that is not busy otherwise, and the
// test says after how long; the limit tells a page that hears of changes from one that does not.
const soon = testbed.Patience / 2

// running is a dashboard that runs.
type running struct {
	*testbed.Dashboard
	base string
}

// start starts the dashboard of an installation with a kubeconfig, and ends it, as Ctrl-C does, when the test ends.
func start(t *testing.T, namespace, kubeconfig string, args ...string) *running {
	t.Helper()
	d := testbed.StartDashboard(t, plugin, append([]string{"--kubeconfig", kubeconfig, "--system-namespace", namespace}, args...)...)
	base, _, _ := strings.Cut(d.Link, "/enter?")
	return &running{d, base}
}

// admin writes the admin's kubeconfig.
func admin(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, bed.Kubeconfig, 0o600))
	return path
}

// browser starts a browser of its own, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browserPath()), chromedp.UserDataDir(profile(t)), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true), chromedp.WindowSize(1280, 900),
		chromedp.WSURLReadTimeout(testbed.Patience))
	alloc, end := chromedp.NewExecAllocator(context.Background(), o...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Run(ctx))
	return ctx
}

// profile returns a folder for a browser. Some of its processes end, and write, a moment after it.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fairlead-browser-")
	require.NoError(t, err)
	t.Cleanup(func() {
		testbed.Eventually(t, "the browser's folder to be removed", func(context.Context) error { return os.RemoveAll(dir) })
	})
	return dir
}

// tab is a page of a browser, and what it complains of.
type tab struct {
	context.Context
	t *testing.T
	*running
	heard *heard
}

// heard is what the browser has told of a tab.
type heard struct {
	mu         sync.Mutex // protects the following
	complaints []string
	asked      []string // addresses that the page has asked
}

// open opens a tab, let in, and reads the overview.
func (r *running) open(t *testing.T, in context.Context) *tab {
	t.Helper()
	x := r.tab(t, in)
	x.goTo(r.Link)
	x.until("location.pathname === '/'", "the overview")
	x.sees("#live[data-version]")
	return x
}

func (r *running) tab(t *testing.T, in context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(in)
	t.Cleanup(cancel)
	h := &heard{}
	x := &tab{ctx, t, r, h}
	chromedp.ListenTarget(ctx, func(ev any) {
		h.mu.Lock()
		defer h.mu.Unlock()
		switch e := ev.(type) {
		case *cdplog.EventEntryAdded:
			h.complaints = append(h.complaints, e.Entry.Text+" "+e.Entry.URL)
		case *runtime.EventExceptionThrown:
			h.complaints = append(h.complaints, e.ExceptionDetails.Error())
		case *network.EventRequestWillBeSent:
			h.asked = append(h.asked, e.Request.URL)
		}
	})
	require.NoError(t, chromedp.Run(ctx)) // the tab lasts as long as this context
	return x
}

func (x *tab) run(actions ...chromedp.Action) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x, testbed.Patience)
	defer cancel()
	require.NoError(x.t, chromedp.Run(ctx, actions...))
}

// eval evaluates an expression in the page.
func eval[T any](x *tab, expression string) (out T) {
	x.t.Helper()
	x.run(chromedp.Evaluate(expression, &out, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return out
}

// sees waits for an element.
func (x *tab) sees(selector string) {
	x.t.Helper()
	x.run(chromedp.WaitReady(selector, chromedp.ByQuery))
}

// reads waits until the page says something, and returns how long that took.
func (x *tab) reads(text string) time.Duration {
	return x.until(fmt.Sprintf("document.body.innerText.includes(%q)", text), text)
}

// readsNot waits until the page does not say something any more.
func (x *tab) readsNot(text string) time.Duration {
	return x.until(fmt.Sprintf("!document.body.innerText.includes(%q)", text), "no "+text)
}

// until waits until an expression is true, and returns how long that took. While a page gives way to another one, it is not.
func (x *tab) until(expression, what string) time.Duration {
	x.t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(x, testbed.Patience)
	defer cancel()
	for {
		var is bool
		err := chromedp.Run(ctx, chromedp.Evaluate("!!("+expression+")", &is))
		switch {
		case is:
			return time.Since(begin)
		case ctx.Err() != nil:
			require.NoError(x.t, cmp.Or(err, ctx.Err()), "waiting for %q; the page says:\n%s", what, eval[string](x, "document.body.innerText"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// goTo goes to an address, and waits until the page is complete.
func (x *tab) goTo(address string) {
	x.t.Helper()
	x.front()
	x.run(chromedp.ActionFunc(func(ctx context.Context) error {
		_, _, failed, _, err := page.Navigate(address).Do(ctx)
		if err == nil && failed != "" {
			err = errors.New(failed)
		}
		return err
	}))
	x.until(`document.readyState === "complete"`, "a complete page")
}

// to goes to a page of the dashboard.
func (x *tab) to(path string) {
	x.t.Helper()
	x.goTo(x.base + path)
	x.sees("#live")
}

// picture writes what the page looks like into the folder of artifacts (go test -artifacts keeps it).
func (x *tab) picture(name string) {
	x.t.Helper()
	var png []byte
	x.run(chromedp.FullScreenshot(&png, 100))
	require.NoError(x.t, os.WriteFile(filepath.Join(x.t.ArtifactDir(), name+".png"), png, 0o644))
}

// clean says that the page has complained of nothing, and asked nobody else.
func (x *tab) clean() {
	x.t.Helper()
	x.heard.mu.Lock()
	defer x.heard.mu.Unlock()
	assert.Empty(x.t, x.heard.complaints)
	for _, url := range x.heard.asked {
		assert.True(x.t, strings.HasPrefix(url, x.base+"/"), "the page has asked %s", url)
	}
}

// front shows the tab: a page that nobody sees does not ask for itself.
func (x *tab) front() {
	x.t.Helper()
	x.run(chromedp.ActionFunc(func(ctx context.Context) error { return page.BringToFront().Do(ctx) }))
}
