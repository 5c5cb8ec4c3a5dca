package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/tool/localnet"
)

const (
	routerName = "router"
	clientName = "client"
	// often is how often the client and the router are looked at while something moves.
	often = 10 * time.Millisecond
	// farewellFor is how long a speaker that stops leaves its routes with the farewell: long enough for it to be seen on a busy machine.
	farewellFor = 5 * time.Second
)

// nodeNames are those of the nodes, in the order of their addresses.
var nodeNames = []string{"n1", "n2", "n3"}

// pair returns an address of each family, with that last part, on the bridge.
func pair(last int) []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", last)),
		netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/64", last))}
}

// speakers is what the demo of the speakers keeps in mind.
type speakers struct {
	*demo
	hosts   map[string]*host
	running map[string]*process // speakers by node
	router  frr
	config  string       // of the router
	others  []string     // hosts that are no nodes
	link    []netip.Addr // addresses that are announced on the link
	routed  []netip.Addr // addresses that are advertised by BGP
	service map[netip.Addr]string
}

func (d *demo) speakerStory() (story, error) {
	s := newSpeakers(d, clientName, routerName)
	s.config = routerConfig
	if err := s.check(); err != nil {
		return story{}, err
	}
	steps := []step{
		{"start etcd and kube-apiserver", startWhy, d.startCluster},
		{"install the CRDs of metallb.io and fairlead.io", "", d.installCRDs()},
		{"start the controller with --backend=speaker", "", d.startController},
		{"make three nodes, a router and a client on a bridge", "Each is a network namespace.", s.makeNetwork},
		{"apply the pools, peers and advertisements", applyWhy, d.apply("speaker.yaml")},
		{"start FRR on the router and a speaker on each node", "", s.startDaemons},
		{"create Services and wait for their addresses", "", s.createServices("speaker-services.yaml")},
		{"ask from the client, by ARP and NDP, who has the addresses", "One node answers for each address, as the client's kernel has it.", s.showNeighbours},
		{"look at the routes of the router", "By BGP, every node is a next hop.", s.showRoutes},
		{"kill the speaker of a node", "The others notice, and one takes over.", s.kill},
		{"start it again", "What others took over stays with them: addresses do not move twice.", s.restart},
		{"stop the speaker of a node in good order", "The others take over before it has ended.", s.stopOne},
	}
	if !d.Once { // all three are there to look at
		steps = append(steps, step{"start it again", "", s.restart})
	}
	return story{`Where the CNI cannot announce an address, Fairlead's own speakers do. Here are three nodes with the real speaker, a client and a router ` +
		`with FRR: who answers ARP and NDP for an address, and which routes the router learns. Traffic is not shown: no pod and no kube-proxy runs.`, steps}, nil
}

// newSpeakers is a network of three nodes with speakers, and of others.
func newSpeakers(d *demo, others ...string) *speakers {
	return &speakers{demo: d, hosts: map[string]*host{}, running: map[string]*process{}, others: others, service: map[netip.Addr]string{}}
}

// lacksNamespaces names what is missing for a network of namespaces.
func lacksNamespaces() (missing []string) {
	if err := localnet.Privileged(); err != nil {
		hint := ""
		if os.Geteuid() != 0 {
			hint = ": use sudo"
		}
		missing = append(missing, fmt.Sprintf("the rights of root, for network namespaces (%v%s)", err, hint))
	}
	if _, err := exec.LookPath("ip"); err != nil {
		missing = append(missing, `the program ip (Debian's package "iproute2")`)
	}
	return missing
}

// lacksNetwork names what is missing for a network with a router, and finds the router.
func (s *speakers) lacksNetwork() []string {
	missing := lacksNamespaces()
	var err error
	if s.router, err = findFRR(); err != nil {
		missing = append(missing, err.Error())
	}
	return missing
}

