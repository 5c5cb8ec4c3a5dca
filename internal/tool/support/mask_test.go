package support

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// TestMaskText: whatever form a password has in a log, it is not in what is left; what is none stays.
func TestMaskText(t *testing.T) {
	for _, line := range []string{
		`level=INFO msg="peer" password=hunter2 peer=tor`,
		`level=INFO msg="peer" password="hunter2" peer=tor`,
		`{"msg":"peer","password":"hunter2","peer":"tor"}`,
		`{"msg":"peer","password":"a\"hunter2","peer":"tor"}`,
		`msg="applied {\"spec\":{\"password\":\"hunter2\"}} tor"`,
		`{"authPassword": 'hunter2', peer: tor}`,
		`tor: bgp_password: hunter2`,
		`GET /api Authorization: Bearer hunter2 tor`,
		`GET /api {"Authorization":["Bearer hunter2"]} tor`,
		`curl -H "Authorization: Basic hunter2" tor`,
		`secrets: ["hunter2", "hunter2"] tor`,
		`tor https://admin:hunter2@example.org/`,
		`token eyJhbGciOiJSUzI1NiIs.eyJodW50ZXIyIjoiaHVudGVyMiJ9.hunter2 of tor`,
		"tor\n-----BEGIN RSA PRIVATE KEY-----\nhunter2\nhunter2\n-----END RSA PRIVATE KEY-----\n",
		"tor\n-----BEGIN PRIVATE KEY-----\nhunter2",
		`tor X-Api-Key=hunter2`,
		`token=abc,hunter2 tor`,
	} {
		m := masker{}
		got := m.text(line)
		assert.NotContains(t, got, "hunter2", line)
		assert.Contains(t, got, "tor", "%s: the rest stays", line)
		assert.Contains(t, got, Masked)
		assert.Equal(t, 1, m.count)
	}
	m := masker{}
	m.text(strings.Repeat("password=hunter2 peer=tor\n", 1000))
	assert.Equal(t, 1000, m.count, "each place counts")
	m.text("password=(masked) peer=tor\ntoken=hunter2")
	assert.Equal(t, 1001, m.count, "what is masked is not masked again")
	for _, line := range []string{`level=INFO msg="an address changed hands" service=shop/web addr=192.0.2.0`, "fairlead_assigned 5\n", "the password is missing", "http://192.0.2.1:7472/metrics"} {
		assert.Equal(t, line, (&masker{}).text(line))
	}
	assert.Equal(t, `{"password":"(masked)","peer":"tor"}`, (&masker{}).text(`{"password":"hunter2","peer":"tor"}`), "it is JSON still")
}

// TestMaskKnown: a password of an object is masked in whatever form loggers write it.
func TestMaskKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringMatching(`[ -~äß\t]{4,20}`).Filter(func(s string) bool {
			return strings.TrimSpace(s) != "" && !slices.Contains(words, strings.ToLower(s)) && !strings.Contains(Masked, s)
		}).Draw(t, "password")
		m := masker{}
		m.take(&unstructured.Unstructured{Object: map[string]any{"kind": "BGPPeer", "spec": map[string]any{"password": password}}}, false)
		var text, asJSON bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("refused", "said", password)
		slog.New(slog.NewJSONHandler(&asJSON, nil)).Info("refused", "said", password)
		encoded, err := json.Marshal(password)
		require.NoError(t, err)
		for _, line := range []string{"refused " + password, text.String(), asJSON.String(), string(encoded), strconv.Quote(password)} {
			got := m.text(line)
			assert.Contains(t, got, Masked, line)
			assert.NotContains(t, got, password, line)
			assert.NotContains(t, got, strings.Trim(string(encoded), `"`), line)
		}
	})
}

// TestMaskObjects: what an object has under the name of a password is masked there and, from then on, everywhere.
func TestMaskObjects(t *testing.T) {
	object := func(text string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(text), &u.Object))
		return u
	}
	m := masker{}
	peer := object(`
kind: BGPPeer
metadata:
  name: tor
  managedFields: [{manager: kubectl}]
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"password":"hunter2"}}'
    kapp.k14s.io/original: '{"spec":{"password":"hunter2"}}'
    objectset.rio.cattle.io/applied: H4sIAAAA
    example.org/note: set to hunter2 in May
    example.org/api-token: opensesame
spec: {password: hunter2, peerAddress: 192.0.2.1, passwordSecret: {name: tor-password, namespace: net}}
status: {conditions: [{message: "hunter2 was refused"}]}
`)
	m.take(peer, false)
	m.strings(peer.Object)
	b, err := yaml.Marshal(peer.Object)
	require.NoError(t, err)
	for _, secret := range []string{"hunter2", "opensesame", "last-applied", "original", "H4sIAAAA", "managedFields"} {
		assert.NotContains(t, string(b), secret)
	}
	for _, kept := range []string{"tor-password", "192.0.2.1", "set to (masked) in May"} {
		assert.Contains(t, string(b), kept)
	}

	cni := object(`
kind: BGPPeer
spec:
  password: {secretKeyRef: {name: bgp-auth, key: tor}}
  authSecretRef: bgp-auth-2
  nested: [{peerToken: 12345, sharedSecret: "swordfish \"two\""}]
  enableToken: true
`)
	m.take(cni, true)
	b, err = yaml.Marshal(cni.Object)
	require.NoError(t, err)
	for _, secret := range []string{"bgp-auth", "12345", "swordfish"} {
		assert.NotContains(t, string(b), secret, "whatever sounds like a password")
	}
	assert.Equal(t, "(masked) and (masked), not bgp-auth, not tor", m.text(`swordfish "two" and swordfish \"two\", not bgp-auth, not tor`), "what names a Secret is none")

	pod := object(`
kind: Pod
spec:
  automountServiceAccountToken: true
  imagePullSecrets: [{name: registry}]
  containers:
    - args: [--password, correcthorse, --token=batterystaple, --log-level, info, --secret]
      env: [{name: DB_PASSWORD, value: staplebattery}, {name: LEVEL, value: info}, {name: API_TOKEN, valueFrom: {secretKeyRef: {name: api, key: token}}}]
`)
	m.take(pod, false)
	m.strings(pod.Object)
	b, err = yaml.Marshal(pod.Object)
	require.NoError(t, err)
	for _, secret := range []string{"correcthorse", "batterystaple", "staplebattery"} {
		assert.NotContains(t, string(b), secret)
	}
	assert.Equal(t, 2, strings.Count(string(b), "info"))
	assert.Contains(t, string(b), "name: api")
	assert.Contains(t, string(b), "name: registry")
}
