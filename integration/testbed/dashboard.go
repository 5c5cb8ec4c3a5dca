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
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Dashboard is a dashboard that was started.
type Dashboard struct {
	// Link is what it has printed.
	Link string

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed
}

// PID is its process.
func (d *Dashboard) PID() int { return d.cmd.Process.Pid }

// Interrupt does what Ctrl-C does.
func (d *Dashboard) Interrupt() error { return d.cmd.Process.Signal(os.Interrupt) }

// Wait waits until it has ended, and returns how.
func (d *Dashboard) Wait() error {
	select {
	case <-d.done:
		return d.err
	case <-time.After(Patience):
		return errors.Join(errors.New("the dashboard does not end"), d.cmd.Process.Kill())
	}
}

// StartDashboard starts the dashboard of a binary kubectl-fairlead, on any port and without a browser. It ends, as by Ctrl-C, when the test
// ends, if it has not before.
func StartDashboard(t testing.TB, plugin string, args ...string) *Dashboard {
	t.Helper()
	cmd := exec.Command(plugin, append([]string{"dashboard", "--no-open", "--port=0"}, args...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	d, link := &Dashboard{cmd: cmd, done: make(chan struct{})}, make(chan string, 1)
	go func() {
		defer close(d.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text := strings.TrimSpace(lines.Text()); strings.HasPrefix(text, "http://127.0.0.1:") {
				link <- text
			}
		}
		d.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-d.done:
		default:
			_ = d.Interrupt() // it may have ended by now
		}
		assert.NoError(t, d.Wait(), "Ctrl-C is a good end")
	})
	select {
	case d.Link = <-link:
	case <-d.done:
		require.Fail(t, "the dashboard has printed no link")
	}
	return d
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