// check returns an error that names all that is missing.
func (s *speakers) check() error {
	missing := s.lacksNetwork()
	for _, path := range []string{s.Controller, s.Speaker} {
		if _, err := os.Stat(path); err != nil {
			missing = append(missing, fmt.Sprintf("the program %s (build it with 'make build')", path))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("backend %q: what it needs is missing: %s", Speaker, strings.Join(missing, "; "))
	}
	return nil
}

func (s *speakers) makeNetwork(ctx context.Context) error {
	var err error
	if s.network, err = newNetwork(filepath.Base(s.dir)); err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "      HOST\tMAC\tADDRESSES")
	add := func(name string, last int) error {
		h, err := s.network.addHost(name, pair(last)...)
		if err != nil {
			return err
		}
		s.hosts[name] = h
		fmt.Fprintf(w, "      %s\t%s\t%s %s\n", name, h.mac, h.addrs[0].Addr(), h.addrs[1].Addr())
		return nil
	}
	for i, name := range nodeNames {
		if err := add(name, 11+i); err != nil {
			return err
		}
		if err := s.hosts[name].relayTo(s.cluster.Config.Host); err != nil {
			return err
		}
		if err := s.register(ctx, name); err != nil {
			return fmt.Errorf("create Node %q: %w", name, err)
		}
	}
	last := map[string]int{routerName: 1, clientName: 50}
	for _, name := range s.others {
		if err := add(name, last[name]); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.Out, "%sThe namespaces are %s-HOST.\n", margin, s.network.name)
	return w.Flush()
}

// register creates a Node object.
func (s *speakers) register(ctx context.Context, name string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	if err := s.client.Create(ctx, node); err != nil {
		return err
	}
	for _, a := range s.hosts[name].addrs {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.Addr().String()})
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	return s.client.Status().Update(ctx, node)
}

func (s *speakers) startDaemons(ctx context.Context) error {
	if err := s.startFRR(ctx); err != nil {
		return err
	}
	if err := s.startSpeakers(ctx); err != nil {
		return err
	}
	return s.until(ctx, "the sessions of the speakers with the router", func(context.Context) (bool, error) {
		up, err := s.router.established()
		return up == 2*len(nodeNames), err
	})
}

// startSpeakers starts a speaker on each node.
func (s *speakers) startSpeakers(ctx context.Context) error {
	var secret corev1.Secret
	err := s.until(ctx, "the Secret that the speakers have in common", func(ctx context.Context) (bool, error) {
		err := s.client.Get(ctx, types.NamespacedName{Namespace: configNamespace, Name: "memberlist"}, &secret)
		return err == nil && len(secret.Data["secretkey"]) > 0, client.IgnoreNotFound(err)
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.secret(), secret.Data["secretkey"], 0o600); err != nil {
		return err
	}
	for _, name := range nodeNames {
		if err := s.speak(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *speakers) secret() string { return filepath.Join(s.dir, "memberlist") }

// speak starts the speaker of a node.
func (s *speakers) speak(name string) error {
	var others []string
	for _, n := range nodeNames {
		others = append(others, s.hosts[n].addrs[0].Addr().String())
	}
	p, err := s.start(s.hosts[name], "speaker-"+name, s.Speaker, "--kubeconfig", s.kubeconfig(), "--namespace", configNamespace,
		"--node-name", name, "--log-format=text", "--bgp-shutdown-wait="+farewellFor.String(), "--memberlist-secret-path", s.secret(),
		"--memberlist-bind-address", s.hosts[name].addrs[0].Addr().String(), "--memberlist-peers", strings.Join(others, ","))
	if err != nil {
		return err
	}
	s.running[name] = p
	return nil
}

// createServices returns a step that creates the Services of a manifest; those of the pools link and routed are asked for later.
func (s *speakers) createServices(manifest string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.demo.createServices(manifest)(ctx); err != nil {
			return err
		}
		list, err := s.services(ctx)
		if err != nil {
			return err
		}
		return s.learnAddresses(list)
	}
}

func (s *speakers) learnAddresses(list []corev1.Service) error {
	for _, svc := range list {
		for _, text := range addresses(&svc) {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return fmt.Errorf("address of Service %s: %w", svc.Name, err)
			}
			s.service[a] = svc.Name
			switch svc.Annotations["metallb.io/address-pool"] {
			case "link":
				s.link = append(s.link, a)
			case "routed":
				s.routed = append(s.routed, a)
			}
		}
	}
	slices.SortFunc(s.link, netip.Addr.Compare)
	slices.SortFunc(s.routed, netip.Addr.Compare)
	return nil
}

func (s *speakers) showNeighbours(ctx context.Context) error {
	table, err := s.answered(ctx)
	if err != nil {
		return err
	}
	s.show(table)
	return nil
}

// answered has the client ask for the addresses until all of them are answered for, and returns what it knows then.
func (s *speakers) answered(ctx context.Context) (table map[netip.Addr]string, err error) {
	err = s.until(ctx, "the nodes to answer the client", func(context.Context) (bool, error) {
		s.ask()
		var err error
		table, err = s.neighbours()
		return len(s.owners(table)) == len(s.link), err
	})
	return table, err
}

func (s *speakers) show(table map[netip.Addr]string) {
	owners := s.owners(table)
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "      SERVICE\tADDRESS\tIP NEIGH ON THE CLIENT\tNODE")
	for _, a := range s.link {
		fmt.Fprintf(w, "      %s\t%s\t%s\t%s\n", s.service[a], a, table[a], owners[a])
	}
	_ = w.Flush() // what is written goes to s.Out
}

