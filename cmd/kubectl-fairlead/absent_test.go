package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/tool/survey"
)

// bare is an API server that has Services, Deployments and Leases, none of them, and none of our kinds.
func bare(w http.ResponseWriter, req *http.Request) {
	resources := func(group string, names ...string) any {
		list := metav1.APIResourceList{GroupVersion: group}
		for _, n := range names {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: n + "s", Kind: strings.ToUpper(n[:1]) + n[1:], Namespaced: true, Verbs: metav1.Verbs{"list", "get"}})
		}
		return list
	}
	group := func(name string) metav1.APIGroup {
		v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/v1", Version: "v1"}
		return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
	}
	var answer any
	switch path := req.URL.Path; {
	case path == "/api":
		answer = metav1.APIVersions{Versions: []string{"v1"}}
	case path == "/apis":
		answer = metav1.APIGroupList{Groups: []metav1.APIGroup{group("apps"), group("coordination.k8s.io")}}
	case path == "/api/v1":
		answer = resources("v1", "service", "namespace", "node", "pod", "secret", "configMap")
	case path == "/apis/apps/v1":
		answer = resources("apps/v1", "deployment", "daemonSet")
	case path == "/apis/coordination.k8s.io/v1":
		answer = resources("coordination.k8s.io/v1", "lease")
	case strings.HasSuffix(path, "s") && (strings.HasPrefix(path, "/api/v1/") || strings.HasPrefix(path, "/apis/apps/v1/") || strings.HasPrefix(path, "/apis/coordination.k8s.io/v1/")):
		answer = map[string]any{"kind": "List", "apiVersion": "v1", "items": []any{}}
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		answer = metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// TestNotInstalled: on a cluster without our kinds, every command says so, and none is a success.
func TestNotInstalled(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(bare))
	defer server.Close()
	dir := t.TempDir()
	config, manifest := filepath.Join(dir, "config"), filepath.Join(dir, "pool.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: [{name: x, cluster: {server: %q}}]\nusers: [{name: x}]\n", server.URL), 0o600))
	require.NoError(t, os.WriteFile(manifest, []byte("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: x}\nspec: {addresses: [192.0.2.0/24]}\n"), 0o600))
	for _, line := range []string{
		"explain service web -n shop", "explain service shop/web", "explain address 192.0.2.1", "pools", "pools main", "peers", "backends", "doctor", "doctor -o json", "plan -f " + manifest, "status",
		"status --wait", "status --watch", "status --watch --wait", "version", "pools -o json",
	} {
		cmd := command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append(strings.Fields(line), "--kubeconfig", config))
		err := cmd.Execute()
		require.ErrorIs(t, err, survey.ErrNotInstalled, "%s: %s", line, out.String())
		assert.NotErrorAs(t, err, new(exitCode), "%s: exit code 1", line)
	}
}
