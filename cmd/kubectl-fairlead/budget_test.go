package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slow answers after a while, and takes another while for the body.
type slow struct{ header, body time.Duration }

func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := wait(req, s.header); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: &slowBody{req: req, after: s.body, Reader: strings.NewReader("{}")}}, nil
}

func wait(req *http.Request, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-req.Context().Done():
		return req.Context().Err()
	}
}

type slowBody struct {
	io.Reader
	req   *http.Request
	after time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if err := wait(b.req, b.after); err != nil {
		return 0, err
	}
	b.after = 0
	return b.Reader.Read(p)
}

func (b *slowBody) Close() error { return nil }

// TestBudget: the timeout is for all that the API server takes, whether for the answer or for its body, and for nothing else.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b budget
		ask := func(s slow) error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x", nil)
			require.NoError(t, err)
			resp, err := (&http.Client{Transport: metered{s, &b}}).Do(req)
			if err != nil {
				return err
			}
			defer func() { assert.NoError(t, resp.Body.Close()) }()
			_, err = io.ReadAll(resp.Body)
			return err
		}
		const message = "the API server has not answered within 4s (--request-timeout)"
		b.set(4 * time.Second)
		for range 3 {
			time.Sleep(time.Minute) // the command works something out
			require.NoError(t, ask(slow{header: time.Second}))
		}
		require.ErrorContains(t, ask(slow{header: 2 * time.Second}), message)
		require.ErrorContains(t, ask(slow{}), message)

		b.set(4 * time.Second)
		require.NoError(t, ask(slow{time.Second, 2 * time.Second}))
		require.ErrorContains(t, ask(slow{body: 2 * time.Second}), message)

		b.set(4 * time.Second)
		done := make(chan error)
		for range 3 {
			go func() { done <- ask(slow{header: 3 * time.Second}) }()
		}
		for range 3 {
			require.NoError(t, <-done, "they are under way together")
		}

		b.set(0)
		require.NoError(t, ask(slow{header: time.Hour}))
	})
}