// kill ends the speaker that announces most addresses as a crash would, and shows who takes over.
func (s *speakers) kill(ctx context.Context) error {
	name, moving, err := s.busiest()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "      kill -9 the speaker of %s, which answers for\n      %s\n", name, join(moving))
	start := time.Now()
	if err := s.running[name].signal(syscall.SIGKILL); err != nil {
		return err
	}
	after := map[netip.Addr]time.Duration{}
	err = s.poll(ctx, often, "another node to take over from "+name, func(context.Context) (bool, error) {
		now, err := s.neighbours()
		if err != nil {
			return false, err
		}
		s.note(after, s.owners(now), moving, name, start)
		return len(after) == len(moving), nil
	})
	if err != nil {
		return err
	}
	now, err := s.neighbours()
	if err != nil {
		return err
	}
	owners := s.owners(now)
	for _, a := range moving {
		fmt.Fprintf(s.Out, "      after %.2f s the client's kernel knows %s on %s\n", after[a].Seconds(), a, owners[a])
	}
	s.show(now)
	return s.awaitRoutes(ctx, s.allBut(name))
}

// note adds to after the addresses that have moved away from a node.
func (s *speakers) note(after map[netip.Addr]time.Duration, owners map[netip.Addr]string, moving []netip.Addr, from string,
	start time.Time) {
	for _, a := range moving {
		if o := owners[a]; after[a] == 0 && o != "" && o != from {
			after[a] = time.Since(start)
		}
	}
}

// restart starts every speaker that does not run.
func (s *speakers) restart(ctx context.Context) error {
	before, err := s.answered(ctx)
	if err != nil {
		return err
	}
	for _, name := range nodeNames {
		if !s.running[name].leaving {
			continue
		}
		start := time.Now()
		if err := s.speak(name); err != nil {
			return err
		}
		if err := s.awaitLease(ctx, name, start); err != nil {
			return err
		}
	}
	if err := s.awaitRoutes(ctx, nodeNames); err != nil {
		return err
	}
	after, err := s.answered(ctx)
	if err != nil {
		return err
	}
	s.show(after)
	if !maps.Equal(s.owners(before), s.owners(after)) {
		return errors.New("an address has moved although nobody has stopped announcing it")
	}
	fmt.Fprintln(s.Out, "      on the link, what others took over stays with them")
	return nil
}

