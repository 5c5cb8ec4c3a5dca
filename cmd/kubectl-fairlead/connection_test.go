package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadOnly: nothing that writes leaves this process.
func TestReadOnly(t *testing.T) {
	var reached []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.Method+" "+r.URL.String())
		w.Header().Set("Date", "Fri, 02 Jan 2026 03:04:05 GMT")
	}))
	defer server.Close()
	var now clock
	client := &http.Client{Transport: readOnly{http.DefaultTransport, &now}}
	for _, tc := range []struct {
		method, path string
		allowed      bool
	}{
		{http.MethodGet, "/api/v1/services", true}, {http.MethodHead, "/", true},
		{http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", true},
		{http.MethodPost, "/api/v1/namespaces/a/services?dryRun=All", true}, {http.MethodPatch, "/api/v1/namespaces/a/services/b?dryRun=All&force=true", true},
		{http.MethodPost, "/api/v1/namespaces/a/services", false}, {http.MethodPatch, "/api/v1/namespaces/a/services/b?dryRun=", false},
		{http.MethodPut, "/api/v1/namespaces/a/services/b?dryRun=Some", false}, {http.MethodDelete, "/api/v1/namespaces/a/services/b", false},
		{http.MethodPost, "/api/v1/namespaces/apis/authorization.k8s.io/x", false},
	} {
		reached = nil
		req, err := http.NewRequestWithContext(t.Context(), tc.method, server.URL+tc.path, nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		if tc.allowed {
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Len(t, reached, 1, tc.path)
			continue
		}
		require.ErrorContains(t, err, "this command only reads", "%s %s", tc.method, tc.path)
		assert.Empty(t, reached)
	}
	assert.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), now.now(), "the time is the server's")
}
