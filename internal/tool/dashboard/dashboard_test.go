package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/internal/tool/dashboard"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/document/documenttest"
	"github.com/fairlead/fairlead/internal/tool/live"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// served is a dashboard of a cluster.
type served struct {
	t      *testing.T
	base   string
	link   string
	client client.WithWatch
	http   *http.Client // that of a browser which has been let in
}

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// serve starts a dashboard of a cluster with the objects of manifests, and lets a client in.
func serve(t *testing.T, manifests ...[]byte) *served {
	t.Helper()
	return serveWith(t, surveytest.Client(t, manifests...), func(*dashboard.Options) {})
}

// serveWith starts a dashboard of a cluster, with other options than the usual ones, and lets a client in. When it returns, changes are heard.
func serveWith(t *testing.T, c client.WithWatch, change func(*dashboard.Options)) *served {
	t.Helper()
	l, err := dashboard.Listen(0)
	require.NoError(t, err)
	followed, following := followed(t, c)
	cluster := live.New(followed, surveytest.Namespace, live.Options{})
	o := dashboard.Options{
		Cluster: cluster, Namespace: surveytest.Namespace, Client: c, Now: func() time.Time { return surveytest.At },
		Plan: func(ctx context.Context, yaml io.Reader) (*plan.Rehearsal, error) {
			m, err := plan.Read("what was pasted", yaml)
			if err != nil {
				return nil, err
			}
			s, err := survey.ReadAt(ctx, c, surveytest.Namespace, surveytest.At)
			if err != nil {
				return nil, err
			}
			return plan.Rehearse(ctx, &plan.Change{Client: c, Namespace: surveytest.Namespace}, s, m, rehearse.Options{})
		},
	}
	change(&o)
	d, err := dashboard.New(o, l)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	watched := make(chan struct{})
	go func() { defer close(watched); cluster.Run(ctx) }()
	go func() { done <- d.Run(ctx, l) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done); <-watched })
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	s := &served{t: t, base: "http://" + l.Addr().String(), link: d.Link(), client: c, http: &http.Client{Jar: jar}}
	resp, err := s.http.Get(s.link)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "/", resp.Request.URL.Path, "the token is not in the address any more")
	s.await("the cluster to be read", func() bool { return s.get("/?o=json").code == http.StatusOK })
	s.await("all kinds to be watched", following)
	return s
}

// followed returns a client, and what reports whether all kinds are watched that it has listed: what the fake client hears between a list and
// a watch is lost.
func followed(t *testing.T, c client.WithWatch) (out client.WithWatch, all func() bool) {
	var mu sync.Mutex
	unwatched := map[schema.GroupVersionKind]bool{}
	note := func(list client.ObjectList, is bool) {
		gvk, err := apiutil.GVKForObject(list, c.Scheme())
		assert.NoError(t, err)
		if gvk.Group == clusterapi.Group {
			return // it is read, not watched
		}
		mu.Lock()
		defer mu.Unlock()
		if unwatched[gvk] = is; !is {
			delete(unwatched, gvk)
		}
	}
	out = interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
			err := c.List(ctx, list, o...)
			if err == nil {
				note(list, true)
			}
			return err
		},
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) (watch.Interface, error) {
			w, err := c.Watch(ctx, list, o...)
			if err == nil {
				note(list, false)
			}
			return w, err
		},
	})
	return out, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(unwatched) == 0
	}
}

// await asks until something holds.
func (s *served) await(what string, holds func() bool) {
	s.t.Helper()
	for over := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		require.True(s.t, time.Now().Before(over), "waited in vain for %s", what)
	}
}

// answer is what the server has answered.
type answer struct {
	code   int
	body   string
	header http.Header
}

func (s *served) do(c *http.Client, r *http.Request) answer {
	s.t.Helper()
	resp, err := c.Do(r)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return answer{resp.StatusCode, string(b), resp.Header}
}

func (s *served) get(path string, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.base+path, nil)
	require.NoError(s.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(s.http, r)
}