// awaitLease waits until the speaker of a node says that it runs, and has said so since a moment: from then on it takes part in deciding.
func (s *speakers) awaitLease(ctx context.Context, name string, since time.Time) error {
	return s.until(ctx, "the speaker of "+name+" to say that it runs", func(ctx context.Context) (bool, error) {
		var list coordinationv1.LeaseList
		if err := s.client.List(ctx, &list, client.InNamespace(configNamespace)); err != nil {
			return false, err
		}
		for i := range list.Items {
			if node, renewed := presence.HolderOf(&list.Items[i]); node == name && renewed.After(since) {
				return true, nil
			}
		}
		return false, nil
	})
}

// stopOne ends the speaker that announces most addresses by SIGTERM.
func (s *speakers) stopOne(ctx context.Context) error {
	name, moving, err := s.busiest()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "      kill -TERM the speaker of %s, which answers for\n      %s\n", name, join(moving))
	p, start := s.running[name], time.Now()
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	node := s.hosts[name].addrs[0].Addr()
	after := map[netip.Addr]time.Duration{}
	var told, avoided time.Duration // when the router has heard of it, and when it went round the node
	err = s.poll(ctx, often, "the speaker of "+name+" to stop", func(context.Context) (bool, error) {
		ended := false
		select {
		case <-p.done: // one look more
			ended = true
		default:
		}
		now, err := s.neighbours()
		if err != nil {
			return false, err
		}
		s.note(after, s.owners(now), moving, name, start)
		heard, err := s.router.hears(farewell, s.routed[0], node)
		if told == 0 && heard {
			told = time.Since(start)
		}
		hops, err2 := s.router.hops(s.routed[0])
		if avoided == 0 && told > 0 && err2 == nil && !slices.Contains(hops, node.String()) {
			avoided = time.Since(start)
		}
		return ended, errors.Join(err, err2)
	})
	if err != nil {
		return err
	}
	for _, a := range moving {
		if after[a] == 0 {
			return fmt.Errorf("the speaker of %s has ended, and the client does not know of another node that answers for %s", name, a)
		}
		fmt.Fprintf(s.Out, "      after %.2f s the client's kernel knows %s on another node\n", after[a].Seconds(), a)
	}
	switch {
	case told == 0:
		return fmt.Errorf("the router was not seen to have heard the community %s within %s from the speaker of %s", farewell, farewellFor, name)
	case avoided == 0:
		return fmt.Errorf("the speaker of %s has ended, and the router still sends to it", name)
	}
	fmt.Fprintf(s.Out, "      after %.2f s the router has the route from it with the community %s\n", told.Seconds(), farewell)
	fmt.Fprintf(s.Out, "      after %.2f s the router has taken it out of its next hops\n", avoided.Seconds())
	fmt.Fprintf(s.Out, "      after %.2f s the speaker has ended: %s\n", time.Since(start).Seconds(), p.cmd.ProcessState)
	if p.err != nil {
		return fmt.Errorf("the speaker of %s did not end in good order: %w", name, p.err)
	}
	table, err := s.neighbours()
	if err != nil {
		return err
	}
	s.show(table)
	return s.awaitRoutes(ctx, s.allBut(name))
}

// allBut returns all nodes but one.
func (s *speakers) allBut(name string) []string {
	return slices.DeleteFunc(slices.Clone(nodeNames), func(n string) bool { return n == name })
}

// held returns the addresses that a node answers for.
func (s *speakers) held(table map[netip.Addr]string, name string) []netip.Addr {
	var out []netip.Addr
	for a, n := range s.owners(table) {
		if n == name {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// busiest returns the node that answers for most addresses, and these.
func (s *speakers) busiest() (name string, held []netip.Addr, err error) {
	table, err := s.neighbours()
	if err != nil {
		return "", nil, err
	}
	if name = busiest(s.owners(table)); name == "" {
		return "", nil, errors.New("no node announces an address")
	}
	return name, s.held(table, name), nil
}

// busiest returns the node that answers for most addresses; of equals the first.
func busiest(owners map[netip.Addr]string) string {
	count := map[string]int{}
	for _, n := range owners {
		count[n]++
	}
	best := ""
	for _, n := range slices.Sorted(maps.Keys(count)) {
		if count[n] > count[best] {
			best = n
		}
	}
	return best
}

func join(addrs []netip.Addr) string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}
