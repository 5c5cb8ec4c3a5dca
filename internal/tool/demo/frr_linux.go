package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// frr is a router: zebra and bgpd with their files in a folder.
type frr struct {
	zebra, bgpd, vtysh string
	dir                string
}

// findFRR returns the programs. They are not in PATH, but where distributions put them.
func findFRR() (frr, error) {
	var r frr
	var err error
	missing := []string{"zebra", "bgpd", "vtysh"}
	if r.vtysh, err = exec.LookPath("vtysh"); err == nil {
		missing = missing[:2]
	}
	for _, dir := range []string{"/usr/lib/frr", "/usr/libexec/frr", "/usr/sbin"} {
		zebra, bgpd := filepath.Join(dir, "zebra"), filepath.Join(dir, "bgpd")
		_, err1 := os.Stat(zebra)
		_, err2 := os.Stat(bgpd)
		if err1 == nil && err2 == nil {
			r.zebra, r.bgpd = zebra, bgpd
			missing = missing[2:]
			break
		}
	}
	if len(missing) > 0 {
		return r, fmt.Errorf(`the programs %s (Debian's package "frr")`, strings.Join(missing, ", "))
	}
	return r, nil
}

// routerConfig accepts a session with every node and spreads traffic over them.
const routerConfig = `hostname router
router bgp 65002
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor V4 peer-group
 neighbor V4 remote-as 65001
 neighbor V6 peer-group
 neighbor V6 remote-as 65001
 bgp listen range 192.0.2.0/24 peer-group V4
 bgp listen range 2001:db8::/64 peer-group V6
 address-family ipv4 unicast
  maximum-paths 8
  neighbor V4 activate
 exit-address-family
 address-family ipv6 unicast
  maximum-paths 8
  neighbor V6 activate
 exit-address-family
`

func (s *speakers) startFRR(ctx context.Context) error {
	r := &s.router
	// Not below the demo's folder: FRR's daemons run as a user of their own, who may not be let into that for temporary files.
	r.dir = filepath.Join("/run", filepath.Base(s.dir)+"-frr")
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return err
	}
	s.network.folder = r.dir
	if err := giveToFRR(r.dir); err != nil {
		return err
	}
	for name, text := range map[string]string{"zebra": "hostname router\n", "bgpd": s.config, "vtysh": ""} {
		if err := os.WriteFile(r.file(name, "conf"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, path := range []string{r.zebra, r.bgpd} {
		name := filepath.Base(path)
		// Nothing listens but for BGP.
		_, err := s.start(s.hosts[routerName], name, path, "-f", r.file(name, "conf"), "-i", r.file(name, "pid"), "-z", r.file("zebra", "api"),
			"--vty_socket", r.dir, "-P", "0", "--log", "stdout")
		if err != nil {
			return err
		}
		err = s.until(ctx, name+" to start", func(context.Context) (bool, error) {
			_, err := os.Stat(r.file(name, "vty"))
			return err == nil, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// giveToFRR makes a folder that of the user as whom FRR's daemons run.
func giveToFRR(dir string) error {
	u, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("%w; it comes with Debian's package \"frr\"", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return errors.Join(err1, err2, os.Chown(dir, uid, gid))
}

func (r frr) file(name, what string) string { return filepath.Join(r.dir, name+"."+what) }

// show runs a command of vtysh.
func (r frr) show(command string) (string, error) {
	return run(r.vtysh, "--vty_socket", r.dir, "--config_dir", r.dir, "-c", command)
}

// read runs a command of vtysh whose answer is JSON.
func (r frr) read(command string, into any) error {
	text, err := r.show(command + " json")
	if err != nil {
		return err
	}
	text = text[max(0, strings.IndexAny(text, "{[")):] // after what vtysh has to say of itself
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("vtysh -c %q: %w: %s", command+" json", err, text)
	}
	return nil
}

// established returns how many sessions are up, each counted for the family of its addresses.
func (r frr) established() (int, error) {
	n := 0
	for _, family := range []string{"ipv4", "ipv6"} {
		var out struct {
			Peers map[string]struct{ State string }
		}
		if err := r.read("show bgp "+family+" unicast summary", &out); err != nil {
			return 0, err
		}
		for name, p := range out.Peers {
			if a, err := netip.ParseAddr(name); err == nil && a.Is6() == (family == "ipv6") && p.State == "Established" {
				n++
			}
		}
	}
	return n, nil
}

// hops returns the next hops to an address that zebra has put into the kernel's table.
func (r frr) hops(a netip.Addr) ([]string, error) {
	family := "ip"
	if a.Is6() {
		family = "ipv6"
	}
	prefix := netip.PrefixFrom(a, a.BitLen()).String()
	var out map[string][]struct {
		Protocol string
		Nexthops []struct {
			IP  string
			FIB bool
		}
	}
	if err := r.read("show "+family+" route "+prefix, &out); err != nil {
		return nil, err
	}
	var hops []string
	for _, route := range out[prefix] {
		for _, h := range route.Nexthops {
			if route.Protocol == "bgp" && h.FIB {
				hops = append(hops, h.IP)
			}
		}
	}
	slices.Sort(hops)
	return hops, nil
}

// farewell is how FRR calls the community GRACEFUL_SHUTDOWN (RFC 8326).
const farewell = "graceful-shutdown"

// hears reports whether the route to an address from a node, both IPv4, carries a community.
func (r frr) hears(community string, a, node netip.Addr) (bool, error) {
	var out struct {
		Paths []struct {
			Peer      struct{ PeerID string }
			Community struct{ String string }
		}
	}
	if err := r.read("show bgp ipv4 unicast "+netip.PrefixFrom(a, a.BitLen()).String(), &out); err != nil {
		return false, err
	}
	for _, p := range out.Paths {
		if p.Peer.PeerID == node.String() && strings.Contains(p.Community.String, community) {
			return true, nil
		}
	}
	return false, nil
}

// awaitRoutes waits until the router has routes through exactly these nodes to all addresses that are advertised by BGP, and shows them.
func (s *speakers) awaitRoutes(ctx context.Context, nodes []string) error {
	if len(s.routed) == 0 {
		return nil // there is no router
	}
	err := s.until(ctx, "routes through "+strings.Join(nodes, ", "), func(context.Context) (bool, error) {
		for _, a := range s.routed {
			var want []string
			for _, name := range nodes {
				want = append(want, s.hosts[name].addrs[a.BitLen()/128].Addr().String())
			}
			got, err := s.router.hops(a)
			if err != nil || !slices.Equal(got, want) {
				return false, err
			}
		}
		return true, nil
	})
	var failed error
	for _, command := range []string{"show ip route bgp", "show ipv6 route bgp"} {
		failed = errors.Join(failed, s.showCommand(command, "B"))
	}
	return errors.Join(err, failed)
}

// showCommand prints what a command of vtysh says, from the first line that begins like that.
func (s *speakers) showCommand(command, from string) error {
	text, err := s.router.show(command)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "      router# %s\n", command)
	begun := false
	for line := range strings.Lines(text) {
		if begun = begun || strings.HasPrefix(strings.TrimSpace(line), from); begun && strings.TrimSpace(line) != "" {
			fmt.Fprintf(s.Out, "      %s", line)
		}
	}
	return nil
}

func (s *speakers) showRoutes(ctx context.Context) error {
	if err := s.awaitRoutes(ctx, nodeNames); err != nil {
		return err
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		if err := s.showCommand("show bgp "+family+" unicast", "Network"); err != nil {
			return err
		}
	}
	return nil
}
