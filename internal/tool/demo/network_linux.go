package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// network is a bridge in a network namespace of its own, and hosts on it, each a network namespace.
type network struct {
	name   string // begins the names of the namespaces
	hosts  []*host
	relays []*relay
	folder string // of the router; to be removed, too
}

// host is a namespace with the interface eth0; the bridge has none.
type host struct {
	namespace string // as "ip netns" knows it
	addrs     []netip.Prefix
	mac       string
}

const fabric = "fabric"

// newNetwork makes the bridge.
func newNetwork(name string) (*network, error) {
	n := &network{name: name}
	_, err := n.add(fabric)
	if err == nil {
		err = n.ip(fabric, "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
	}
	if err == nil {
		err = n.ip(fabric, "link", "set", "bridge", "up")
	}
	return n, err
}

// add makes a namespace.
func (n *network) add(name string) (*host, error) {
	h := &host{namespace: n.name + "-" + name}
	if _, err := run("ip", "netns", "add", h.namespace); err != nil {
		return nil, err
	}
	n.hosts = append(n.hosts, h)
	err := h.do(func() error {
		// Addresses are to work at once: nobody else can have them.
		for _, what := range []string{"accept_dad", "dad_transmits", "accept_ra"} {
			if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf/default", what), []byte("0"), 0o644); err != nil {
				return fmt.Errorf("network namespace %q has no IPv6: %w", h.namespace, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return h, n.ip(name, "link", "set", "lo", "up")
}

// addHost makes a namespace on the bridge.
func (n *network) addHost(name string, addrs ...netip.Prefix) (*host, error) {
	h, err := n.add(name)
	if err != nil {
		return nil, err
	}
	h.addrs, h.mac = addrs, fmt.Sprintf("02:00:00:00:00:%02x", len(n.hosts))
	todo := [][]string{
		{fabric, "link", "add", name, "type", "veth", "peer", "name", "eth0", "address", h.mac, "netns", h.namespace},
		{fabric, "link", "set", name, "master", "bridge", "up"},
	}
	for _, a := range addrs {
		todo = append(todo, []string{name, "addr", "add", a.String(), "dev", "eth0"})
	}
	for _, args := range append(todo, []string{name, "link", "set", "eth0", "up"}) {
		if err := n.ip(args[0], args[1:]...); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// ip runs ip in a namespace.
func (n *network) ip(name string, args ...string) error {
	_, err := run("ip", append([]string{"-netns", n.name + "-" + name}, args...)...)
	return err
}

// remove ends the relays and removes all namespaces, with the links in them.
func (n *network) remove() error {
	if n == nil {
		return nil
	}
	var failed error
	for _, r := range n.relays {
		failed = errors.Join(failed, r.close())
	}
	for _, h := range n.hosts {
		_, err := run("ip", "netns", "delete", h.namespace)
		failed = errors.Join(failed, err)
	}
	if n.folder != "" {
		failed = errors.Join(failed, os.RemoveAll(n.folder))
	}
	return failed
}

// do calls fn in the namespace, on a thread of its own. Sockets that fn opens belong to it for good.
func (h *host) do(fn func() error) error {
	return onThread(func() error {
		ns, err := netns.GetFromName(h.namespace)
		if err != nil {
			return fmt.Errorf("open the network namespace %q: %w", h.namespace, err)
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter the network namespace %q: %w", h.namespace, err)
		}
		return fn()
	})
}

// onThread calls fn on a thread that ends with it, so what fn does to its thread no other goroutine sees.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(fn) // the main thread cannot end; while this goroutine holds it, another gets another
			runtime.UnlockOSThread()
			return
		}
		done <- fn()
	}()
	return <-done
}

// start starts a program in the namespace.
func (d *demo) start(h *host, name, path string, args ...string) (*process, error) {
	return d.startWith(h, nil, name, path, args...)
}

// startWith is start with an environment; nil: that of the demo.
func (d *demo) startWith(h *host, env []string, name, path string, args ...string) (*process, error) {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = d.dir, env
	// It ends with the thread that starts it, so at the latest with the demo; not so if it changes its user, as FRR's daemons do.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p, err := d.launch(name, cmd, h.do)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	p.abrupt = true // the network goes with it
	return p, nil
}

// run runs a program to its end and returns what it prints. Ctrl-C does not reach it.
func run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// relay makes a server on this machine's loopback answer on that of a namespace, at the same address.
type relay struct {
	listener net.Listener
	server   string

	mu     sync.Mutex // protects all the following
	open   map[net.Conn]bool
	closed bool
	busy   sync.WaitGroup
}

// relay starts one in a host.
func (n *network) relay(h *host, server string) error {
	r := &relay{server: server, open: map[net.Conn]bool{}}
	err := h.do(func() error {
		var err error
		r.listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", server)
		return err
	})
	if err != nil {
		return fmt.Errorf("listen on %s in %q: %w", server, h.namespace, err)
	}
	n.relays = append(n.relays, r)
	r.busy.Go(r.accept)
	return nil
}

func (r *relay) accept() {
	for {
		inside, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		outside, err := net.Dial("tcp", r.server)
		if err != nil {
			_ = inside.Close() // the server is down, which is what the client is to see
			continue
		}
		r.mu.Lock()
		if r.closed {
			_, _ = inside.Close(), outside.Close()
		} else {
			r.open[inside], r.open[outside] = true, true
			r.busy.Go(func() { r.copy(inside, outside) })
			r.busy.Go(func() { r.copy(outside, inside) })
		}
		r.mu.Unlock()
	}
}

// copy ends both connections when one of them ends.
func (r *relay) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from) // either end may close at any time
	_, _ = to.Close(), from.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, to)
	delete(r.open, from)
}

// close closes the socket and every connection, and returns when nothing is left of them.
func (r *relay) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.open {
		_ = c.Close() // its copy reports nothing either
	}
	r.mu.Unlock()
	r.busy.Wait()
	return err
}

// apiServer returns the address of kube-apiserver, as host:port.
func (d *demo) apiServer() (string, error) {
	server, err := url.Parse(d.cluster.Config.Host)
	if err != nil {
		return "", err
	}
	return cmp.Or(server.Host, d.cluster.Config.Host), nil
}
