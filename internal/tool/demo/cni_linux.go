package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// The node on which the CNI's own BGP speaks, and the router, which is peer1 of the scenario.
var (
	cniNode   = netip.MustParsePrefix("10.6.0.11/16")
	cniRouter = netip.MustParsePrefix("10.6.0.1/16")
)

// cniRouterConfig accepts a session with the node, of which AS it is to be given.
const cniRouterConfig = `hostname router
router bgp 64512
 bgp router-id 10.6.0.1
 no bgp ebgp-requires-policy
 neighbor 10.6.0.11 remote-as %d
 neighbor 10.6.0.11 passive
`

// speaking is how the CNI's own code runs on the node.
type speaking struct {
	asn   uint32                                       // of the node
	what  string                                       // in words
	needs []string                                     // files in Folders
	start func(ctx context.Context, s *speakers) error // on the node, which exists
	tells []string                                     // prefixes that the router is told of the scenario
	// sessions has Fairlead learn of the sessions, where the CNI's code that runs here does not tell; the router has heard the prefixes.
	sessions func(s *speakers) error
}

// routerSteps end the demo of a CNI with a router to which the CNI's own code speaks, where there is what that needs; else it is said what
// is missing.
func (d *demo) routerSteps(c speaking) []step {
	s := &speakers{demo: d, hosts: map[string]*host{}, config: fmt.Sprintf(cniRouterConfig, c.asn)}
	if missing := s.lacks(c); len(missing) > 0 {
		d.notShown("what a router hears of "+c.what, missing)
		return nil
	}
	return []step{
		{"start " + c.what + " on a node, and a router", "The CNI's own code, which acts on what it has been told.", func(ctx context.Context) error {
			if err := s.makeNode(ctx); err != nil {
				return err
			}
			if err := s.startFRR(ctx); err != nil {
				return err
			}
			return c.start(ctx, s)
		}},
		{"look at the routes of the router", "Told is not proven: this is what the router has heard.", func(ctx context.Context) error {
			if err := s.showTable(ctx, c.tells); err != nil {
				return err
			}
			return c.sessions(s)
		}},
	}
}

// lacks names what is missing.
func (s *speakers) lacks(c speaking) []string {
	missing := s.lacksNetwork()
	for _, name := range c.needs {
		if s.file(name) == "" {
			missing = append(missing, name+` ("make tools" builds it)`)
		}
	}
	return missing
}

// makeNode makes the node n1 and the router, on one bridge.
func (s *speakers) makeNode(ctx context.Context) error {
	var err error
	if s.network, err = newNetwork(filepath.Base(s.dir)); err != nil {
		return err
	}
	for name, addr := range map[string]netip.Prefix{"n1": cniNode, routerName: cniRouter} {
		if s.hosts[name], err = s.network.addHost(name, addr); err != nil {
			return err
		}
	}
	if err := s.hosts["n1"].relayTo(s.cluster.Config.Host); err != nil {
		return err
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{corev1.LabelHostname: "n1"}}}
	if err := s.client.Create(ctx, node); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// showTable waits until the router has routes to these prefixes from the node, and prints its table.
func (s *speakers) showTable(ctx context.Context, prefixes []string) error {
	err := s.until(ctx, "routes to "+strings.Join(prefixes, ", ")+" from the node", func(context.Context) (bool, error) {
		var out struct{ Routes map[string]any }
		err := s.router.read("show bgp ipv4 unicast", &out)
		heard := func(prefix string) bool { return out.Routes[prefix] != nil }
		return !slices.ContainsFunc(prefixes, func(prefix string) bool { return !heard(prefix) }), err
	})
	return errors.Join(err, s.showCommand("show bgp ipv4 unicast", "Network"))
}

