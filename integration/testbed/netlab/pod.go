package netlab

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// PodPort is where the HTTP server of every pod listens.
const PodPort = 8080

// Answer is what a pod answers to every HTTP request, as JSON.
type Answer struct {
	Pod    string         `json:"pod"`    // named as its node
	Client netip.AddrPort `json:"client"` // as the pod sees it
}

// pod is a namespace behind a node, with an HTTP server.
type pod struct {
	ns       *localnet.Namespace
	prefixes [2]netip.Prefix // the node's networks of pods, IPv4 and IPv6
}

// addr returns the pod's address in prefix: the one after the node's.
func podAddr(prefix netip.Prefix) netip.Addr { return nodeAddr(prefix).Next() }

// nodeAddr returns the node's address among its pods: the first of prefix.
func nodeAddr(prefix netip.Prefix) netip.Addr { return prefix.Addr().Next() }

// addPod gives the node its pod.
func (n *Node) addPod(prefixes [2]netip.Prefix) {
	t := n.lab.t
	t.Helper()
	n.pod = &pod{ns: n.lab.newNamespace(n.name + "-pod"), prefixes: prefixes}
	require.NoError(t, n.ns.Cable("cali0", n.pod.ns, "eth0", nil))
	var node, inside []netip.Prefix
	for _, p := range prefixes {
		node = append(node, netip.PrefixFrom(nodeAddr(p), p.Bits()))
		inside = append(inside, netip.PrefixFrom(podAddr(p), p.Bits()))
	}
	require.NoError(t, n.ns.Assign("cali0", node...))
	require.NoError(t, n.pod.ns.Assign("eth0", inside...))
	for _, p := range prefixes {
		everything := netip.PrefixFrom(p.Addr(), 0).Masked()
		require.NoError(t, n.pod.ns.Route(everything, nodeAddr(p)))
	}
	n.serve()
}

// serve starts the pod's HTTP server. Its goroutines are the test's; its sockets are the pod's.
func (n *Node) serve() {
	t := n.lab.t
	t.Helper()
	listener, err := n.pod.ns.Listen(net.JoinHostPort("::", strconv.Itoa(PodPort)))
	require.NoError(t, err)
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			from, err := netip.ParseAddrPort(r.RemoteAddr)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			_ = json.NewEncoder(w).Encode(Answer{Pod: n.name, Client: from}) // the client may have gone
		}),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // a client holds a connection
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			assert.NoError(t, err, "HTTP server of the pod on %q", n.name)
		}
	})
}