// TestPages: every page tells what the command tells, as HTML and as JSON, and nothing in it is code.
func TestPages(t *testing.T) {
	s := serve(t, surveytest.Shop)
	for _, tc := range []struct {
		path string
		want []string
	}{
		{"/", []string{"PoolNotFound", "shop/lost", "NoEndpoints", "shop/mail", "manual"}},
		{"/pools/main", []string{"held by a Service", "shop/web", "192.0.2.3 reserved", "AddressInUse"}},
		{"/pools/main?within=192.0.2.0/31", []string{"192.0.2.1 held"}},
		{"/pools/manual", []string{"198.51.100.0 avoided"}},
		{"/services/shop/web", []string{"192.0.2.0", "BGPAdvertisement selects it"}},
		{"/services/shop/lost", []string{"First thing to fix: PoolNotFound", "pool &#34;nowhere&#34;", "kubectl fairlead pools"}},
		{"/addresses/192.0.2.0", []string{"shop/web", "announces it", "BGPAdvertisement routed"}[:1]},
		{"/network", []string{"tor", "n1", "n2", "BFD"}},
		{"/configuration", []string{"served by", "speaker"}},
		{"/plan", []string{"Paste or drop YAML"}},
		{"/search?q=sho", []string{"shop/web", "shop/mail"}},
	} {
		t.Run(tc.path, func(t *testing.T) {
			got := s.get(tc.path)
			require.Equal(t, http.StatusOK, got.code, got.body)
			for _, want := range tc.want {
				assert.Contains(t, got.body, want)
			}
			assert.Equal(t, "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'", got.header.Get("Content-Security-Policy"))
			assert.NotContains(t, got.body, "style=")
			assert.NotContains(t, got.body, "<style")
			assert.NotContains(t, got.body, "ZgotmplZ")
			sep := "?"
			if strings.Contains(tc.path, "?") {
				sep = "&"
			}
			data := s.get(tc.path + sep + "o=json")
			assert.Equal(t, http.StatusOK, data.code)
			documenttest.Validate(t, "../../..", []byte(data.body))
		})
	}
	for path, code := range map[string]int{"/pools/nowhere": 404, "/services/shop/nobody": 404, "/addresses/x": 404, "/pools/main?within=x": 404, "/pools/main?within=10.0.0.0/8": 404, "/nowhere": 404} {
		assert.Equal(t, code, s.get(path).code, path)
		if path != "/nowhere" {
			sep := map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]
			kind, _ := documenttest.Validate(t, "../../..", []byte(s.get(path+sep+"o=json").body))
			assert.Equal(t, document.Problem, kind, path)
		}
	}
}

// TestSame: a page as JSON says what the command says.
func TestSame(t *testing.T) {
	s := serve(t, surveytest.Shop)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.get("/services/shop/lost?o=json").body), &got))
	assert.Equal(t, "PoolNotFound", got["fix"].(map[string]any)["reason"])
	assert.Equal(t, "pools", got["fix"].(map[string]any)["step"])
}

// TestStill: pages that hold what somebody has typed do not ask for themselves; the others do.
func TestStill(t *testing.T) {
	s := serve(t, surveytest.Shop)
	for path, still := range map[string]bool{"/": false, "/network": false, "/services/shop/web": false, "/plan": true, "/search?q=sho": true} {
		assert.Equal(t, still, strings.Contains(s.get(path).body, " data-still"), path)
	}
}

