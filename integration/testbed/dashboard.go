package testbed

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// StartDashboard starts the dashboard of a binary kubectl-fairlead, on any port and without a browser, and returns the link that it prints. It
// ends, as by Ctrl-C, when the test ends.
func StartDashboard(t testing.TB, plugin string, args ...string) (cmd *exec.Cmd, link string) {
	t.Helper()
	cmd = exec.Command(plugin, append([]string{"dashboard", "--no-open", "--port=0"}, args...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		assert.NoError(t, cmd.Wait(), "Ctrl-C is a good end")
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if text := strings.TrimSpace(lines.Text()); strings.HasPrefix(text, "http://127.0.0.1:") {
			return cmd, text
		}
	}
	require.Fail(t, "the dashboard has printed no link")
	return nil, ""
}

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
