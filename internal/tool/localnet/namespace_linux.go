package localnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Mounts is where "ip netns" looks for named namespaces.
const Mounts = "/run/netns"

// Namespace is a named network namespace.
type Namespace struct {
	// Links acts inside.
	Links *netlink.Handle

	name   string
	handle netns.NsHandle
}

// Name returns the name, as "ip netns" knows it.
func (n *Namespace) Name() string { return n.name }

// New makes a namespace with lo up, IPv6 addresses that work at once, and nothing filtered by reverse path.
func New(name string) (*Namespace, error) {
	n := &Namespace{name: name, handle: netns.None()}
	err := OnThread(func() error {
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
		err = fmt.Errorf("make the network namespace %q: %w", name, err)
		if n.handle.IsOpen() {
			err = errors.Join(err, n.Remove())
		}
		return nil, err
	}
	if n.Links, err = netlink.NewHandleAt(n.handle); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink in %q: %w", name, err), n.Remove())
	}
	if err := n.Up("lo"); err != nil {
		return nil, errors.Join(err, n.Remove())
	}
	return n, nil
}

// Do calls fn in the namespace. Sockets that fn opens in its own goroutine belong to it for good.
func (n *Namespace) Do(fn func() error) error {
	return OnThread(func() error {
		if err := n.Enter(); err != nil {
			return err
		}
		return fn()
	})
}

// Enter gives the namespace's network to the calling thread, for good: it is for OnThread.
func (n *Namespace) Enter() error {
	if err := netns.Set(n.handle); err != nil {
		return fmt.Errorf("enter the network namespace %q: %w", n.name, err)
	}
	return nil
}

// Sysctl sets values below /proc/sys/net.
func (n *Namespace) Sysctl(values map[string]string) error {
	return n.Do(func() error { return setSysctls(values) })
}

func setSysctls(values map[string]string) error {
	for name, value := range values {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s to %s: %w", name, value, err)
		}
	}
	return nil
}

// Up sets an interface up.
func (n *Namespace) Up(iface string) error {
	return n.Change(iface, func(l netlink.Link) error { return n.Links.LinkSetUp(l) })
}

// Down sets an interface down.
func (n *Namespace) Down(iface string) error {
	return n.Change(iface, func(l netlink.Link) error { return n.Links.LinkSetDown(l) })
}

// Change calls what with an interface.
func (n *Namespace) Change(iface string, what func(netlink.Link) error) error {
	l, err := n.Links.LinkByName(iface)
	if err == nil {
		err = what(l)
	}
	if err != nil {
		return fmt.Errorf("change %q in %q: %w", iface, n.name, err)
	}
	return nil
}

// Remove kills what still runs in the namespace, such as a daemon that left its process group, and unmounts it. The kernel ends it,
// and the links in it, when nothing uses it any more.
func (n *Namespace) Remove() error {
	var st unix.Stat_t
	err := unix.Fstat(int(n.handle), &st)
	if err == nil {
		for _, pid := range Processes()[st.Ino] {
			if pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL) // it may end by itself
			}
		}
	}
	return errors.Join(err, n.Leave(), netns.DeleteNamed(n.name))
}

// Leave ends this process's use of the namespace, which stays.
func (n *Namespace) Leave() error {
	var err error
	if n.Links != nil {
		err = n.Links.Close()
	}
	return errors.Join(err, n.handle.Close())
}