// TestSlow: while the API server does not answer for one Service, all other pages do, and it is waited for no longer than is said.
func TestSlow(t *testing.T) {
	c := surveytest.Client(t, surveytest.Shop)
	asked, fails := make(chan struct{}), make(chan struct{})
	tenant := interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
			if _, services := list.(*corev1.ServiceList); services {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "", errors.New("no"))
			}
			return c.List(ctx, list, o...)
		},
	})
	slow := interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, o ...client.GetOption) error {
			_, limited := ctx.Deadline()
			assert.True(t, limited, "the request may take for ever")
			if key.Name == "web" {
				select {
				case asked <- struct{}{}:
					<-fails
					return context.DeadlineExceeded
				case <-fails:
				}
			}
			return c.Get(ctx, key, into, o...)
		},
	})
	s := serveWith(t, tenant, func(o *dashboard.Options) { o.Client, o.Patience = slow, time.Minute })
	got := make(chan int, 1)
	go func() {
		resp, err := s.http.Get(s.base + "/services/shop/web")
		if assert.NoError(t, err) {
			resp.Body.Close()
			got <- resp.StatusCode
		}
	}()
	<-asked
	for _, path := range []string{"/", "/network", "/services/shop/mail"} {
		assert.Equal(t, http.StatusOK, s.get(path).code, path)
	}
	close(fails)
	assert.Equal(t, http.StatusServiceUnavailable, <-got)
	assert.Equal(t, http.StatusOK, s.get("/services/shop/web").code, "what was not answered once is asked again")
}

// TestNotTold: while the API server does not tell what allocators are asked, the pages show what was known, and since when.
func TestNotTold(t *testing.T) {
	var hangs atomic.Bool
	pool := []byte(`apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: provided, namespace: metallb-system, annotations: {fairlead.io/allocator: cluster-api, fairlead.io/allocator-pool: Pool.example.org/x}}
spec: {addresses: [203.0.113.0/24]}
`)
	c := interceptor.NewClient(surveytest.Client(t, surveytest.Shop, pool), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
			if !strings.HasPrefix(list.GetObjectKind().GroupVersionKind().Kind, "IPAddress") {
				return c.List(ctx, list, o...)
			}
			if hangs.Load() {
				<-ctx.Done()
			}
			return ctx.Err()
		},
	})
	s := serveWith(t, c, func(o *dashboard.Options) { o.Patience = time.Second })
	says := func(text string) bool {
		got := s.get("/")
		return got.code == http.StatusOK && strings.Contains(got.body, text)
	}
	require.False(t, says("does not answer"))
	hangs.Store(true)
	s.createFresh()
	s.await("that it is not told", func() bool { return says("does not answer") })
	assert.True(t, says("provided"), "what was known is not shown")
	assert.Equal(t, http.StatusOK, s.get("/services/shop/web").code)
	hangs.Store(false)
	s.await("what has changed", func() bool { return says("shop/fresh") && !says("does not answer") })
}

// TestSearch: what is named exactly is shown at once.
func TestSearch(t *testing.T) {
	s := serve(t, surveytest.Shop)
	for q, path := range map[string]string{
		"192.0.2.1": "/addresses/192.0.2.1", "::ffff:192.0.2.1": "/addresses/192.0.2.1", "shop/web": "/services/shop/web", "web": "/services/shop/web",
		"main": "/pools/main", "n1": "/network", "tor": "/network", " mail ": "/services/shop/mail",
	} {
		resp, err := s.http.Get(s.base + "/search?q=" + url.QueryEscape(q))
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, path, resp.Request.URL.Path, q)
	}
	assert.Contains(t, s.get("/search?q=%3Cscript%3E").body, "&lt;script&gt;")
}

// TestEntry: the token lets in once; who has nothing to show learns what to do.
func TestEntry(t *testing.T) {
	s := serve(t, surveytest.Shop)
	stranger := &http.Client{}
	request := func(path string) *http.Request {
		r, err := http.NewRequest(http.MethodGet, path, nil)
		require.NoError(t, err)
		return r
	}
	used := s.do(stranger, request(s.link))
	assert.Equal(t, http.StatusUnauthorized, used.code)
	assert.Contains(t, used.body, "a token can be used once")
	assert.Empty(t, used.header.Get("Set-Cookie"))
	for _, path := range []string{"/", "/pools/main", "/?o=json", "/events", "/plan", "/search?q=web"} {
		got := s.do(stranger, request(s.base+path))
		assert.Equal(t, http.StatusUnauthorized, got.code, path)
		assert.NotContains(t, got.body, "shop", path)
	}
	assert.Equal(t, http.StatusOK, s.get("/enter?token=x").code, "who is in stays in")
}

