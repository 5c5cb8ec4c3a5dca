package dashboard

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
)

// TestDashboard: everything that a browser is to see of 20 pools and 1,000 Services.
func TestDashboard(t *testing.T) {
	w := build(t)
	w.configure()
	w.fill(*services)
	w.create(w.define("lost", "nowhere"))
	chrome := browser(t)
	r := start(t, w.namespace, admin(t))
	x := r.open(t, chrome)
	t.Run("Pages", func(t *testing.T) { w.as(t).pages(x.as(t)) })
	t.Run("Live", func(t *testing.T) { w.as(t).live(x.as(t)) })
	t.Run("Plan", func(t *testing.T) { w.as(t).plan(x.as(t)) })
	t.Run("Keyboard", func(t *testing.T) { w.as(t).keyboard(x.as(t)) })
	t.Run("Hostile", func(t *testing.T) { w.as(t).hostile(x.as(t)) })
	t.Run("OtherOrigin", func(t *testing.T) { w.as(t).otherOrigin(x.as(t)) })
	t.Run("ManyTabs", func(t *testing.T) { w.as(t).manyTabs(x.as(t)) })
	t.Run("Gone", func(t *testing.T) { w.as(t).gone(x.as(t)) })
}

// as is the tab for another test.
func (x *tab) as(t *testing.T) *tab { return &tab{x.Context, t, x.running, x.heard} }

// pages reads every page, at every size and in both colours.
func (w *world) pages(x *tab) {
	all := []struct{ name, path, says string }{
		{"overview", "/", "PoolNotFound"},
		{"pool", "/pools/pool-01", "held by a Service"},
		{"pool-large", "/pools/pool-02", "11.0.0.0/8"},
		{"service", "/services/" + w.namespace + "/web-0001", "The path"},
		{"service-broken", "/services/" + w.namespace + "/lost", "PoolNotFound"},
		{"address", "/addresses/10.20.0.1", "Held by"},
		{"network", "/network", "tor-left"},
		{"configuration", "/configuration", "What the backends cannot do"},
		{"plan", "/plan", "Paste or drop YAML"},
		{"search", "/search?q=web-00", "Service"},
	}
	for _, p := range all {
		x.to(p.path)
		x.reads(p.says)
		for _, size := range []struct {
			width, height int64
			scheme        string
		}{{1280, 900, "light"}, {360, 740, "dark"}, {2560, 1300, "dark"}, {360, 740, "light"}} {
			x.run(chromedp.EmulateViewport(size.width, size.height), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: size.scheme}}))
			assert.LessOrEqual(x.t, eval[int](x, "document.documentElement.scrollWidth - innerWidth"), 0, "%s is wider than %d", p.name, size.width)
			x.picture(fmt.Sprintf("%s-%d-%s", p.name, size.width, size.scheme))
		}
	}
	x.run(chromedp.EmulateViewport(1280, 900), emulation.SetEmulatedMedia())
	for _, p := range all {
		var parsed any
		sep := "?"
		if strings.Contains(p.path, "?") {
			sep = "&"
		}
		text := eval[string](x, fmt.Sprintf("fetch(%q).then(r => r.text())", p.path+sep+"o=json"))
		require.NoError(x.t, json.Unmarshal([]byte(text), &parsed), "%s as JSON", p.name)
	}
	x.clean()
}

