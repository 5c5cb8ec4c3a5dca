package backendtest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

// ErrInjected is how a write fails that the suite lets fail before it reaches the API server.
var ErrInjected = errors.New("this write was made to fail")

// Write is one write that was sent to the API server.
type Write struct{ Method, Path string }

// Recorder is a http.RoundTripper that records writes, and lets one of them fail. It is safe for concurrent use.
type Recorder struct {
	Next http.RoundTripper

	mu     sync.Mutex // protects the following
	writes []Write
	count  int // of writes since fail was set
	fail   int // the write that fails, from 1; 0: none
	lost   bool
}

// RoundTrip sends a request on.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return r.Next.RoundTrip(req)
	}
	r.mu.Lock()
	r.writes = append(r.writes, Write{req.Method, req.URL.Path})
	r.count++
	fails, lost := r.fail > 0 && r.count == r.fail, r.lost
	r.mu.Unlock()
	if fails && !lost {
		return nil, ErrInjected
	}
	resp, err := r.Next.RoundTrip(req)
	if fails && err == nil {
		return failure(req, resp), nil
	}
	return resp, err
}

// failure puts an answer of status 500 in the place of the one that came.
func failure(req *http.Request, resp *http.Response) *http.Response {
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	const body = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"the answer to this write was lost"}`
	return &http.Response{
		Status: "500 Internal Server Error", StatusCode: http.StatusInternalServerError, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(body))),
		ContentLength: int64(len(body)), Request: req,
	}
}

// Take returns the writes since the last call.
func (r *Recorder) Take() []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.writes
	r.writes = nil
	return out
}

// FailWrite lets the n-th write from now on fail, counted from 1; none if n is 0. lost says whether it is carried out and only the
// answer is lost.
func (r *Recorder) FailWrite(n int, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.count, r.lost = n, 0, lost
}
