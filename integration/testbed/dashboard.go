package testbed

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// ReadDashboard opens the link of a dashboard, which can be done once, and returns its overview as JSON when the cluster has been read.
func ReadDashboard(t testing.TB, link string) (page []byte) {
	t.Helper()
	u, err := url.Parse(link)
	require.NoError(t, err)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar}
	resp, err := browser.Get(link)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, link)
	Eventually(t, "the cluster to be read", func(context.Context) error {
		resp, err := browser.Get(u.ResolveReference(&url.URL{Path: "/", RawQuery: "o=json"}).String())
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		page, err = io.ReadAll(resp.Body)
		return err
	})
	return page
}