// live changes the cluster, and has a page show it that is never loaded again.
func (w *world) live(x *tab) {
	ctx := x.t.Context()
	within := func(what string, took time.Duration) {
		x.t.Logf("%s is seen after %s", what, took.Round(time.Millisecond))
		assert.Less(x.t, took, soon, what)
	}
	x.to("/")
	x.reads("live")
	x.run(chromedp.Evaluate("window.here = true", nil))
	w.create(w.define("fresh", "not-there"))
	within("a new Service", x.reads(w.namespace+"/fresh"))

	var s v1alpha1.BGPSession
	require.NoError(x.t, bed.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: w.nodeName(2) + "-tor-left"}, &s))
	s.Status.State, s.Status.BFD, s.Status.LastError = "Idle", "Down", "hold timer expired"
	require.NoError(x.t, bed.Client.Status().Update(ctx, &s))
	within("a lost session", x.reads("hold timer expired"))

	w.create(&v1beta1.IPAddressPool{ObjectMeta: w.meta("faulty"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.20.0.0/30"}}})
	within("a faulty pool", x.reads("set aside"))
	assert.True(x.t, eval[bool](x, "window.here === true"), "the page has been loaded again")
	x.picture("overview-changed")

	x.to("/network")
	x.run(chromedp.Evaluate("window.here = true", nil))
	require.NoError(x.t, bed.Client.DeleteAllOf(ctx, &v1beta1.ServiceL2Status{}, client.InNamespace(w.namespace), client.MatchingLabels{"metallb.io/service-name": "web-0000"}))
	require.NoError(x.t, w.announce(ctx, "web-0000", w.nodeName(4)))
	within("a takeover", x.until(`document.querySelector("#takeovers")?.innerText.includes("web-0000")`, "a takeover"))
	assert.True(x.t, eval[bool](x, "window.here === true"), "the page has been loaded again")
	x.picture("network-takeover")

	x.to("/configuration")
	x.reads("10.20.0.0-10.20.0.3 overlaps")
	x.picture("configuration-faulty")
	require.NoError(x.t, bed.Client.Delete(ctx, &v1beta1.IPAddressPool{ObjectMeta: w.meta("faulty")}))
	within("that the pool is gone", x.until(`!document.querySelector("#live").innerText.includes("overlaps")`, "no fault"))
	x.clean()
}

// plan asks what a change would do.
func (w *world) plan(x *tab) {
	x.to("/plan")
	yaml := "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: pool-04, namespace: " + w.namespace + "}\nspec: {addresses: [10.23.0.16-10.23.0.80]}\n"
	x.run(chromedp.SetValue("#yaml", yaml, chromedp.ByQuery), chromedp.Click("form.plan button", chromedp.ByQuery))
	x.reads("Disruptive")
	x.reads("renumbered")
	assert.Positive(x.t, eval[int](x, `document.querySelectorAll(".cell.changed").length`))
	x.picture("plan-disruptive")
	var p v1beta1.IPAddressPool
	require.NoError(x.t, bed.Client.Get(x.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "pool-04"}, &p))
	assert.Equal(x.t, []string{"10.23.0.0/24"}, p.Spec.Addresses, "something was written")
	x.run(chromedp.SetValue("#yaml", "kind: [", chromedp.ByQuery), chromedp.Click("form.plan button", chromedp.ByQuery))
	x.until(`document.querySelector("#planned .notice.bad")`, "that it cannot be read")
	x.clean()
}

// keyboard walks without a mouse.
func (w *world) keyboard(x *tab) {
	x.to("/pools/pool-01")
	const top = "document.activeElement.getBoundingClientRect().top + scrollY"
	x.run(chromedp.Focus("ol.map a", chromedp.ByQuery))
	require.Equal(x.t, "a-10.20.0.0", eval[string](x, "document.activeElement.id"))
	row := eval[float64](x, top)
	x.run(chromedp.KeyEvent(kb.ArrowRight))
	assert.Equal(x.t, "a-10.20.0.1", eval[string](x, "document.activeElement.id"))
	assert.InDelta(x.t, row, eval[float64](x, top), 1, "it is in the same row")
	x.run(chromedp.KeyEvent(kb.ArrowDown))
	assert.Greater(x.t, eval[float64](x, top), row+1, "it is in the next row")
	assert.Contains(x.t, eval[string](x, "document.activeElement.id"), "a-10.20.0.")
	x.until(`document.querySelector("#cell").innerText.startsWith(document.activeElement.id.slice(2))`, "what the address is")
	x.run(chromedp.KeyEvent("/"))
	assert.Equal(x.t, "q", eval[string](x, "document.activeElement.id"))
	x.run(chromedp.SendKeys("#q", "web-0042", chromedp.ByQuery))
	x.until(`document.querySelectorAll("#offers a").length === 1 && document.querySelector("#offers a").innerText.includes("web-0042")`, "the only offer")
	x.run(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	x.reads("Service " + w.namespace + "/web-0042")
	x.clean()
}

// hostile has tenants write what is no name.
func (w *world) hostile(x *tab) {
	nasty := `<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>` + "\x1b[31m\u202egnp.exe\u2066" + strings.Repeat("y", 10<<10)
	w.create(w.define("nasty", "", func(s *corev1.Service) {
		s.Annotations["metallb.io/loadBalancerIPs"] = nasty
		s.Annotations["metallb.io/allow-shared-ip"] = nasty[:200]
	}))
	for _, p := range []struct{ path, says string }{
		{"/", w.namespace + "/nasty"}, {"/services/" + w.namespace + "/nasty", "<script>"}, {"/search?q=%3Cscript%3Ewindow.hurt%3D1%3C%2Fscript%3E", "<script>"},
	} {
		path := p.path
		x.to(path)
		x.reads(p.says)
		assert.False(x.t, eval[bool](x, `"hurt" in window`), path)
		assert.Zero(x.t, eval[int](x, `document.querySelectorAll("#live img, #live script").length`), path)
		assert.False(x.t, eval[bool](x, `/[\u202e\u2066\u001b]/.test(document.body.innerText)`), path)
		assert.LessOrEqual(x.t, eval[int](x, "document.documentElement.scrollWidth - innerWidth"), 0, path)
	}
	x.to("/services/" + w.namespace + "/nasty")
	x.picture("service-hostile")
	x.clean()
}

// otherOrigin has a page of another origin, in the browser that has been let in, try everything.
func (w *world) otherOrigin(x *tab) {
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<!doctype html><title>evil</title><p>evil</p>")
	}))
	defer evil.Close()
	y := x.tab(x.t, x.Context)
	y.goTo(evil.URL)
	for _, how := range []string{
		`fetch("%s/?o=json", {credentials: "include"}).then(r => r.text())`,
		`fetch("%s/?o=json", {credentials: "include", mode: "no-cors"}).then(r => r.text().then(t => t || Promise.reject("opaque")))`,
		`fetch("%s/plan", {method: "POST", credentials: "include", body: "yaml=a"}).then(r => r.text())`,
		`new Promise((ok, no) => { const s = new EventSource("%s/events", {withCredentials: true}); s.onmessage = () => ok("heard"); s.onerror = () => no("refused"); })`,
		`new Promise((ok, no) => { const f = document.createElement("iframe"); f.src = "%s/"; f.onload = () => { try { ok(f.contentDocument.body.innerText) } catch { no("refused") } }; document.body.append(f); })`,
		`new Promise((ok, no) => { const s = document.createElement("script"); s.src = "%s/?o=json"; s.onload = () => ok("loaded"); s.onerror = () => no("refused"); document.body.append(s); })`,
	} {
		got := eval[string](y, "("+fmt.Sprintf(how, x.base)+`).then(t => "read: " + t, () => "refused")`)
		if text, read := strings.CutPrefix(got, "read: "); read {
			assert.NotContains(x.t, text, w.namespace, how)
			assert.Empty(x.t, text, how)
		}
	}
	// By another name, the same server tells nothing.
	y.goTo(strings.Replace(x.base, "127.0.0.1", "localhost", 1) + "/")
	y.reads("Not let in")
}

