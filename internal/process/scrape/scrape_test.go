package scrape

import (
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// reviews answers like an API server that knows the tokens "reader" and "other", of whom only the first may get /metrics.
func reviews(t *testing.T, asked *atomic.Int32, broken *atomic.Bool) *rest.Config {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if broken.Load() {
			http.Error(w, "broken", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "tokenreviews") {
			var o authenticationv1.TokenReview
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&o))
			o.Status.Authenticated = o.Spec.Token == "reader" || o.Spec.Token == "other"
			o.Status.User = authenticationv1.UserInfo{Username: o.Spec.Token, Groups: []string{"scrapers"}}
			assert.NoError(t, json.NewEncoder(w).Encode(&o))
			return
		}
		var o authorizationv1.SubjectAccessReview
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&o))
		assert.Equal(t, []string{"scrapers"}, o.Spec.Groups)
		a := o.Spec.NonResourceAttributes
		o.Status.Allowed = o.Spec.User == "reader" && *a == authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"}
		assert.NoError(t, json.NewEncoder(w).Encode(&o))
	}))
	t.Cleanup(s.Close)
	return &rest.Config{Host: s.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

// TestFilter: only who may get /metrics does, and the API server is not asked again for each request.
func TestFilter(t *testing.T) {
	var asked atomic.Int32
	var broken atomic.Bool
	filter, err := newFilter(reviews(t, &asked, &broken), http.DefaultClient, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	handler, err := filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("series")) }))
	require.NoError(t, err)
	for _, c := range []struct {
		name, method, header string
		status               int
		asks                 int32
	}{
		{"no token", "GET", "", 401, 0},
		{"another scheme", "GET", "Basic cmVhZGVyOg==", 401, 0},
		{"an empty token", "GET", "Bearer ", 401, 0},
		{"a token of nobody", "GET", "Bearer nobody", 401, 1},
		{"a token of nobody, again", "GET", "Bearer nobody", 401, 0},
		{"who may not", "GET", "Bearer other", 403, 2},
		{"who may not, again", "GET", "Bearer other", 403, 0},
		{"who may", "GET", "Bearer reader", 200, 2},
		{"who may, again", "GET", "bearer reader", 200, 0},
		{"who may read, but not write", "POST", "Bearer reader", 403, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked.Store(0)
			r := httptest.NewRequest(c.method, "/metrics", nil)
			r.Header.Set("Authorization", c.header)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			assert.Equal(t, c.status, w.Code)
			assert.Equal(t, c.status == 200, w.Body.String() == "series")
			assert.Equal(t, c.asks, asked.Load())
		})
	}
	t.Run("an API server that does not answer", func(t *testing.T) {
		broken.Store(true)
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Header.Set("Authorization", "Bearer late")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		broken.Store(false)
		w = httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		assert.Equal(t, http.StatusUnauthorized, w.Code, "an error is not kept")
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"--metrics-secure --metrics-cert-dir=/tls --metrics-tls-min-version=VersionTLS12", ""},
		{"--metrics-tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 --metrics-tls-curve-preferences=29,4588", ""},
		{"--metrics-tls-curve-preferences=70000", "--metrics-tls-curve-preferences: 70000 is not a number of a key exchange"},
		{"--metrics-cert-dir=/tls", "--metrics-cert-dir has no effect without --metrics-secure"},
		{"--metrics-secure --metrics-tls-min-version=TLS13", `--metrics-tls-min-version: "TLS13" is neither VersionTLS12 nor VersionTLS13`},
	} {
		var o Options
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.AddFlags(f)
		require.NoError(t, f.Parse(strings.Fields(c.args)))
		if err := o.Validate(); c.want == "" {
			assert.NoError(t, err, c.args)
		} else {
			assert.EqualError(t, err, c.want, c.args)
		}
	}
}

// TestTLS: what the flags say is what the server takes.
func TestTLS(t *testing.T) {
	assert.Empty(t, new(Options).Server(nil).TLSOpts)
	assert.Equal(t, "0", new(Options).Server(nil).BindAddress, "the default of controller-runtime is a port")
	for _, c := range []struct {
		args string
		want *tls.Config
	}{
		{"--metrics-secure", &tls.Config{MinVersion: tls.VersionTLS13}},
		{"--metrics-secure --metrics-tls-min-version=VersionTLS12 --metrics-tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 --metrics-tls-curve-preferences=29,4588", &tls.Config{
			MinVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, CurvePreferences: []tls.CurveID{tls.X25519, tls.X25519MLKEM768},
		}},
	} {
		var o Options
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.AddFlags(f)
		require.NoError(t, f.Parse(strings.Fields(c.args)))
		require.NoError(t, o.Validate())
		var got tls.Config
		for _, apply := range o.Server(nil).TLSOpts {
			apply(&got)
		}
		assert.Equal(t, c.want.MinVersion, got.MinVersion)
		assert.Equal(t, c.want.CipherSuites, got.CipherSuites)
		assert.Equal(t, c.want.CurvePreferences, got.CurvePreferences)
	}
	weak := Options{MinTLSVersion: tls13, CipherSuites: []string{"TLS_RSA_WITH_RC4_128_SHA"}}
	assert.ErrorContains(t, weak.Validate(), `--metrics-tls-cipher-suites: "TLS_RSA_WITH_RC4_128_SHA" is none of TLS_AES_128_GCM_SHA256, `)
}
