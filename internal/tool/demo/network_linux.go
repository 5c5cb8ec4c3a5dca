package demo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// network is a bridge in a network namespace of its own, and hosts on it, each a network namespace.
type network struct {
	name   string // begins the names of the namespaces
	fabric *localnet.Namespace
	bridge netlink.Link
	hosts  []*host
	folder string // of the router; to be removed, too
}

// host is a namespace with the interface eth0 on the bridge.
type host struct {
	*localnet.Namespace
	addrs []netip.Prefix
	mac   net.HardwareAddr
	relay *localnet.Relay // to kube-apiserver; nil without
}

// newNetwork makes the bridge.
func newNetwork(name string) (*network, error) {
	n := &network{name: name}
	var err error
	if n.fabric, err = localnet.New(name + "-fabric"); err != nil {
		return n, err
	}
	n.bridge, err = n.fabric.Bridge("bridge")
	return n, err
}

// addHost makes a namespace on the bridge.
func (n *network) addHost(name string, addrs ...netip.Prefix) (*host, error) {
	ns, err := localnet.New(n.name + "-" + name)
	if err != nil {
		return nil, err
	}
	h := &host{Namespace: ns, addrs: addrs, mac: net.HardwareAddr{0x02, 0, 0, 0, 0, byte(len(n.hosts) + 1)}}
	n.hosts = append(n.hosts, h)
	if err := n.fabric.Cable(name, ns, "eth0", h.mac); err != nil {
		return nil, err
	}
	if err := n.fabric.Change(name, func(l netlink.Link) error { return n.fabric.Links.LinkSetMaster(l, n.bridge) }); err != nil {
		return nil, err
	}
	if err := n.fabric.Up(name); err != nil {
		return nil, err
	}
	return h, ns.Assign("eth0", addrs...)
}

// relayTo makes kube-apiserver answer in a host.
func (h *host) relayTo(server string) (err error) {
	h.relay, err = localnet.NewRelay(h.Namespace, server)
	return err
}

// remove ends the relays and removes all namespaces, with the links in them.
func (n *network) remove() error {
	if n == nil {
		return nil
	}
	var failed error
	for _, h := range n.hosts {
		if h.relay != nil {
			failed = errors.Join(failed, h.relay.Cut())
		}
		failed = errors.Join(failed, h.Remove())
	}
	if n.fabric != nil {
		failed = errors.Join(failed, n.fabric.Remove())
	}
	if n.folder != "" {
		failed = errors.Join(failed, os.RemoveAll(n.folder))
	}
	return failed
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
	p, err := d.launch(name, cmd, h.Do)
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