// calicoSpeaks is Calico's confd with its templates, and BIRD.
var calicoSpeaks = speaking{
	// Calico's own AS, its default: the CRD of the Calico that is run knows none above 2147483647, so that the peers' myASN cannot be had.
	asn:  64512,
	what: "Calico's confd and BIRD", needs: []string{"confd", "confd-templates", "bird1/bird"}, tells: blocks,
	start: func(ctx context.Context, s *speakers) error {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{"projectcalico.org/IPv4Address": cniNode.String()}}})
		if err != nil {
			return err
		}
		if err := s.client.Patch(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
			client.RawPatch(types.MergePatchType, patch)); err != nil {
			return err
		}
		for kind, spec := range map[string]map[string]any{
			"ClusterInformation": {"clusterType": "k8s,bgp", "datastoreReady": true},
			"IPPool":             {"cidr": "10.244.0.0/16", "ipipMode": "Never", "vxlanMode": "Always", "nodeSelector": "all()"},
		} {
			u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
			u.SetGroupVersionKind(schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: kind})
			u.SetName("default")
			if err := s.client.Create(ctx, u); err != nil {
				return err
			}
		}
		dir := filepath.Join(s.dir, "n1")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := localcluster.LayCalico(dir, s.file("confd-templates")); err != nil {
			return err
		}
		env := localcluster.ConfdEnv("n1", dir, s.kubeconfig(), filepath.Dir(s.file("bird1/bird"))+":"+os.Getenv("PATH"))
		if _, err := s.startWith(s.hosts["n1"], env, "confd", s.file("confd"), "-confdir", dir); err != nil {
			return err
		}
		err = s.until(ctx, "confd to write BIRD's configuration", func(context.Context) (bool, error) {
			return !slices.ContainsFunc([]string{"bird", "bird_aggr", "bird_ipam"},
				func(name string) bool { return !exists(filepath.Join(dir, "config", name+".cfg")) }), nil
		})
		if err != nil {
			return err
		}
		_, err = s.start(s.hosts["n1"], "bird", s.file("bird1/bird"), localcluster.BIRDArgs("bird", dir)...)
		return err
	},
	sessions: (*speakers).answerCalico,
}

// answerCalico tells Fairlead how the sessions of n1 are, as calico-node would, which is too much of Calico to run here: what BIRD says.
func (s *speakers) answerCalico() error {
	ctx, cancel := context.WithCancel(context.Background())
	folder := func(node string) string {
		if node == "n1" {
			return filepath.Join(s.dir, "n1")
		}
		return ""
	}
	log, err := os.OpenFile(s.logFile("answers"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		cancel()
		return err
	}
	done, err := localcluster.AnswerCalico(ctx, s.client, filepath.Dir(s.file("bird1/bird")), folder, func(err error) { fmt.Fprintln(log, err) })
	if err != nil {
		cancel()
		return errors.Join(err, log.Close())
	}
	s.ends = append(s.ends, func() {
		cancel()
		<-done
		_ = log.Close() // nobody reads it any more
	})
	return nil
}

// ciliumSpeaks is Cilium's own control plane: its operator, and an agent without a datapath.
var ciliumSpeaks = speaking{
	asn:  4200000000,
	what: "Cilium's operator and agent", needs: []string{"cilium-lab"}, tells: []string{"10.10.0.1/32"},
	start: func(ctx context.Context, s *speakers) error {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"addresses": []any{
			map[string]any{"type": "InternalIP", "ip": cniNode.Addr().String()},
		}}}}
		o.SetGroupVersionKind(schema.GroupVersionKind{Group: "cilium.io", Version: "v2", Kind: "CiliumNode"})
		o.SetName("n1")
		o.SetLabels(map[string]string{corev1.LabelHostname: "n1"})
		if err := s.client.Create(ctx, o); err != nil {
			return err
		}
		lab := s.file("cilium-lab")
		_, err1 := s.start(s.hosts["n1"], "operator", lab, "operator", "--k8s-kubeconfig-path", s.kubeconfig(), "--log-level", "warn")
		_, err2 := s.start(s.hosts["n1"], "agent", lab, "agent", "--node-name", "n1", "--k8s-kubeconfig-path", s.kubeconfig(), "--log-level",
			"warn")
		return errors.Join(err1, err2)
	},
	sessions: func(*speakers) error { return nil }, // its operator and agent do
}