// manyTabs opens more tabs than a browser has connections to one server.
func (w *world) manyTabs(x *tab) {
	x.to("/")
	var tabs []*tab
	for range 10 {
		y := x.tab(x.t, x.Context)
		y.to("/")
		tabs = append(tabs, y)
	}
	w.create(w.define("late", "not-there-either"))
	for _, y := range append(tabs, x) {
		y.front()
		y.reads(w.namespace + "/late")
		y.clean()
	}
}

// gone stops the API server, and starts it again.
func (w *world) gone(x *tab) {
	x.to("/")
	require.NoError(x.t, bed.StopAPIServer(syscall.SIGKILL))
	stopped := true
	x.t.Cleanup(func() {
		if stopped {
			assert.NoError(x.t, bed.StartAPIServer())
		}
	})
	took := x.reads("The API server does not answer")
	x.t.Logf("that the API server is gone is seen after %s", took.Round(time.Millisecond))
	x.picture("api-server-gone")
	assert.True(x.t, eval[bool](x, `document.body.innerText.includes("pool-01")`), "what was known is still shown")
	x.to("/pools/pool-03")
	y := x.tab(x.t, x.Context)
	y.to("/plan")
	y.reads("The API server does not answer")
	const typed = "kind: IPAddressPool # as far as I am"
	y.run(chromedp.SetValue("#yaml", typed, chromedp.ByQuery))
	x.front()
	require.NoError(x.t, bed.StartAPIServer())
	stopped = false
	took = x.readsNot("The API server does not answer")
	x.t.Logf("that it is back is seen after %s", took.Round(time.Millisecond))
	w.create(w.define("after", "", func(s *corev1.Service) { s.Annotations["metallb.io/loadBalancerIPs"] = "10.22.0.11" }))
	x.until(`document.querySelector("[id='a-10.22.0.11']")?.classList.contains("held")`, "the address of a new Service")
	y.front()
	after := eval[string](y, `fetch("/plan").then(() => new Promise(ok => setTimeout(ok, 300))).then(() => document.querySelector("#yaml").value)`)
	assert.Equal(x.t, typed, after, "what was typed is gone")
}