// TestOrigins: neither a name that leads here nor a page of another origin reads anything.
func TestOrigins(t *testing.T) {
	s := serve(t, surveytest.Shop)
	host := strings.TrimPrefix(s.base, "http://")
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		code   int
	}{
		{"as it is", func(*http.Request) {}, 200},
		{"DNS rebinding", func(r *http.Request) { r.Host = "evil.example:80" }, 421},
		{"another port", func(r *http.Request) { r.Host = "127.0.0.1:1" }, 421},
		{"another origin", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403},
		{"no origin at all", func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		{"its own origin", func(r *http.Request) { r.Header.Set("Origin", "http://"+host) }, 200},
		{"fetched from elsewhere", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "no-cors")
		}, 403},
		{"another port of this machine", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "same-site")
			r.Header.Set("Sec-Fetch-Mode", "cors")
		}, 403},
		{"in a frame", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "iframe")
		}, 403},
		{"a link of a colleague", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
		}, 200},
		{"a form of another page", func(r *http.Request) {
			r.Method = "POST"
			r.URL.Path = "/plan"
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
		}, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodGet, s.base+"/", nil)
			require.NoError(t, err)
			tc.change(r)
			c := &http.Client{Jar: s.http.Jar}
			got := s.do(c, r)
			assert.Equal(t, tc.code, got.code)
			if tc.code != 200 {
				assert.NotContains(t, got.body, "shop")
			}
			assert.Empty(t, got.header.Get("Access-Control-Allow-Origin"))
		})
	}
}

// stream listens for news until ctx ends, and hands on each version that is told.
func (s *served) stream(ctx context.Context) <-chan int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/events", nil)
	require.NoError(s.t, err)
	resp, err := s.http.Do(r)
	require.NoError(s.t, err)
	versions := make(chan int)
	go func() {
		defer resp.Body.Close()
		defer close(versions)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				v, err := strconv.Atoi(text)
				assert.NoError(s.t, err)
				select {
				case <-ctx.Done():
					return
				case versions <- v:
				}
			}
		}
	}()
	return versions
}

// next returns the next version that a stream tells.
func (s *served) next(versions <-chan int) int {
	s.t.Helper()
	select {
	case v, ok := <-versions:
		require.True(s.t, ok, "the stream has ended")
		return v
	case <-time.After(patience):
		require.Fail(s.t, "there is no news")
		return 0
	}
}

