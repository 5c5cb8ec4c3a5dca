package fence

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// fakeLock takes as long as it is told, and then fails or not.
type fakeLock struct {
	resourcelock.Interface
	takes time.Duration
	fails error
}

func (l *fakeLock) Identity() string { return "me" }

func (l *fakeLock) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	time.Sleep(l.takes)
	return l.fails
}

func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(10 * time.Second)
		l := &fakeLock{takes: 2 * time.Second}
		renew := func(holder string) error {
			return f.Lock(l).Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: holder})
		}
		time.Sleep(time.Hour)
		require.NoError(t, f.Check(), "before the Lease is held, nothing is fenced")
		require.NoError(t, renew("me"))
		require.NoError(t, f.Check())
		time.Sleep(8*time.Second - time.Nanosecond)
		require.NoError(t, f.Check())
		time.Sleep(time.Nanosecond)
		require.ErrorIs(t, f.Check(), errLost, "ten seconds after the renewal was sent, not after it was answered")

		l.fails = errors.New("refused")
		require.Error(t, renew("me"))
		require.ErrorIs(t, f.Check(), errLost, "a renewal that fails is none")
		l.fails = nil
		require.NoError(t, renew(""))
		require.ErrorIs(t, f.Check(), errLost, "releasing the Lease is no renewal")
		require.NoError(t, renew("me"))
		require.NoError(t, f.Check())
	})
}

func TestTransport(t *testing.T) {
	f := New(time.Hour)
	f.renewed = time.Now().Add(-2 * time.Hour)
	passed := roundTripper(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: http.StatusOK}, nil })
	for _, tc := range []struct {
		method, path string
		passes       bool
	}{
		{http.MethodGet, "/api/v1/services", true},
		{http.MethodPatch, "/api/v1/namespaces/default/services/web/status", false},
		{http.MethodPost, "/apis/crd.projectcalico.org/v1/bgpconfigurations", false},
		{http.MethodDelete, "/apis/fairlead.io/v1alpha1/backends/calico", false},
		{http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/fairlead-controller", true},
		{http.MethodPost, "/apis/events.k8s.io/v1/namespaces/default/events", true},
		{http.MethodPatch, "/api/v1/namespaces/default/events/web.17", true},
		{http.MethodPost, "/proxy/of/ours/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases", true},
		// Names that look like them are anybody's to choose.
		{http.MethodPatch, "/api/v1/namespaces/events/services/web/status", false},
		{http.MethodPatch, "/api/v1/namespaces/leases/services/events/status", false},
		{http.MethodPatch, "/api/v1/namespaces/default/services/events-api/status", false},
		{http.MethodPatch, "/apis/leases.example/v1/events", false},
		{http.MethodPatch, "/apis/metallb.io/v1beta1/namespaces/leases/ipaddresspools/events", false},
		{http.MethodPost, "/api/v1/namespaces/default/pods/web/events", false},
		{http.MethodPatch, "/api/v1/namespaces/events", false},
		{http.MethodPut, "/proxy/events/api/v1/namespaces/default/services/web/status", false},
	} {
		_, err := f.Transport(passed).RoundTrip(httptest.NewRequest(tc.method, tc.path, nil))
		if tc.passes {
			assert.NoError(t, err, "%s %s", tc.method, tc.path)
		} else {
			assert.ErrorIs(t, err, errLost, "%s %s", tc.method, tc.path)
		}
	}
}