// TestEntry: a link works once, and one Ctrl-C is enough; the page says when the command has ended.
func TestEntry(t *testing.T) {
	w := build(t)
	r := start(t, w.namespace, admin(t))
	chrome := browser(t)
	x := r.open(t, chrome)
	x.reads("What to do first")
	x.picture("overview-empty")
	x.clean()
	stranger := browser(t)
	y := r.tab(t, stranger)
	y.goTo(r.Link)
	y.reads("a token can be used once")
	y.picture("token-used")
	y.goTo(r.base + "/network")
	y.reads("Not let in")
	require.NoError(t, r.Interrupt())
	require.NoError(t, r.Wait(), "one Ctrl-C is enough")
	x.reads("kubectl fairlead dashboard does not answer")
}

// TestRevoked: what may not be seen is said, also when the permission goes while somebody looks.
func TestRevoked(t *testing.T) {
	w := build(t)
	w.create(&v1beta1.IPAddressPool{ObjectMeta: w.meta("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.90.0.0/28"}}})
	w.create(w.define("web", ""))
	config, revoke := w.account("viewer")
	r := start(t, w.namespace, config, "--watch-for", "2s")
	x := r.open(t, browser(t))
	x.reads("you may not list nodes")
	x.until(`document.querySelector(".big")?.innerText.startsWith("1 of 1")`, "the Service")
	x.to("/pools/main")
	x.until(`document.querySelector("[id='a-10.90.0.0']")?.classList.contains("held")`, "who holds the address")
	revoke()
	took := x.until(`document.body.innerText.includes("you may not watch services") || document.body.innerText.includes("you may not list services")`, "that Services may not be read")
	t.Logf("a permission that is gone is noticed after %s, with watches of 2 to 4 s", took.Round(time.Millisecond))
	x.until(`document.querySelector("[id='a-10.90.0.0']")?.classList.contains("unknown")`, "that it is not known who holds the address")
	x.picture("revoked")
	assert.False(t, eval[bool](x, fmt.Sprintf("document.body.innerHTML.includes(%q)", w.namespace+"/web")))
	x.clean()
}