// attribute returns the value of an attribute of the part of a page that changes.
func (a answer) attribute(name string) string {
	_, rest, _ := strings.Cut(a.body, " data-"+name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// createFresh creates the Service shop/fresh.
func (s *served) createFresh() {
	s.t.Helper()
	require.NoError(s.t, s.client.Create(s.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "fresh"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}))
}

// TestLive: a page learns that there is news, and fetches only what is news for it.
func TestLive(t *testing.T) {
	s := serve(t, surveytest.Shop)
	versions := s.stream(t.Context())
	s.next(versions)
	digest := s.get("/").attribute("digest")
	assert.Equal(t, http.StatusNoContent, s.get("/", "HX-Request", "true", "X-Seen", digest).code)
	s.createFresh()
	part := answer{code: http.StatusNoContent}
	for part.code == http.StatusNoContent { // what was on its way before is news, and shows nothing new
		s.next(versions)
		part = s.get("/", "HX-Request", "true", "X-Seen", digest)
	}
	assert.Equal(t, http.StatusOK, part.code)
	assert.Contains(t, part.body, "shop/fresh")
	assert.NotContains(t, part.body, "<html")
}

// TestManyStreams: a hundred pages hear of each change, and the server has let go of them when they are gone.
func TestManyStreams(t *testing.T) {
	s := serve(t, surveytest.Shop)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	streams, heard := make([]<-chan int, 100), make([]int, 100)
	for i := range streams {
		streams[i] = s.stream(ctx)
		heard[i] = s.next(streams[i])
	}
	s.createFresh()
	s.await("a new Service", func() bool { return s.get("/services/shop/fresh").code == http.StatusOK })
	shown, err := strconv.Atoi(s.get("/services/shop/fresh").attribute("version"))
	require.NoError(t, err)
	for i := range streams {
		for heard[i] < shown {
			v := s.next(streams[i])
			require.Greater(t, v, heard[i], "a version is told once")
			heard[i] = v
		}
	}
	require.Equal(t, 100, running("events"))
	cancel()
	s.await("all streams to end", func() bool { return running("events") == 0 })
}

// running returns how many goroutines are in a method of a Server.
func running(method string) int {
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
	return strings.Count(stacks.String(), "dashboard.(*Server)."+method+"(")
}

// TestHostile: what tenants write stays text.
func TestHostile(t *testing.T) {
	s := serve(t, surveytest.Shop)
	var web corev1.Service
	require.NoError(t, s.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "lost"}, &web))
	nasty := "<script>alert(1)</script>\x1b[31m\u202eevil\u2066" + strings.Repeat("x", 10<<10)
	web.Annotations["metallb.io/loadBalancerIPs"] = nasty
	web.Status.Conditions[0].Message = nasty
	require.NoError(t, s.client.Update(t.Context(), &web))
	s.await("the text", func() bool { return strings.Contains(s.get("/services/shop/lost").body, "&lt;script&gt;") })
	for _, path := range []string{"/", "/services/shop/lost", "/pools/main"} {
		body := s.get(path).body
		assert.NotContains(t, body, "<script>alert", path)
		assert.NotContains(t, body, "\x1b", path)
		assert.NotContains(t, body, "\u202e", path)
		assert.Less(t, len(body), 100<<10, path)
	}
}

// TestPlan: what would change is shown before and after; nothing is written.
func TestPlan(t *testing.T) {
	s := serve(t, surveytest.Shop)
	post := func(yaml string) answer {
		r, err := http.NewRequest(http.MethodPost, s.base+"/plan", strings.NewReader(url.Values{"yaml": {yaml}}.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", s.base)
		return s.do(s.http, r)
	}
	got := post("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: main, namespace: metallb-system}\nspec: {addresses: [192.0.2.4/30, \"2001:db8::/126\"]}\n")
	require.Equal(t, http.StatusOK, got.code, got.body)
	assert.Contains(t, got.body, "Disruptive")
	assert.Contains(t, got.body, "renumbered")
	assert.Contains(t, got.body, "192.0.2.4")
	assert.Contains(t, got.body, "changed")
	for _, bad := range []string{"", "kind: [", "{}", "a: b"} {
		got := post(bad)
		assert.Equal(t, http.StatusUnprocessableEntity, got.code, bad)
		assert.NotContains(t, got.body, "Nothing would change")
	}
}

// TestEmpty: a cluster without pools is told what to do first; one without our kinds, that nothing is installed.
func TestEmpty(t *testing.T) {
	s := serve(t, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: metallb-system}\n"))
	assert.Contains(t, s.get("/").body, "What to do first")
	for _, path := range []string{"/network", "/configuration", "/search?q=x"} {
		assert.Equal(t, http.StatusOK, s.get(path).code, path)
	}
}

// TestPortInUse: it is said which port, and what helps.
func TestPortInUse(t *testing.T) {
	l, err := dashboard.Listen(0)
	require.NoError(t, err)
	defer l.Close()
	_, err = dashboard.Listen(l.Addr().(*net.TCPAddr).Port)
	require.ErrorIs(t, err, dashboard.ErrPortInUse)
	assert.ErrorContains(t, err, "choose another one by --port")
	assert.True(t, l.Addr().(*net.TCPAddr).IP.IsLoopback())
}
