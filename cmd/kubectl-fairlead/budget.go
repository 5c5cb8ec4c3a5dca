package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// budget is how long may be waited for the API server in all. Its time passes only while a request is under way: what the command works
// out itself costs nothing of it.
type budget struct {
	mu      sync.Mutex // protects all the following
	limit   time.Duration
	left    time.Duration
	waiting int // requests that are under way
	since   time.Time
}

// set sets the limit; 0: none.
func (b *budget) set(limit time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit, b.left = limit, limit
}

// begin tells that a request begins, and returns how long it may take; limited is false if it may take any time.
func (b *budget) begin() (left time.Duration, limited bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.waiting > 0 {
		b.left -= now.Sub(b.since)
	}
	b.waiting++
	b.since = now
	return b.left, b.limit > 0
}

// end tells that a request has ended.
func (b *budget) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left -= now.Sub(b.since)
	b.waiting--
	b.since = now
}

// errNoAnswer: the budget is used up.
func (b *budget) errNoAnswer() error {
	return fmt.Errorf("the API server has not answered within %s (--request-timeout)", b.limit)
}

// forever is longer than anybody waits.
const forever = 24 * time.Hour

// metered sends requests as long as the budget lasts.
type metered struct {
	next   http.RoundTripper
	budget *budget
}

// RoundTrip sends a request. It is under way until its answer has been read or closed.
func (m metered) RoundTrip(req *http.Request) (*http.Response, error) {
	left, limited := m.budget.begin()
	if limited && left <= 0 {
		m.budget.end()
		return nil, m.budget.errNoAnswer()
	}
	if !limited {
		left = forever
	}
	ctx, cancel := context.WithTimeout(req.Context(), left)
	a := &answer{budget: m.budget, ctx: ctx, over: sync.OnceFunc(func() { cancel(); m.budget.end() })}
	resp, err := m.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = a.explain(err)
		a.over()
		return nil, err
	}
	a.ReadCloser, resp.Body = resp.Body, a
	return resp, nil
}

// answer is the body of an answer.
type answer struct {
	io.ReadCloser
	budget *budget
	ctx    context.Context // that of the request, whose body this is
	over   func()
}

// Read ends the request when all has been read.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = a.explain(err)
		}
		a.over()
	}
	return n, err
}

// Close ends the request.
func (a *answer) Close() error {
	defer a.over()
	return a.ReadCloser.Close()
}

// explain returns err, or that the budget is used up if that is why.
func (a *answer) explain(err error) error {
	if errors.Is(a.ctx.Err(), context.DeadlineExceeded) {
		return a.budget.errNoAnswer()
	}
	return err
}
