package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// serve starts a dashboard of a cluster with the objects of manifests, and lets a client in.
func serve(t *testing.T, manifests ...[]byte) *served {
	t.Helper()
	c := surveytest.Client(t, manifests...)
	l, err := dashboard.Listen(0)
	require.NoError(t, err)
	cluster := live.New(c, surveytest.Namespace, live.Options{})
	d, err := dashboard.New(dashboard.Options{
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
	}, l)
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
	require.Eventually(t, func() bool { return s.get("/?o=json").code == http.StatusOK }, 20*time.Second, 5*time.Millisecond, "the cluster to be read")
	return s
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

// TestLive: a page learns that there is news, and fetches only what is news for it.
func TestLive(t *testing.T) {
	s := serve(t, surveytest.Shop)
	resp, err := s.http.Get(s.base + "/events")
	require.NoError(t, err)
	defer resp.Body.Close()
	versions := make(chan string)
	go func() {
		defer close(versions)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				versions <- v
			}
		}
	}()
	first := <-versions
	page := s.get("/")
	_, rest, _ := strings.Cut(page.body, `data-digest="`)
	digest, _, _ := strings.Cut(rest, `"`)
	assert.Equal(t, http.StatusNoContent, s.get("/", "HX-Request", "true", "X-Seen", digest).code)
	require.NoError(t, s.client.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "fresh"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}))
	assert.NotEqual(t, first, <-versions)
	part := s.get("/", "HX-Request", "true", "X-Seen", digest)
	assert.Equal(t, http.StatusOK, part.code)
	assert.Contains(t, part.body, "shop/fresh")
	assert.NotContains(t, part.body, "<html")
}

// TestManyStreams: a hundred pages hear of each change, and the server has let go of them when they are gone.
func TestManyStreams(t *testing.T) {
	s := serve(t, surveytest.Shop)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := make(chan string, 1000)
	for range 100 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/events", nil)
		require.NoError(t, err)
		resp, err := s.http.Do(r)
		require.NoError(t, err)
		go func() {
			defer resp.Body.Close()
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					heard <- v
				}
			}
		}()
	}
	first := <-heard
	for range 99 {
		require.Equal(t, first, <-heard)
	}
	require.NoError(t, s.client.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "fresh"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}))
	for range 100 {
		assert.NotEqual(t, first, <-heard)
	}
	assert.Equal(t, http.StatusOK, s.get("/services/shop/fresh").code)
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
	require.Eventually(t, func() bool { return strings.Contains(s.get("/services/shop/lost").body, "&lt;script&gt;") }, 10*time.Second, 5*time.Millisecond)
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
