package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// mounts is where "ip netns" looks for named namespaces.
const mounts = "/run/netns"

// onThread calls fn on an operating system thread of its own, which ends with it: whatever fn does to its thread (a namespace, fewer
// capabilities) no other goroutine sees.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, and its namespace is what /proc/PID shows of this process. While this goroutine
			// holds it, another gets another.
			done <- onThread(fn)
			runtime.UnlockOSThread()
			return
		}
		done <- fn()
	}()
	return <-done
}

// namespace is a named network namespace.
type namespace struct {
	name   string
	handle netns.NsHandle
	links  *netlink.Handle // acts inside
}

// newNamespace makes a namespace with lo up, IPv6 addresses that work at once, and nothing filtered by reverse path.
func newNamespace(name string) (*namespace, error) {
	n := &namespace{name: name}
	err := onThread(func() error {
		var err error
		if n.handle, err = netns.NewNamed(name); err != nil {
			return err
		}
		return setSysctls(map[string]string{
			"ipv6/conf/default/accept_dad":           "0",
			"ipv6/conf/default/dad_transmits":        "0",
			"ipv6/conf/default/accept_ra":            "0",
			"ipv6/conf/default/router_solicitations": "0",
			"ipv6/conf/default/keep_addr_on_down":    "1",
			"ipv4/conf/all/rp_filter":                "0",
			"ipv4/conf/default/rp_filter":            "0",
		})
	})
	if err != nil {
		return nil, fmt.Errorf("make the network namespace %q: %w", name, err)
	}
	if n.links, err = netlink.NewHandleAt(n.handle); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink in %q: %w", name, err), n.remove())
	}
	if err := n.up("lo"); err != nil {
		return nil, errors.Join(err, n.remove())
	}
	return n, nil
}

// do calls fn in the namespace. Sockets that fn opens in its own goroutine belong to it for good.
func (n *namespace) do(fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter the network namespace %q: %w", n.name, err)
		}
		return fn()
	})
}

// sysctl sets values below /proc/sys/net.
func (n *namespace) sysctl(values map[string]string) error {
	return n.do(func() error { return setSysctls(values) })
}

func setSysctls(values map[string]string) error {
	for name, value := range values {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s to %s: %w", name, value, err)
		}
	}
	return nil
}

// up sets an interface up.
func (n *namespace) up(iface string) error { return n.change(iface, n.linkUp) }

func (n *namespace) linkUp(l netlink.Link) error   { return n.links.LinkSetUp(l) }
func (n *namespace) linkDown(l netlink.Link) error { return n.links.LinkSetDown(l) }

// change calls what with an interface.
func (n *namespace) change(iface string, what func(netlink.Link) error) error {
	l, err := n.links.LinkByName(iface)
	if err == nil {
		err = what(l)
	}
	if err != nil {
		return fmt.Errorf("change %q in %q: %w", iface, n.name, err)
	}
	return nil
}

// remove kills what still runs in the namespace, such as a daemon that left its process group, and unmounts it. The kernel ends it,
// and the links in it, when nothing uses it any more.
func (n *namespace) remove() error {
	var st unix.Stat_t
	err := unix.Fstat(int(n.handle), &st)
	if err == nil {
		for _, pid := range processes()[st.Ino] {
			if pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL) // it may end by itself
			}
		}
	}
	if n.links != nil {
		err = errors.Join(err, n.links.Close())
	}
	return errors.Join(err, n.handle.Close(), netns.DeleteNamed(n.name))
}
