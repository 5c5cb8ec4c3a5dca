package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/transport"
)

// impersonating tells of a user who may not impersonate another one. To anybody else it would look as if the other one might read nothing.
type impersonating struct{ next http.RoundTripper }

// refusal is what an API server says of somebody who may not impersonate; what follows differs between its versions.
const refusal = "cannot impersonate"

// RoundTrip sends a request.
func (i impersonating) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := i.next.RoundTrip(req)
	whom := req.Header.Get(transport.ImpersonateUserHeader)
	if err != nil || resp.StatusCode != http.StatusForbidden || whom == "" {
		return resp, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	_ = resp.Body.Close() // all that matters of it has been read
	if err != nil {
		return nil, err
	}
	if bytes.Contains(body, []byte(refusal)) {
		return nil, fmt.Errorf("you may not impersonate user %q; ask for permission to, or leave out --as", whom)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
