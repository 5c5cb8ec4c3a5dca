package chart

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

// recorder stands before the API server and notes what is asked of it.
type recorder struct {
	url string
	ca  []byte

	mu   sync.Mutex // protects used
	used map[string]bool
}

func record(t testing.TB) *recorder {
	t.Helper()
	target, err := url.Parse(bed.Config.Host)
	require.NoError(t, err)
	if target.Host == "" {
		target = &url.URL{Scheme: "https", Host: bed.Config.Host}
	}
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(bed.Config.CAData))
	r := &recorder{used: map[string]bool{}}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target) },
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		FlushInterval: -1,
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if k := keyOf(q); k != "" {
			r.mu.Lock()
			r.used[k] = true
			r.mu.Unlock()
		}
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	r.url = server.URL
	r.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return r
}

// keyOf says what a request needs permission for: "group resource verb"; empty for discovery.
func keyOf(q *http.Request) string {
	path := strings.Split(strings.Trim(q.URL.Path, "/"), "/")
	group := ""
	switch {
	case path[0] == "api" && len(path) > 2:
		path = path[2:]
	case path[0] == "apis" && len(path) > 3:
		group, path = path[1], path[3:]
	default:
		return ""
	}
	if path[0] == "namespaces" && len(path) > 2 {
		path = path[2:]
	}
	resource := path[0]
	if len(path) > 2 {
		resource += "/" + path[2]
	}
	verb := map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}[q.Method]
	switch {
	case verb != "":
	case q.URL.Query().Get("watch") == "true":
		verb = "watch"
	case len(path) == 1:
		verb = "list"
	default:
		verb = "get"
	}
	return group + " " + resource + " " + verb
}

// saw reports whether something has been asked.
func (r *recorder) saw(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used[key]
}

// await waits until something is asked.
func (r *recorder) await(t testing.TB, key string) {
	t.Helper()
	testbed.Eventually(t, "somebody to ask: "+key, func(context.Context) error {
		if !r.saw(key) {
			return errors.New("nobody has")
		}
		return nil
	})
}
